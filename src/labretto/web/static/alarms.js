// Alarms: what is beyond a limit of the lab, or was and nobody has said that they saw it; on top of every view.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { address, post, Problem } from "/static/api.js";
import { alarms, now } from "/static/lab.js";
import { clock, duration, quantity, secondsBetween } from "/static/words.js";

const GRAVITY = ["critical", "warning", "notice"];

/** All alarms, the active and gravest first. */
export function AlarmNotice() {
  const all = Object.values(alarms.value).flat().sort((one, other) => other.active - one.active || GRAVITY.indexOf(one.severity) - GRAVITY.indexOf(other.severity));
  if (all.length === 0) return null;
  const active = all.filter((alarm) => alarm.active);
  const loud = active.some((alarm) => !alarm.acknowledged);
  return html`<section class=${`notice alarms ${active.length ? active[0].severity : ""}`} role=${loud ? "alert" : "status"} aria-labelledby="alarms-title">
    <div class="notice-text">
      <h2 id="alarms-title">${active.length ? `${active.length} alarm${active.length > 1 ? "s" : ""}` : "Alarms that are over, and that nobody has seen"}</h2>
      <ul>${all.map((alarm) => html`<${Alarm} key=${alarm.id} alarm=${alarm} />`)}</ul>
    </div>
  </section>`;
}

function Alarm({ alarm }) {
  const [fault, setFault] = useState(null);
  const seconds = Math.max(0, Math.round(secondsBetween(alarm.raised, alarm.cleared, now.value)));
  const value = alarm.reading.status === "error" ? alarm.reading.detail : quantity(alarm.reading.value, alarm.reading.unit);

  async function acknowledge() {
    try {
      await post(address("instruments", alarm.instrument, "alarms", alarm.id, "acknowledge"));
      setFault(null);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFault(error.message);
    }
  }
  return html`<li class=${alarm.active ? alarm.severity : "over"}>
    <strong>${alarm.severity}</strong> <a href=${`#/instruments/${encodeURIComponent(alarm.instrument)}`}>${alarm.instrument}.${alarm.attribute}</a>
    ${" "}${alarm.condition}: ${value} at ${clock(alarm.raised)}<span class="quiet"> ${alarm.active ? `for ${duration(seconds || 1)}` : `over since ${clock(alarm.cleared)}`}${alarm.times > 1 ? `, ${alarm.times} times` : ""}</span>
    ${alarm.acknowledged ? html`<span class="quiet">, seen by ${alarm.by}</span>` : html` <button type="button" class="small" onClick=${acknowledge}>I have seen it<span class="unseen">: ${alarm.instrument}.${alarm.attribute} ${alarm.condition}</span></button>`}
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
  </li>`;
}
