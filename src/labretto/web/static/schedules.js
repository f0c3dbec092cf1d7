// Schedules: what is submitted at its times, by whom it can be held and forgotten, and the fields that make a new one.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { address, post, remove, told } from "/static/api.js";
import { Field, initialText, meanings } from "/static/forms.js";
import { schedules } from "/static/lab.js";

const HOUR = 3600; // s
const FIELDS = {
  rule: { schema: { type: "string", maxLength: 200, title: "Times", description: "such as every day 02:00; every monday, thursday 06:00; every 30 minutes; once 2027-01-31 03:00" } },
  zone: { schema: { type: "string", maxLength: 64, title: "Time zone", default: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC" }, required: true },
  name: { schema: { type: "string", maxLength: 200, title: "Name of the schedule", description: "else that of the experiment" } },
  missed: { schema: { enum: ["late", "skip"], default: "late", title: "A time that was missed", description: "comes late, once, or not at all" }, required: true },
  finish_within: { schema: { type: "number", unit: "h", exclusiveMinimum: 0, maximum: 8784, title: "Finish within", description: "else there is a task for people" } },
};

/** What was typed, as the hub takes it; `values` is null where no times are named. */
export function scheduleOf(texts) {
  if (!texts.rule?.trim()) return { values: null, faults: {} };
  const { values, faults } = meanings(FIELDS, texts);
  return { values: values.finish_within ? { ...values, finish_within: values.finish_within * HOUR } : values, faults };
}

export function Times({ id, texts, faults, onTexts }) {
  return html`<div class="fields times">
    ${Object.entries(FIELDS).map(([name, { schema, required }]) => html`<${Field} key=${name} id=${`${id}-${name}`} name=${schema.title} schema=${schema} required=${required} description=${schema.description}
      text=${texts[name] ?? initialText(schema)} fault=${faults[name]} onText=${(text) => onTexts({ ...texts, [name]: text })} />`)}
  </div>`;
}

/** All schedules; nothing where there is none. */
export function Schedules() {
  if (!schedules.value.length) return null;
  return html`<section class="panel schedules" aria-labelledby="schedules-title">
    <h2 id="schedules-title">Schedules</h2>
    <ul>${schedules.value.map((each) => html`<${Schedule} key=${each.id} schedule=${each} />`)}</ul>
  </section>`;
}

function Schedule({ schedule }) {
  const [fault, setFault] = useState(null);
  const { id, name, rule, zone, held, coming } = schedule;
  const act = (ask) => () => {
    setFault(null);
    ask().catch(told(setFault));
  };
  const button = (word, ask) => html`<button type="button" class="small" onClick=${act(ask)}>${word}<span class="unseen"> ${name}</span></button>`;
  return html`<li>
    <div class="schedule-line"><strong>${name}</strong> <span class="pill ${held ? "look" : "quiet"}">${held ? "held" : (coming[0]?.local ?? "over")}</span></div>
    <div class="schedule-line"><span class="quiet">${rule} (${zone})</span>
      <span class="buttons">${button(held ? "Release" : "Hold", () => post(address("schedules", id, held ? "release" : "hold")))}${button("Forget", () => remove(address("schedules", id)))}</span></div>
    ${schedule.last_word && html`<small>${schedule.last_word} ${schedule.last_run && html`<a href=${`#/runs/${schedule.last_run}`}>Its last run</a>`}</small>`}
    ${!held && coming.length > 1 && html`<details><summary>Then</summary><ul>${coming.slice(1).map(({ at, local }) => html`<li key=${at}>${local}</li>`)}</ul></details>`}
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
  </li>`;
}
