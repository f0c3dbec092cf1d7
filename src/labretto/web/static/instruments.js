// Instruments: what each says now, whether it can be trusted, and what it can be asked to do.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { address, post, Problem, put, remove } from "/static/api.js";
import { Action, Failure } from "/static/actions.js";
import { HostPanel } from "/static/hosts.js";
import { connection } from "/static/live.js";
import { Field, faultsAtFields, initialText, limits, meaning } from "/static/forms.js";
import { instruments, lab, now, readings, runningOn, runs, statusOf, trouble } from "/static/lab.js";
import { marked } from "/static/marked.js";
import { clock, duration, parametersInLine, quantity, secondsBetween, tone } from "/static/words.js";

const OLD = 5; // s; attributes are read once a second while somebody looks

/** All instruments as cards. */
export function InstrumentCards() {
  const all = Object.values(instruments.value);
  return html`<section aria-labelledby="instruments-title" class="instruments">
    <h2 id="instruments-title">Instruments</h2>
    ${all.length === 0 && html`<p class="quiet empty">${connection.value === "connecting" || trouble.value ? "…" : "This lab has no instruments yet. Name them in its lab.toml."}</p>`}
    ${all.map((instrument) => html`<${Card} key=${instrument.name} instrument=${instrument} />`)}
  </section>`;
}

function Card({ instrument }) {
  const id = `instrument-${instrument.name}`;
  const attributes = Object.entries(instrument.description?.attributes ?? {});
  return html`<article class="card" aria-labelledby=${id}>
    <header>
      <h3 id=${id}><a href=${`#/instruments/${encodeURIComponent(instrument.name)}`}>${instrument.name}</a></h3>
      <${Status} instrument=${instrument} />
    </header>
    <${Doing} instrument=${instrument} />
    <dl class="readings">
      ${attributes.map(([name, attribute]) => html`<div key=${name}><dt>${name}</dt><dd><${Reading} instrument=${instrument} name=${name} attribute=${attribute} /></dd></div>`)}
    </dl>
    <${NoStop} instrument=${instrument} />
  </article>`;
}

export function Status({ instrument }) {
  const word = statusOf(instrument);
  return html`<span class=${`pill ${tone(word)}`}>${word}</span>`;
}

/** What it does and since when, or why it cannot be reached. */
function Doing({ instrument }) {
  if (instrument.state !== "ready") return html`<${Down} instrument=${instrument} />`;
  const outdated = instrument.reason && html`<p key="reason" class="reason quiet">${instrument.reason}</p>`;
  return [outdated, ...runningOn(instrument).map((invocation) => {
    const seconds = Math.max(0, secondsBetween(invocation.started ?? invocation.accepted, null, now.value));
    return html`<p key=${invocation.id} class="doing"><strong>${invocation.action}</strong>${" "}
      ${parametersInLine(invocation.parameters)}<span class="quiet"> for ${duration(Math.round(seconds) || 0.1)}</span> <${By} actor=${invocation.actor} /></p>`;
  })];
}

const DOWN = new Set(["stopped", "crash loop", "unreachable"]);

/** Why it does not answer, and the way to bring it back. */
function Down({ instrument }) {
  const [fault, setFault] = useState(null);
  const start = () => post(address("instruments", instrument.name, "restart")).then(() => setFault(null), (error) => setFault(error.message));
  return html`<div class="down">
    ${instrument.reason && html`<p class="reason">${marked(instrument.reason)}</p>`}
    ${instrument.state === "proposed" && html`<${Proposed} name=${instrument.name} onFault=${setFault} />`}
    ${DOWN.has(instrument.state) && html`<button type="button" class="small" onClick=${start}>Start again<span class="unseen"> ${instrument.name}</span></button>`}
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
  </div>`;
}

/** It has registered itself; a person decides. */
function Proposed({ name, onFault }) {
  const tell = (asked) => asked.then(() => onFault(null), (error) => onFault(error.message));
  return html`<button type="button" class="small" onClick=${() => tell(post(address("instruments", name, "accept")))}>Accept<span class="unseen"> ${name}</span></button>
    <button type="button" class="small" onClick=${() => tell(remove(address("instruments", name)))}>Refuse<span class="unseen"> ${name}</span></button>`;
}

function By({ actor }) {
  const run = actor?.startsWith("run ") && actor.slice(4);
  if (run) return html`<a class="quiet" href=${`#/runs/${run}`}>for ${runs.value[run]?.name ?? "a run"}</a>`;
  return actor ? html`<span class="quiet">asked by ${actor}</span>` : null;
}

const NoStop = ({ instrument }) =>
  instrument.description && !instrument.description.stop && html`<p class="no-stop">no software stop: the halt button cannot stop it</p>`;

/** One value with its unit; old and failed ones say so, with the reason where there is room for the `whole`. */
function Reading({ instrument, name, attribute, whole = false }) {
  const reading = readings.value[instrument.name]?.[name];
  const unit = attribute.schema?.unit;
  if (!reading) return html`<span class="quiet">–</span>`;
  if (reading.status === "error") return html`<span class="reading-error" title=${reading.detail}>cannot be read${whole && reading.detail && `: ${reading.detail}`}</span>`;
  const age = Math.max(0, secondsBetween(reading.time, null, now.value));
  const doubtful = age > OLD || reading.status === "stale" || connection.value === "lost";
  return html`<span class=${doubtful ? "stale" : ""}>${quantity(reading.value, reading.unit ?? unit)}</span>
    ${doubtful && html`<span class="age" title=${reading.detail ?? `read at ${clock(reading.time)}`}>${age > OLD ? `${duration(Math.round(age))} ago` : reading.status === "stale" ? "stale" : "as it was"}</span>`}`;
}

/** One instrument: attributes to read and set, actions to run. */
export function InstrumentPage({ name }) {
  const instrument = instruments.value[name];
  if (!instrument) {
    const why = connection.value === "connecting" ? "Asking the hub…" : `This lab has no instrument ${name}.`;
    return html`<main id="main" tabindex="-1"><h1>${name}</h1><p>${why} <a href="#/">Overview</a></p></main>`;
  }
  const { attributes = {}, actions = {}, description, driver, title } = instrument.description ?? {};
  return html`<main id="main" tabindex="-1" class="instrument-page">
    <header class="page-head">
      <h1>${name}</h1><${Status} instrument=${instrument} />
      <p class="quiet">${description ? marked(description.split(/\n\s*\n/)[0]) : title}</p>
    </header>
    <${Doing} instrument=${instrument} />
    ${instrument.problem?.traceback && html`<${Failure} problem=${instrument.problem} />`}
    <${NoStop} instrument=${instrument} />
    <div class="columns">
      <section class="panel" aria-labelledby="attributes-title">
        <h2 id="attributes-title">Attributes</h2>
        <table class="attributes"><thead class="unseen"><tr><th scope="col">Name</th><th scope="col">Value</th></tr></thead><tbody>
          ${Object.entries(attributes).map(([each, attribute]) => html`<tr key=${each}>
            <th scope="row">${each}<small>${marked(attribute.description || limits(attribute.schema))}</small></th>
            <td><${Reading} instrument=${instrument} name=${each} attribute=${attribute} whole=${true} />
              ${attribute.writable && html`<${Setter} instrument=${instrument} name=${each} attribute=${attribute} />`}</td></tr>`)}
        </tbody></table>
        <dl class="facts">
          <div><dt>driver</dt><dd>${driver}</dd></div>
          <div><dt>address</dt><dd>${instrument.address ?? "–"}</dd></div>
          <div><dt>lab</dt><dd>${lab.value.name ?? "–"}</dd></div>
        </dl>
      </section>
      <section class="panel" aria-labelledby="actions-title">
        <h2 id="actions-title">Actions</h2>
        ${Object.entries(actions).map(([each, action]) => html`<${Action} key=${`${name}.${each}`} instrument=${name} name=${each} action=${action} />`)}
        ${Object.keys(actions).length === 0 && html`<p class="quiet">It has none.</p>`}
      </section>
    </div>
    <${HostPanel} key=${name} instrument=${instrument} />
  </main>`;
}

/** Sets a writable attribute. */
function Setter({ instrument, name, attribute }) {
  const [text, setText] = useState(null);
  const [fault, setFault] = useState(null);
  const [busy, setBusy] = useState(false);
  const schema = attribute.schema;

  async function set(event) {
    event.preventDefault();
    const meant = meaning(name, schema, true, text ?? initialText(schema));
    setFault(meant.fault);
    if (meant.fault) return;
    setBusy(true);
    try {
      const reading = await put(address("instruments", instrument.name, "attributes", name), { value: meant.value });
      if (reading) readings.value = { ...readings.value, [instrument.name]: { ...readings.value[instrument.name], [name]: reading } };
      setText(null);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFault(Object.values(faultsAtFields(error, [name])).join(" "));
    } finally {
      setBusy(false);
    }
  }
  return html`<form class="setter" noValidate aria-label=${`Set ${name}`} onSubmit=${set}>
    <${Field} id=${`${instrument.name}-set-${name}`} name=${`set ${name}`} schema=${schema} required=${true}
      text=${text ?? initialText(schema)} fault=${fault} onText=${setText} />
    <button type="submit" disabled=${busy}>Set<span class="unseen"> ${name}</span></button>
  </form>`;
}
