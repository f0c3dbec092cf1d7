// The line: what people do to runs that wait. Moved by dragging, or by buttons from the keyboard; held, edited, stopped.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { address, get, patch, post, Problem, told } from "/static/api.js";
import { Field, faultsAtFields, initialText, meanings } from "/static/forms.js";
import { isOver, line, noteRun, runs } from "/static/lab.js";
import { changesOf, Terms, termsOf, textsOf } from "/static/terms.js";

/** Runs that are not over: those that have begun first, then those that wait, in their order. */
export function openRuns() {
  const open = Object.values(runs.value).filter((run) => !isOver(run));
  const begun = (run) => (run.state === "queued" ? 1 : 0);
  return open.sort((a, b) => begun(a) - begun(b) || (begun(a) && byPlace(a, b)) || (a.id < b.id ? -1 : 1));
}

const byPlace = (a, b) => (b.priority ?? 0) - (a.priority ?? 0) || (a.position ?? 0) - (b.position ?? 0);

const waiting = () => openRuns().filter((run) => run.state === "queued");

/** What was done last, for whoever cannot see it. */
const said = signal("");

/** The run that is being dragged. */
let dragged = null;

/** Put a run elsewhere; throws the hub's Problem. */
async function move(run, where, other) {
  noteRun(await post(address("runs", run.id, "move"), { where, of: other?.id }));
  const order = waiting();
  said.value = `${run.name} is now ${order.findIndex((each) => each.id === run.id) + 1} of ${order.length}.`;
}

/** What a row of the table needs so that it can be dragged to another one's place. */
export function dragging(run, onFault) {
  if (run.state !== "queued") return {};
  const below = (event) => event.clientY > event.currentTarget.getBoundingClientRect().top + event.currentTarget.offsetHeight / 2;
  const mark = (event, word) => (event.currentTarget.dataset.drop = word);
  return {
    draggable: true,
    onDragStart: (event) => {
      dragged = run;
      event.dataTransfer.setData("text/plain", run.name);
      event.dataTransfer.effectAllowed = "move";
    },
    onDragEnd: () => (dragged = null),
    onDragOver: (event) => {
      if (!dragged || dragged.id === run.id) return;
      event.preventDefault();
      mark(event, below(event) ? "after" : "before");
    },
    onDragLeave: (event) => mark(event, ""),
    onDrop: (event) => {
      event.preventDefault();
      const where = below(event) ? "after" : "before";
      mark(event, "");
      if (dragged && dragged.id !== run.id) move(dragged, where, run).catch(told(onFault));
      dragged = null;
    },
  };
}

/** Move up and down, hold, release, edit: of a run that waits. `small`: in a table. */
export function LineButtons({ run, small, onEdit, onFault }) {
  const order = waiting();
  const place = order.findIndex((each) => each.id === run.id);
  const id = (word) => `${word}-${run.id}`;
  const step = (word, where, other) => () =>
    move(run, where, other).then(
      // a row that is moved loses the focus; at the end of the queue the other button takes it
      () => requestAnimationFrame(() => [id(word), id(word === "up" ? "down" : "up")].map((each) => document.getElementById(each)).find((button) => button && !button.disabled)?.focus()),
      told(onFault),
    );
  const say = (word, body) => () => post(address("runs", run.id, word), body).then(noteRun, told(onFault));
  const button = (word, act, more = {}, sign = word) => html`<button type="button" class=${small ? "small" : ""} onClick=${act} ...${more}>${sign === word ? word : html`<span aria-hidden="true" class="arrow">${sign}</span><span class="unseen">${word}</span>`}<span class="unseen"> ${run.name}</span></button>`;
  return html`
    ${small && button("Move up", step("up", "before", order[place - 1]), { id: id("up"), disabled: place < 1 }, "↑")}
    ${small && button("Move down", step("down", "after", order[place + 1]), { id: id("down"), disabled: place < 0 || place === order.length - 1 }, "↓")}
    ${run.held ? button("Release", say("release")) : button("Hold", say("hold", {}))}
    ${onEdit && button("Edit", onEdit)}`;
}

/** Stops and starts the whole queue. */
export function SwitchButton() {
  const [fault, setFault] = useState(null);
  const stopped = Boolean(line.value.stopped);
  const turn = async () => {
    setFault(null);
    await post(address("queue", stopped ? "start" : "stop")).then((words) => (line.value = words), told(setFault));
  };
  return html`<button type="button" class="small" onClick=${turn}>${stopped ? "Start the queue" : "Stop the queue"}</button>
    ${fault && html`<span class="fault" role="alert">${fault}</span>`}`;
}

/** Why nothing begins, and what was moved last. */
export function LineNotes() {
  return html`${line.value.stopped && html`<p class="reason" role="status" aria-label="Why nothing begins">${line.value.why} What runs goes on to its end.</p>`}
    <p class="unseen" role="status" aria-label="Last move">${said.value}</p>`;
}

/** Change a run before it begins: how it is called, on what terms it waits, its parameters. */
export function EditForm({ run, onDone }) {
  const [name, setName] = useState(run.name);
  const [texts, setTexts] = useState(textsOf(run));
  const [asked, setAsked] = useState(null);
  const [typed, setTyped] = useState({});
  const [faults, setFaults] = useState({});
  useEffect(() => void askedBy(run).then(setAsked, told((fault) => setFaults({ "": fault }))), [run.id]);
  const fields = asked?.fields ?? {};
  const id = `edit-${run.id}`;

  async function save(event) {
    event.preventDefault();
    const [terms, parameters] = [termsOf(texts), meanings(fields, { ...asked?.texts, ...typed })];
    const wrong = { ...terms.faults, ...parameters.faults };
    setFaults(wrong);
    if (Object.keys(wrong).length) return;
    const changed = changesOf(termsOf(textsOf(run)).values, terms.values);
    const others = changesOf(asked?.parameters ?? {}, parameters.values);
    if (name !== run.name) changed.name = name;
    if (Object.keys(others).length) changed.parameters = others;
    if (!Object.keys(changed).length) return onDone();
    try {
      noteRun(await patch(address("runs", run.id), { ...changed, expected: asked?.last ?? run.last }));
      onDone();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFaults(faultsAtFields(error, [...Object.keys(fields), "name", "priority", "not_before", "labels", "again"]));
    }
  }

  return html`<form class="edit" aria-label=${`Edit ${run.name}`} noValidate onSubmit=${save}>
    <div class="fields">
      <${Field} id=${`${id}-name`} name="Name" schema=${{ type: "string" }} required=${true} text=${name} fault=${faults.name} onText=${setName} />
      ${Object.entries(fields).map(([each, { schema, required }]) => html`<${Field} key=${each} id=${`${id}-p-${each}`} name=${each} schema=${schema} required=${required}
        text=${typed[each] ?? asked.texts[each]} fault=${faults[each]} description=${schema.description} onText=${(text) => setTyped({ ...typed, [each]: text })} />`)}
    </div>
    <${Terms} id=${id} texts=${texts} faults=${faults} onTexts=${setTexts} />
    ${faults[""] && html`<p class="fault" role="alert">${faults[""]}</p>`}
    <div class="buttons"><button type="submit" class="go" disabled=${!asked}>Save</button><button type="button" onClick=${onDone}>Leave it as it is</button></div>
  </form>`;
}

/** What can be typed for a run's parameters, and what stands there now. */
async function askedBy(run) {
  const { experiment, parameters, last } = await get(`${address("runs", run.id)}?steps=0`);
  const words = { experiment: experiment.source, parameters, ...(experiment.function ? { function: experiment.function } : {}) };
  const fields = fieldsOf((await post(address("runs", "check"), words)).parameters);
  return { last, parameters, fields, texts: Object.fromEntries(Object.entries(fields).map(([name, { schema }]) => [name, initialText(schema, parameters[name])])) };
}

/** name → {schema, required} of an object's JSON schema. */
export const fieldsOf = (schema) => Object.fromEntries(Object.entries(schema?.properties ?? {}).map(([name, each]) => [name, { schema: each, required: (schema.required ?? []).includes(name) }]));
