// Halt: one button, always at the same place, one click, no question; and what came of it, until somebody resets it.
//
// It calls every driver's stop() and holds all runs. It is no emergency stop, and says so.

import { html } from "htm/preact";
import { signal } from "@preact/signals";
import { address, post, Problem } from "/static/api.js";
import { halted, instruments, noteHalt } from "/static/lab.js";
import { marked } from "/static/marked.js";
import { clock, duration } from "/static/words.js";

const halting = signal(false);
const failure = signal(null);

export async function halt() {
  halting.value = true;
  failure.value = null;
  try {
    const answer = await post(address("halt"));
    noteHalt({ ...answer, halted: true });
  } catch (error) {
    failure.value = error;
  } finally {
    halting.value = false;
  }
}

async function reset() {
  try {
    await post(address("halt", "reset"));
    failure.value = null;
    noteHalt({ halted: false });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    failure.value = error;
  }
}

export function HaltButton() {
  return html`<button type="button" class=${`halt ${halted.value ? "pressed" : ""}`} aria-describedby="halt-told" onClick=${halt}>
    <svg viewBox="0 0 20 20" aria-hidden="true"><rect x="4" y="4" width="12" height="12" rx="1.5" /></svg>${halting.value ? "Halting…" : "Halt"}
    <span id="halt-told" class="unseen">Stops every instrument that has a software stop. Not an emergency stop.</span>
  </button>`;
}

/** What the halt reached, shown on every view until it is reset. */
export function HaltNotice() {
  if (!halted.value && !failure.value) return null;
  const { by, at, stopped } = halted.value ?? {};
  return html`<section class="notice halted" role="alert" aria-labelledby="halt-title">
    <div class="notice-text">
      ${halted.value && html`<h2 id="halt-title">Halted${at ? ` at ${clock(at)}` : ""}${by ? ` by ${by}` : ""}</h2>`}
      ${failure.value && html`<p><strong>The halt failed:</strong> ${failure.value.message} Stop the instruments by hand.</p>`}
      ${halted.value && html`<${Reached} stopped=${stopped} />`}
      <p class="not-emergency">This is a software stop, <strong>not an emergency stop</strong>: it does not cut power and cannot replace a hardware circuit. Look at the instruments before going on.</p>
    </div>
    ${halted.value && html`<button type="button" onClick=${reset}>Reset the halt</button>`}
  </section>`;
}

function Reached({ stopped }) {
  const said = stopped ?? Object.values(instruments.value).map((each) => ({ instrument: each.name, stopped: each.description?.stop ? undefined : false, detail: each.description?.stop ? "" : "no software stop" }));
  const without = said.filter((each) => each.stopped === false);
  return html`<ul class="reached">
    ${without.map((each) => html`<li key=${each.instrument} class="bad"><strong>${each.instrument}</strong> not stopped: ${marked(each.detail || "no software stop")}</li>`)}
    ${said.filter((each) => each.stopped !== false).map((each) => html`<li key=${each.instrument}><strong>${each.instrument}</strong> ${each.stopped ? `stopped in ${duration(each.seconds ?? 0)}` : "was told to stop"}</li>`)}
    ${said.length === 0 && html`<li>There was no instrument to stop.</li>`}
  </ul>`;
}
