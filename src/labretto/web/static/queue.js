// The queue: what waits, what runs, why it does not; and how a new experiment gets into it.

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { address, post, Problem, remove } from "/static/api.js";
import { details, forgetRun, isOver, noteRun, now, runs } from "/static/lab.js";
import { clock, duration, secondsBetween, tone } from "/static/words.js";

const SHOWN_ENDED = 6;
const THROUGH = new Set(["succeeded", "failed", "skipped"]);
const EXAMPLE = `name: two samples
steps:
  - sweep: {sample: [A1, A2]}
    steps:
      - do: stage.move_to
        with: {sample: "\${sample}"}
`;

/** Runs that are not over, in the order in which they will be taken. */
export function openRuns() {
  const open = Object.values(runs.value).filter((run) => !isOver(run));
  const rank = (run) => (run.state === "queued" ? (run.position ?? 0) : -1);
  return open.sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
}

export const endedRuns = () => Object.values(runs.value).filter(isOver).sort((a, b) => (a.id < b.id ? 1 : -1));

export function Queue() {
  const [open, ended] = [openRuns(), endedRuns().slice(0, SHOWN_ENDED)];
  return html`<section class="panel queue" aria-labelledby="queue-title">
    <header><h2 id="queue-title">Queue</h2><a href="#/records">All records</a></header>
    ${open.length + ended.length === 0 && html`<p class="quiet empty">Nothing is queued and nothing has run. Submit an experiment below.</p>`}
    ${open.length + ended.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Queue and latest runs"><table>
      <thead><tr><th scope="col">Run</th><th scope="col">State</th><th scope="col">Progress</th><th scope="col">Since</th><th scope="col"><span class="unseen">What can be done</span></th></tr></thead>
      <tbody>${[...open, ...ended].map((run) => html`<${Row} key=${run.id} run=${run} />`)}</tbody>
    </table></div>`}
  </section>`;
}

function Row({ run }) {
  const since = run.ended ?? run.started ?? run.submitted;
  return html`<tr>
    <th scope="row"><a href=${`#/runs/${run.id}`}>${run.name || run.id}</a>${run.who && html` <span class="quiet">${run.who}</span>`}</th>
    <td><span class=${`pill ${tone(run.state)}`}>${run.state}</span>${run.reason && !isOver(run) && html` <span class="quiet">${run.reason}</span>`}</td>
    <td><${Progress} run=${run} /></td>
    <td class="quiet">${clock(since, now.value)}</td>
    <td class="buttons"><${RunButtons} run=${run} small=${true} /></td>
  </tr>`;
}

/** How far a run is; nothing where nobody knows. */
export function Progress({ run }) {
  const { done, total } = progressOf(run);
  if (isOver(run)) return html`<span class="quiet">${run.started && run.ended ? duration(secondsBetween(run.started, run.ended)) : ""}</span>`;
  if (!total) return html`<span class="quiet">${done ? `${done} steps` : ""}</span>`;
  return html`<span class="progress"><progress max=${total} value=${done} aria-label=${`Progress of ${run.name}`}></progress> ${done} of ${total}</span>`;
}

/** Steps and rows that are through: as the hub says at changes of state, and as we see them go by meanwhile. */
export function progressOf(run) {
  const { steps, rows } = details.value[run.id] ?? {};
  const seen = steps ? [...steps.values()].filter((step) => THROUGH.has(step.state)).length + rows.length : 0;
  return { done: Math.max(seen, run.steps_done ?? 0), total: run.steps_total ?? 0 };
}

/** Pause, resume, abort, remove: those that make sense now. */
export function RunButtons({ run, small = false }) {
  const [fault, setFault] = useState(null);
  const ask = (act) => async () => {
    setFault(null);
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFault(error.message);
    }
  };
  const say = (word) => ask(async () => noteRun(await post(address("runs", run.id, word))));
  const take = ask(async () => {
    await remove(address("runs", run.id));
    forgetRun(run.id);
  });
  const button = (word, act, kind = "") => html`<button type="button" class=${`${small ? "small" : ""} ${kind}`} onClick=${act}>${word}<span class="unseen"> ${run.name}</span></button>`;
  return html`
    ${run.state === "queued" && button("Remove", take)}
    ${(run.state === "running" || run.state === "waiting") && !run.pausing && button("Pause", say("pause"))}
    ${(run.state === "paused" || run.pausing) && button("Resume", say("resume"))}
    ${["running", "waiting", "paused"].includes(run.state) && button("Abort", say("abort"), "grave")}
    ${fault && html`<span class="fault" role="alert">${fault}</span>`}`;
}

/** Paste, type or drop an experiment; it is checked while it is typed and submitted when it is asked for. */
export function Submit() {
  const [text, setText] = useState("");
  const [faults, setFaults] = useState([]);
  const [submitted, setSubmitted] = useState(null);
  const [busy, setBusy] = useState(false);
  const place = useRef(null);
  useChecked(text, setFaults);

  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    setSubmitted(null);
    try {
      const run = await post(address("runs"), { experiment: text });
      noteRun(run);
      setSubmitted(run);
      setText("");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFaults(error.faults.length ? error.faults : [{ detail: error.message, way_out: error.wayOut }]);
    } finally {
      setBusy(false);
    }
  }
  const take = async (files) => files?.[0] && setText(await files[0].text());
  const drop = (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  };

  return html`<section class="panel" aria-labelledby="submit-title">
    <h2 id="submit-title">New experiment</h2>
    <form class="submit" noValidate onSubmit=${submit} onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
      <label for="experiment-text">Experiment, as YAML; paste it or drop a file</label>
      <textarea id="experiment-text" ref=${place} rows="8" spellcheck="false" autocomplete="off" placeholder=${EXAMPLE} value=${text}
        aria-invalid=${faults.length ? "true" : undefined} aria-describedby="experiment-faults" onInput=${(event) => setText(event.target.value)}></textarea>
      <div id="experiment-faults">
        ${faults.length > 0 && html`<div role="alert"><ul class="faults">${faults.slice(0, 20).map((fault, index) => html`<li key=${index}><${Fault} fault=${fault} place=${place} /></li>`)}</ul></div>`}
      </div>
      <div class="buttons">
        <button type="submit" class="go" disabled=${busy || text.trim() === ""}>Submit</button>
        <label class="file">Choose a file<input type="file" class="unseen" accept=".yaml,.yml,.json,.txt" onChange=${(event) => take(event.target.files)} /></label>
        <span role="status">${submitted && html`Submitted: <a href=${`#/runs/${submitted.id}`}>${submitted.name || submitted.id}</a>`}</span>
      </div>
    </form>
  </section>`;
}

/** One fault; its place is a button that puts the cursor there. */
function Fault({ fault, place }) {
  const words = `${fault.detail} ${fault.way_out ?? ""}`;
  if (!fault.line) return words;
  const go = () => {
    const lines = place.current.value.split("\n");
    const start = lines.slice(0, fault.line - 1).join("\n").length + (fault.line > 1 ? 1 : 0) + (fault.column ?? 1) - 1;
    place.current.focus();
    place.current.setSelectionRange(start, start);
  };
  return html`<button type="button" class="link" onClick=${go}>line ${fault.line}, column ${fault.column ?? 1}</button> ${words}`;
}

/** Asks the hub what it would refuse, once typing rests. */
function useChecked(text, setFaults) {
  useEffect(() => {
    if (text.trim() === "") return void setFaults([]);
    let still = true;
    const timer = setTimeout(async () => {
      const answer = await post(address("runs", "check"), { experiment: text }).catch((error) => error);
      if (still) setFaults(answer?.faults ?? []);
    }, 300);
    return () => {
      still = false;
      clearTimeout(timer);
    };
  }, [text]);
}
