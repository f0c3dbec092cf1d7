// On what terms a run waits: the fields in which they are typed, and what was typed as the hub takes it.

import { html } from "htm/preact";
import { Field, meanings } from "/static/forms.js";

const FIELDS = {
  priority: { schema: { type: "integer", minimum: -1000, maximum: 1000, description: "higher goes first" }, required: true },
  labels: { schema: { type: "string", description: "separated by commas" } },
  again: { schema: { type: "integer", minimum: 0, description: "how often after this time" } },
};
const SPOKEN = { priority: "Priority", labels: "Labels", again: "Turns" };

/** What the fields of a run begin with; of no run: of a new one. */
export const textsOf = (run = {}) => ({
  priority: String(run.priority ?? 0),
  labels: (run.labels ?? []).join(", "),
  again: run.again === null ? "" : String(run.again ?? 0),
  untilTold: run.again === null,
  notBefore: local(run.not_before),
});

/** A time of the hub as the browser's field shows it, in the zone of whoever looks. */
function local(iso) {
  if (!iso) return "";
  const moment = new Date(iso);
  return new Date(moment - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** Terms and faults of what was typed. */
export function termsOf(texts) {
  const { values, faults } = meanings(FIELDS, texts);
  const labels = texts.labels.split(",").map((label) => label.trim()).filter(Boolean);
  const notBefore = texts.notBefore ? new Date(texts.notBefore).toISOString() : null;
  return { values: { priority: values.priority, labels, again: texts.untilTold ? null : (values.again ?? 0), not_before: notBefore }, faults };
}

/** The terms of `changed` that are not those of `before`. */
export function changesOf(before, changed) {
  return Object.fromEntries(Object.entries(changed).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));
}

export function Terms({ id, texts, faults = {}, onTexts }) {
  const type = (name) => (text) => onTexts({ ...texts, [name]: text });
  return html`<div class="fields terms">
    ${Object.entries(FIELDS).map(([name, { schema }]) => html`<${Field} key=${name} id=${`${id}-${name}`} name=${SPOKEN[name]} schema=${schema} description=${schema.description}
      text=${texts[name]} fault=${faults[name]} disabled=${name === "again" && texts.untilTold} onText=${type(name)} />`)}
    <div class="field field-boolean"><label for=${`${id}-until`}>Again until told</label><input id=${`${id}-until`} type="checkbox" checked=${texts.untilTold} onChange=${(event) => type("untilTold")(event.target.checked)} /></div>
    <div class="field"><label for=${`${id}-time`}>Not before</label><input id=${`${id}-time`} type="datetime-local" value=${texts.notBefore} onInput=${(event) => type("notBefore")(event.target.value)} />
      ${faults.not_before && html`<small class="fault" role="alert">${faults.not_before}</small>`}</div>
  </div>`;
}

/** Labels, turn and priority of a run, where there is something to say. */
export function Told({ run }) {
  const turn = run.again !== 0 || (run.turn ?? 1) > 1 ? `turn ${run.turn ?? 1}${run.again === null ? " of ∞" : run.again === undefined ? "" : ` of ${run.turn + run.again}`}` : "";
  return html`${(run.labels ?? []).map((label) => html` <span key=${label} class="tag">${label}</span>`)}${run.priority ? html` <span class="quiet">priority ${run.priority}</span>` : ""}${turn && run.turn ? html` <span class="quiet">${turn}</span>` : ""}`;
}
