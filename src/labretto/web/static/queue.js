// The queue: what waits, what runs, why it does not. What people do to what waits is in `line`.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { Ends } from "/static/ahead.js";
import { address, patch, post, remove, told } from "/static/api.js";
import { details, forgetRun, isOver, noteRun, runs, today } from "/static/lab.js";
import { dragging, EditForm, LineButtons, LineNotes, openRuns, SwitchButton } from "/static/line.js";
import { Told } from "/static/terms.js";
import { clock, duration, secondsBetween, tone } from "/static/words.js";

const SHOWN_OPEN = 12;
const SHOWN_ENDED = 6;
/** Buttons that take each other's place keep the focus of the keyboard. */
const PLACE = { Pause: "pause", Resume: "pause" };
const THROUGH = new Set(["succeeded", "failed", "skipped"]);

export const endedRuns = () => Object.values(runs.value).filter(isOver).sort((a, b) => (a.id < b.id ? 1 : -1));

export function Queue() {
  const [all, showAll] = useState(false);
  const [open, ended] = [openRuns(), endedRuns().slice(0, SHOWN_ENDED)];
  const shown = all ? open : open.slice(0, SHOWN_OPEN);
  return html`<section class="panel queue" aria-labelledby="queue-title">
    <header><h2 id="queue-title">Queue${open.length > 0 && html` <span class="quiet">${open.length}</span>`}</h2><${SwitchButton} /><a href="#/records">All records</a></header>
    <${LineNotes} />
    ${open.length + ended.length === 0 && html`<p class="quiet empty">Nothing is queued and nothing has run. Submit an experiment below.</p>`}
    ${open.length + ended.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Queue and latest runs"><table>
      <thead><tr><th scope="col">Run</th><th scope="col">State</th><th scope="col">Since</th><th scope="col"><span class="unseen">What can be done</span></th></tr></thead>
      <tbody>
        ${shown.map((run) => html`<${Row} key=${run.id} run=${run} />`)}
        ${open.length > SHOWN_OPEN && html`<tr key="more"><td colspan="4"><button type="button" class="small" aria-expanded=${all} onClick=${() => showAll(!all)}>${all ? `Only the first ${SHOWN_OPEN}` : `${open.length - SHOWN_OPEN} more`}<span class="unseen"> of the queue</span></button></td></tr>`}
        ${ended.map((run) => html`<${Row} key=${run.id} run=${run} />`)}
      </tbody>
    </table></div>`}
  </section>`;
}

function Row({ run }) {
  const [edited, setEdited] = useState(false);
  const [fault, setFault] = useState(null);
  const since = run.ended ?? run.started ?? run.submitted;
  const waits = run.state === "queued";
  return html`<tr ...${edited ? {} : dragging(run, setFault)}>
    <th scope="row"><a href=${`#/runs/${run.id}`}>${run.name || run.id}</a>${run.who && html` <span class="quiet">${run.who}</span>`}<${Told} run=${run} />${reasonOf(run) && html` <small>${reasonOf(run)}</small>`}</th>
    <td><span class=${`pill ${tone(run.state)}`}>${run.held && waits ? "held" : run.state}</span> <${Progress} run=${run} /> <${Ends} run=${run} /></td>
    <td class="quiet">${clock(since, today.value)}</td>
    <td class="buttons">${waits && html`<${LineButtons} run=${run} small=${true} onEdit=${() => setEdited(!edited)} onFault=${setFault} />`}
      <${RunButtons} run=${run} small=${true} />${fault && html`<span class="fault" role="alert">${fault}</span>`}</td>
  </tr>
  ${edited && waits && html`<tr class="edited"><td colspan="4"><${EditForm} run=${run} onDone=${() => setEdited(false)} /></td></tr>`}`;
}

/** Why it does not go on, or what it was told and will do. */
export function reasonOf(run) {
  if (isOver(run)) return "";
  if (run.aborting) return "It ends: what it does now is waited for, then it cleans up.";
  if (run.pausing && run.state !== "paused") return "It pauses before its next step.";
  return run.reason ?? "";
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
  const ask = (act) => () => {
    setFault(null);
    return act().catch(told(setFault));
  };
  const say = (word) => ask(async () => noteRun(await post(address("runs", run.id, word))));
  const take = ask(async () => {
    await remove(address("runs", run.id));
    forgetRun(run.id);
  });
  const again = ask(async () => {
    const made = await post(address("runs", run.id, "again"));
    noteRun(made);
    location.hash = `#/runs/${made.id}`;
  });
  const lastTurn = ask(async () => noteRun(await patch(address("runs", run.id), { again: 0 })));
  const button = (word, act, kind = "") => html`<button key=${PLACE[word]} type="button" class=${`${small ? "small" : ""} ${kind}`} onClick=${act}>${word}<span class="unseen"> ${run.name}</span></button>`;
  return html`
    ${run.state === "queued" && button("Remove", take)}
    ${(run.state === "running" || run.state === "waiting") && !run.pausing && !run.aborting && button("Pause", say("pause"))}
    ${(run.state === "paused" || run.pausing) && !run.aborting && button("Resume", say("resume"))}
    ${["running", "waiting", "paused"].includes(run.state) && button(run.aborting ? "End the clean-up too" : "Abort", say("abort"), "grave")}
    ${!small && run.state !== "queued" && !isOver(run) && (run.again === null || run.again > 0) && button("End after this turn", lastTurn)}
    ${isOver(run) && !small && button("Run again", again)}
    ${fault && html`<span class="fault" role="alert">${fault}</span>`}`;
}
