// Actions: a form for each, generated from the description; what came of it is shown where it was asked.

import { html } from "htm/preact";
import { useMemo, useState } from "preact/hooks";
import { address, post, Problem } from "/static/api.js";
import { fromTable } from "/static/curves.js";
import { Field, faultsAtFields, initialText, meanings } from "/static/forms.js";
import { now } from "/static/lab.js";
import { marked } from "/static/marked.js";
import { Plot } from "/static/plot.js";
import { duration, plain, quantity, secondsBetween } from "/static/words.js";

const EFFECTS = {
  read: "only looks",
  absolute: "may be repeated",
  checkable: "can be checked",
  once: "must not be repeated by a machine",
};

/** One action as a card with its form. */
export function Action({ instrument, name, action }) {
  const [texts, setTexts] = useState({});
  const [faults, setFaults] = useState({});
  const [began, setBegan] = useState(null);
  const [outcome, setOutcome] = useState(null);
  const fields = action.parameters ?? {};

  async function run(event) {
    event.preventDefault();
    const meant = meanings(fields, texts);
    setFaults(meant.faults);
    if (Object.keys(meant.faults).length) return focusFirstFault(event.target);
    setOutcome(null);
    setBegan(now.value);
    try {
      setOutcome({ invocation: await post(address("instruments", instrument, "actions", name), meant.values) });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 422) setFaults(faultsAtFields(error, Object.keys(fields)));
      else setOutcome({ problem: error });
    } finally {
      setBegan(null);
    }
  }

  const title = `${instrument}.${name}`;
  return html`<form class="action" aria-label=${title} noValidate onSubmit=${run}>
    <header>
      <h3>${name}</h3>
      <span class="quiet effect" title=${`effect: ${action.effect}`}>${EFFECTS[action.effect] ?? action.effect}</span>
    </header>
    ${action.description && html`<p class="quiet">${marked(firstParagraph(action.description))}</p>`}
    <div class="fields">
      ${Object.entries(fields).map(([field, { schema, required }]) => html`<${Field}
        key=${field} id=${`${instrument}-${name}-${field}`} name=${field} schema=${schema} required=${required}
        text=${texts[field] ?? initialText(schema)} fault=${faults[field]} description=${schema.description}
        onText=${(text) => {
          setTexts({ ...texts, [field]: text });
          setFaults({ ...faults, [field]: undefined });
        }} />`)}
      <button type="submit" class="go" disabled=${began !== null}>${began === null ? `Run ${name}` : "Running…"}</button>
    </div>
    ${faults[""] && html`<p class="fault" role="alert">${faults[""]}</p>`}
    <div class="outcome" role="status">
      ${began !== null && html`<span class="active">Running, ${duration(Math.max(0, (now.value - began) / 1000))}</span>`}
      ${outcome && html`<${Outcome} ...${outcome} schema=${action.result} stream=${action.stream} title=${title} />`}
    </div>
  </form>`;
}

const firstParagraph = (text) => text.split(/\n\s*\n/)[0];

const focusFirstFault = (form) => requestAnimationFrame(() => form.querySelector("[aria-invalid=true]")?.focus());

function Outcome({ invocation, problem, schema, stream, title }) {
  if (problem) return html`<${Failure} problem=${problem.body} />`;
  if (invocation.error) return html`<${Failure} problem=${invocation.error} />`;
  const took = invocation.ended ? ` in ${duration(secondsBetween(invocation.started ?? invocation.accepted, invocation.ended))}` : "";
  return html`<p><span class="good">${invocation.state ?? "done"}</span>${took}${invocation.result !== null && invocation.result !== undefined && html`: <${Result} value=${invocation.result} schema=${schema} stream=${stream} title=${title} />`}</p>`;
}

/** An error in the hub's words, with the driver's own traceback folded in. */
export function Failure({ problem }) {
  const traceback = problem.traceback ?? problem.invocation?.error?.traceback;
  return html`<div class="failure" role="alert">
    <p><strong>${problem.title || "Failed"}</strong> ${marked(problem.detail)} ${problem.way_out && html`<span class="way-out">${marked(problem.way_out)}</span>`}</p>
    ${traceback && html`<details><summary>Traceback of the driver</summary><pre tabindex="0">${traceback}</pre></details>`}
  </div>`;
}

/** A measured table as a curve. */
function Table({ value, columns, title }) {
  const curves = useMemo(() => [fromTable(value, title)], [value, title]);
  return html`<${Plot} curves=${curves} columns=${columns} title=${`Result of ${title}`} height=${260} />`;
}

function Result({ value, schema, stream, title }) {
  if (stream && value && typeof value === "object") return html`<${Table} value=${value} columns=${stream} title=${title} />`;
  if (value && typeof value === "object" && !Array.isArray(value)) {
    const entries = Object.entries(value);
    return html`<dl class="result">${entries.map(([name, item]) => html`<div key=${name}><dt>${name}</dt><dd>${quantity(item, schema?.properties?.[name]?.unit)}</dd></div>`)}</dl>`;
  }
  return html`<output class="result">${Array.isArray(value) ? plain(value) : quantity(value, schema?.unit)}</output>`;
}
