// Questions: what a run asks a person, with its choices and the form of the answer.
//
// One run may ask several things at once, each at the path of its step. Answers are checked here as far as the form
// says, and by the hub in any case; a file is sent before the answer that names it.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { address, post, Problem, upload } from "/static/api.js";
import { Field, faultsAtFields, initialText, meanings } from "/static/forms.js";
import { noteRun, now, taskOf } from "/static/lab.js";
import { clock, plain } from "/static/words.js";

const WITH_VALUE = ["answer", "happened"];

/** All that a run asks now, the oldest first. */
export const questionsOf = (run) => (run.questions?.length ? run.questions : run.question ? [run.question] : []);

export const Questions = ({ run }) => questionsOf(run).map((question) => html`<${Question} key=${question.path} run=${run} question=${question} />`);

/** One question: {path, text, kind, choices, meanings?, schema?, show?, description?, due?, assignee?}. */
export function Question({ run, question }) {
  const asks = question.choices ?? [];
  const plainly = asks.every((choice) => choice === "answer" || choice === "abort"); // a form, and nothing to choose
  const [choice, setChoice] = useState(plainly ? "answer" : null);
  const [texts, setTexts] = useState({});
  const [why, setWhy] = useState("");
  const [faults, setFaults] = useState({});
  const [busy, setBusy] = useState(false);
  const id = `question-${run.id}-${question.path}`.replace(/[^\w-]/g, "_");
  const fields = WITH_VALUE.includes(choice) ? fieldsOf(question) : {};

  async function answer(event) {
    event.preventDefault();
    if (!choice) return setFaults({ "": "Choose what it is." });
    const meant = meanings(fields, texts);
    setFaults(meant.faults);
    if (!Object.keys(meant.faults).length) await send(choice, meant.values);
  }

  async function send(chosen, values) {
    setBusy(true);
    try {
      const value = WITH_VALUE.includes(chosen) ? { value: valueOf(question, await sent(run, question, fields, values)) } : {};
      noteRun(await post(address("runs", run.id, "answer"), { choice: chosen, path: question.path, ...value, ...(why ? { why } : {}) }));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFaults(faultsOf(error, Object.keys(fields)));
    } finally {
      setBusy(false);
    }
  }

  const late = question.due && Date.parse(question.due) < now.value;
  return html`<form class="notice question" aria-labelledby=${id} noValidate onSubmit=${answer}>
    <div class="notice-text">
      <h2 id=${id}>${run.name} asks</h2>
      <p class="asked">${question.text ?? question.reason ?? run.reason}</p>
      ${question.description && html`<p>${question.description}</p>`}
      ${Object.entries(question.show ?? {}).map(([name, value]) => html`<p key=${name} class="quiet">${name}: ${plain(value)}</p>`)}
      <p class="quiet">Step <code>${question.path}</code>${question.action && `: ${question.instrument}.${question.action}`}
        ${question.assignee && html` · for ${question.assignee}`}${question.due && html` · <span class=${late ? "overdue" : ""}>${late ? "overdue since" : "until"} ${clock(question.due, now.value)}</span>`}</p>
      ${!plainly && html`<fieldset>
        <legend class="unseen">What is the answer?</legend>
        ${asks.map((name) => html`<label key=${name} class="choice"><input type="radio" name=${id} value=${name} checked=${choice === name} onChange=${() => setChoice(name)} />
          <span><strong>${name}</strong>${question.meanings?.[name] && ` ${question.meanings[name]}`}</span></label>`)}
      </fieldset>`}
      <div class="fields">
        ${Object.entries(fields).map(([name, { schema, required }]) => html`<${Field} key=${name} id=${`${id}-${name}`} name=${schema.title ?? name} schema=${schema} required=${required}
          text=${texts[name] ?? initialText(schema)} fault=${faults[name]} description=${schema.description}
          onText=${(text) => {
            setTexts({ ...texts, [name]: text });
            setFaults({ ...faults, [name]: undefined });
          }} />`)}
        <div class="field wide"><label for=${`${id}-why`}>Why, for the record</label><input id=${`${id}-why`} type="text" value=${why} onInput=${(event) => setWhy(event.target.value)} /></div>
      </div>
      ${faults[""] && html`<p class="fault" role="alert">${faults[""]}</p>`}
      ${plainly && asks.includes("abort") && html`<details><summary>End the run instead</summary><button type="button" class="small danger" disabled=${busy} onClick=${() => send("abort", {})}>End ${run.name}</button></details>`}
    </div>
    <button type="submit" class="go" disabled=${busy}>${question.schema || !plainly ? "Answer" : "Done"}</button>
  </form>`;
}

/** name → {schema, required}: the fields of the form, or one for the value. */
function fieldsOf(question) {
  const schema = question.schema;
  const needed = schema?.required ?? [];
  if (schema?.properties) return Object.fromEntries(Object.entries(schema.properties).map(([name, each]) => [name, { schema: each, required: needed.includes(name) }]));
  if (question.kind === "ask") return schema ? { Answer: { schema, required: true } } : { Answer: { schema: {}, required: false } };
  return schema?.type === "null" ? {} : { Result: { schema: schema ?? {}, required: Boolean(schema && Object.keys(schema).length) } };
}

const valueOf = (question, values) => (question.schema?.properties ? values : (values.Answer ?? values.Result ?? null));

/** The values with each file replaced by its place in the record. */
async function sent(run, question, fields, values) {
  const places = { ...values };
  for (const [name, value] of Object.entries(values)) {
    if (fields[name].schema.format !== "file") continue;
    const task = taskOf(run.id, question.path);
    if (!task) throw new Problem({ detail: "The list of tasks is not there yet; try again." }, 0);
    places[name] = (await upload(`/tasks/${task.id}/files?name=${encodeURIComponent(value.name)}`, value)).file;
  }
  return places;
}

/** What the hub found wrong, at the fields that it names. */
function faultsOf(problem, names) {
  const at = (fault) => (names.includes(fault.field) ? fault.field : fault.field === "answer" && names.length === 1 ? names[0] : null);
  const named = problem.faults.filter(at);
  if (!named.length) return faultsAtFields(problem, names);
  return Object.fromEntries(named.map((fault) => [at(fault), `${fault.detail} ${fault.way_out ?? ""}`.trim()]));
}
