// Questions: a run that waits for a person says what it must know; here is the form with its choices.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { address, post, Problem } from "/static/api.js";
import { noteRun } from "/static/lab.js";

/** The form for `run.question`: {text, choices, meanings?, path?, instrument?, action?, schema?}. */
export function Question({ run }) {
  const question = typeof run.question === "string" ? { text: run.question, choices: [] } : run.question;
  const choices = (question.choices ?? []).map((choice) => (typeof choice === "string" ? { name: choice, meaning: question.meanings?.[choice] } : choice));
  const [choice, setChoice] = useState(null);
  const [value, setValue] = useState("");
  const [why, setWhy] = useState("");
  const [fault, setFault] = useState(null);
  const id = `question-${run.id}`;

  async function answer(event) {
    event.preventDefault();
    if (!choice && choices.length) return setFault("Choose what happened.");
    setFault(null);
    try {
      noteRun(await post(address("runs", run.id, "answer"), { choice: choice ?? "answer", ...typed(value), ...(why ? { why } : {}) }));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFault(`${error.message} ${error.wayOut}`.trim());
    }
  }

  const asksValue = choices.length === 0 || choice === "happened" || choice === "answer";
  return html`<form class="notice question" aria-labelledby=${id} noValidate onSubmit=${answer}>
    <div class="notice-text">
      <h2 id=${id}>${run.name} asks</h2>
      <p>${question.text ?? question.reason ?? run.reason}</p>
      ${question.path && html`<p class="quiet">Step <code>${question.path}</code>${question.action && `: ${question.instrument}.${question.action}`}</p>`}
      <fieldset>
        <legend class="unseen">What is the answer?</legend>
        ${choices.map(({ name, meaning }) => html`<label key=${name} class="choice"><input type="radio" name=${id} value=${name} checked=${choice === name} onChange=${() => setChoice(name)} />
          <span><strong>${name}</strong>${meaning && ` ${meaning}`}</span></label>`)}
      </fieldset>
      <div class="fields">
        ${asksValue && html`<div class="field"><label for=${`${id}-value`}>Result, as JSON or text</label><input id=${`${id}-value`} type="text" value=${value} onInput=${(event) => setValue(event.target.value)} /></div>`}
        <div class="field wide"><label for=${`${id}-why`}>Why, for the record</label><input id=${`${id}-why`} type="text" value=${why} onInput=${(event) => setWhy(event.target.value)} /></div>
      </div>
      ${fault && html`<p class="fault" role="alert">${fault}</p>`}
    </div>
    <button type="submit" class="go">Answer</button>
  </form>`;
}

function typed(text) {
  if (text.trim() === "") return {};
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { value: text };
  }
}
