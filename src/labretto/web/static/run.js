// A run: how far it is, its steps, what it measures while it measures it, and the rows it saved.

import { html } from "htm/preact";
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { address, post, told } from "/static/api.js";
import * as curves from "/static/curves.js";
import { Failure } from "/static/actions.js";
import { Ahead, Ends } from "/static/ahead.js";
import { columnsOf, details, fetchEarlier, inFlight, isOver, now, runs, today, watch } from "/static/lab.js";
import { Plot } from "/static/plot.js";
import { Questions } from "/static/questions.js";
import { Progress, reasonOf, RunButtons } from "/static/queue.js";
import { Told } from "/static/terms.js";
import { clock, duration, number, parametersInLine, plain, secondsBetween, tone, unitInPrint } from "/static/words.js";

const SHOWN_STEPS = 40;
const EARLIER_STEPS = 200;
const SHOWN_ROWS = 200;

/** The page of one run. */
export function RunPage({ id }) {
  useEffect(() => watch(id), [id]);
  const run = runs.value[id];
  const known = details.value[id];
  if (!run) {
    return html`<main id="main" tabindex="-1"><h1>Run</h1><p>${known?.problem ? known.problem.message : "Asking the hub…"} <a href="#/">Overview</a></p></main>`;
  }
  return html`<main id="main" tabindex="-1" class="run-page">
    <header class="page-head"><${RunHead} run=${run} level="h1" /></header>
    ${run.question && html`<${Questions} run=${run} />`}
    ${run.error && html`<${Failure} problem=${run.error} />`}
    <div class="columns wide-left">
      <div>
        <section class="panel" aria-label="Curves of the run"><${RunPlot} run=${run} height=${440} /></section>
        <${Rows} run=${run} rows=${known?.rows ?? []} />
      </div>
      <div>
        <${Steps} run=${run} />
        <${Ahead} run=${run} />
        <${About} run=${run} />
      </div>
    </div>
  </main>`;
}

/** The run that runs now, on the overview: head, plot and latest steps. */
export function RunPanel({ run }) {
  useEffect(() => watch(run.id), [run.id]);
  return html`<section class="panel current" aria-labelledby="current-title">
    <${RunHead} run=${run} level="h2" id="current-title" link=${true} />
    <${RunPlot} run=${run} height=${Math.round(Math.min(600, Math.max(300, innerHeight - 470)))} />
  </section>`;
}

function RunHead({ run, level, id, link }) {
  const name = run.name || run.id;
  const since = run.started ?? run.submitted;
  return html`<div class="run-head">
    <${level} id=${id}>${link ? html`<a href=${`#/runs/${run.id}`}>${name}</a>` : name}</${level}>
    <span class=${`pill ${tone(run.state)}`} role="status" aria-label="State of the run">${run.state}</span>
    <${Told} run=${run} />
    <${Progress} run=${run} />
    ${!isOver(run) && since && html`<span class="quiet">${duration(Math.max(0, Math.round(secondsBetween(since, null, now.value))))}</span> <${Ends} run=${run} />`}
    <span class="buttons"><${RunButtons} run=${run} /></span>
    ${reasonOf(run) && (!run.question || run.aborting) && html`<p class="reason">${reasonOf(run)}</p>`}
  </div>`;
}

/** The curves of a run's streaming steps. */
function RunPlot({ run, height }) {
  const known = details.value[run.id];
  const steps = known?.steps ?? new Map();
  const revision = curves.revision.value;
  const grown = useMemo(() => curves.ofRun(run.id), [run.id, revision]);
  const newest = steps.get(grown.at(-1)?.path);
  // all steps of a long run are looked through when there is another curve, not with every step
  const [columns, labels] = useMemo(() => {
    const all = grown.length ? [...steps.values()] : [];
    return [Object.assign({}, ...all.map((step) => columnsOf(step) ?? {})), labelsOf(all)];
  }, [run.id, run.state, known?.loaded, grown.length, Boolean(newest), Boolean(newest && columnsOf(newest))]);
  const label = useCallback((path) => labels.get(path) ?? path, [labels]);
  const live = inFlight(newest);
  if (!grown.length) return html`<p class="quiet empty">${isOver(run) ? "This run drew no curves." : "No curves yet; they are drawn here while they are measured."}</p>`;
  return html`<${Plot} curves=${grown} columns=${columns} revision=${revision} live=${live} height=${height}
    title=${`Curves of ${run.name || run.id}: ${grown.length}`} label=${label} />`;
}

/** What tells the rounds of a sweep apart, by the path of each step: the parameters that are not the same in all. */
export function labelsOf(steps) {
  const rounds = new Map();
  for (const step of steps) {
    const round = step.path.slice(0, step.path.lastIndexOf("]") + 1);
    if (!rounds.has(round)) rounds.set(round, {});
    for (const [name, value] of Object.entries(step.parameters ?? {})) {
      if (value === null || typeof value !== "object") rounds.get(round)[name] = value;
    }
  }
  const all = [...rounds.values()];
  const differs = (name) => all.some((values) => name in values && values[name] !== all.find((each) => name in each)[name]);
  const names = [...new Set(all.flatMap((values) => Object.keys(values)))].filter(differs);
  const spoken = (round) => names.filter((name) => name in rounds.get(round)).map((name) => plain(rounds.get(round)[name])).join(" ");
  return new Map(steps.map((step) => [step.path, spoken(step.path.slice(0, step.path.lastIndexOf("]") + 1)) || step.path]));
}

/** The steps of a run, the latest first. */
export function Steps({ run }) {
  const [most, showMost] = useState(SHOWN_STEPS);
  const [fault, setFault] = useState(null);
  const { steps: known, before = 0 } = details.value[run.id] ?? {};
  const steps = [...(known?.values() ?? [])];
  const shown = steps.slice(-most);
  const earlier = before + steps.length - shown.length;
  const showEarlier = () => {
    setFault(null);
    showMost(shown.length + EARLIER_STEPS);
    if (before && shown.length + EARLIER_STEPS > steps.length) fetchEarlier(run.id, EARLIER_STEPS).catch(told(setFault));
  };
  return html`<section class="panel" aria-labelledby="steps-title">
    <header><h2 id="steps-title">Steps</h2>${earlier > 0 && html`<span class="quiet">the last ${shown.length} of ${earlier + shown.length}</span>`}</header>
    ${steps.length === 0 && html`<p class="quiet empty">${run.state === "queued" ? "It has not begun." : "None yet."}</p>`}
    <ol class="steps" tabindex="0" aria-labelledby="steps-title" start=${earlier + 1}>
      ${shown.map((step) => html`<${Step} key=${step.path} step=${step} run=${run} />`).reverse()}
      ${earlier > 0 && html`<li key="earlier"><button type="button" class="small" onClick=${showEarlier}>Earlier steps</button> ${fault && html`<span class="fault" role="alert">${fault}</span>`}</li>`}
    </ol>
  </section>`;
}

function Step({ step, run }) {
  const state = step.state === "intended" ? "running" : step.state;
  const since = step.started ?? step.at;
  const seconds = since ? secondsBetween(since, step.ended, step.ended ? 0 : now.value) : NaN;
  const asked = parametersInLine(step.parameters);
  const error = typeof step.error === "string" ? { detail: step.error } : step.error;
  return html`<li class=${`step ${tone(state)}`}>
    <div class="step-line">
      <i aria-hidden="true"></i><strong>${nameOf(step)}</strong>
      <span class="step-state">${state === "succeeded" ? html`<span class="unseen">${state}</span>` : state}${["adopted", "checked", "entered"].includes(step.origin) ? ` (${step.origin})` : ""}</span>
      <span class="quiet took">${step.ended || seconds >= 1 ? duration(Math.max(0, seconds)) : ""}</span>
      ${inFlight(step) && !isOver(run) && html`<${CancelButton} run=${run} step=${step} />`}
    </div>
    <small class="path">${asked && html`<span class="parameters">${asked}</span>`} <span>${step.path}</span></small>
    ${error && html`<p class="fault">${error.detail ?? plain(error)} ${error.way_out ?? ""}</p>`}
  </li>`;
}

/** Asks one action to end; the run stays, and asks what became of it. */
function CancelButton({ run, step }) {
  const [said, setSaid] = useState("");
  const cancel = () => {
    setSaid("");
    post(address("runs", run.id, "cancel"), { path: step.path, within: 2 }).then(({ state }) => state === "running" && setSaid("It has been asked to end, and runs still."), told(setSaid));
  };
  return html`<button type="button" class="small" onClick=${cancel}>Cancel<span class="unseen"> ${nameOf(step)}</span></button>
    ${said && html`<span class="fault" role="alert">${said}</span>`}`;
}

/** `stage.move`; of a step that looks at an attribute or sets it, `read stage.x` or `set stage.x`. */
function nameOf({ instrument, action }) {
  const [, verb, attribute] = action.match(/^attribute:(get|set) (.*)$/) ?? [];
  return attribute ? `${verb === "get" ? "read" : "set"} ${instrument}.${attribute}` : `${instrument}.${action}`;
}

/** Saved rows as a table; arrays are named, not printed. */
function Rows({ run, rows }) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const unit = (name) => rows.map((row) => row[name]?.unit).find(Boolean);
  const shown = rows.slice(-SHOWN_ROWS);
  return html`<section class="panel" aria-labelledby="rows-title">
    <header><h2 id="rows-title">Saved rows</h2><span class="quiet">${rows.length > shown.length ? `the last ${shown.length} of ${rows.length}` : rows.length || ""}</span></header>
    ${rows.length === 0 && html`<p class="quiet empty">Nothing has been saved${isOver(run) ? "" : " yet"}.</p>`}
    ${rows.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Table of saved rows"><table class="rows">
      <thead><tr>${names.map((name) => html`<th key=${name} scope="col">${name}${unit(name) && html` <span class="unit">(${unitInPrint(unit(name))})</span>`}</th>`)}</tr></thead>
      <tbody>${shown.map((row, index) => html`<tr key=${rows.length - shown.length + index}>${names.map((name) => html`<td key=${name}>${cell(row[name])}</td>`)}</tr>`)}</tbody>
    </table></div>`}
  </section>`;
}

/** The unit stands in the table's head. */
function cell(value) {
  if (value && typeof value === "object" && "$value" in value && typeof value.$value === "number") return number(value.$value);
  if (value && typeof value === "object" && "$array" in value) return `${(value.shape ?? []).join(" × ")} points`;
  return plain(value);
}

function About({ run }) {
  const parameters = Object.entries(run.parameters ?? {});
  const facts = [
    ["id", html`<code>${run.id}</code>`],
    ["who", run.who],
    ["submitted", run.submitted && clock(run.submitted, today.value)],
    ["started", run.started && clock(run.started, today.value)],
    ["ended", run.ended && clock(run.ended, today.value)],
    ...parameters.map(([name, value]) => [name, plain(value)]),
  ].filter(([, value]) => value);
  return html`<section class="panel" aria-labelledby="about-title">
    <h2 id="about-title">About this run</h2>
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <p class="links"><a href=${`#/records?run=${run.id}`}>Files of the record</a> <a href=${address("runs", run.id, "events")} target="_blank" rel="noopener">Journal as JSON</a></p>
    ${run.experiment?.source && html`<details><summary>The experiment as it runs</summary><pre tabindex="0">${run.experiment.source}</pre></details>`}
  </section>`;
}
