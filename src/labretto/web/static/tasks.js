// Tasks: everything people have to do, what runs ask and what somebody put down, with what is overdue on top.

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { ask, get, Problem } from "/static/api.js";
import { Field, initialText, meanings } from "/static/forms.js";
import { noteTask, now, runs, tasks } from "/static/lab.js";
import { Question, questionsOf } from "/static/questions.js";
import { clock } from "/static/words.js";

const PRIORITIES = ["urgent", "high", "medium", "low"];
const MOST_CLOSED = 50;

export const isOpen = (task) => task.status === "pending" || task.status === "in_progress";

export const openTasks = () => Object.values(tasks.value).filter(isOpen);

/** A day is over at its end, in this browser's time, which is the lab's as a rule. */
function dueAt(task) {
  if (!task.due_date) return Infinity;
  return Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(task.due_date) ? `${task.due_date}T23:59:59.999` : task.due_date);
}

const isLate = (task) => isOpen(task) && dueAt(task) < now.value;

export function TasksPage() {
  const [wanted, setWanted] = useState("");
  const [closed, setClosed] = useState(null);
  const found = openTasks()
    .filter((task) => `${task.title} ${task.description} ${task.assignee ?? ""}`.toLowerCase().includes(wanted.toLowerCase()))
    .sort((a, b) => isLate(b) - isLate(a) || PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) || dueAt(a) - dueAt(b) || a.id - b.id);
  const showClosed = async () => setClosed(await get(`/tasks?status=completed&status=cancelled&sort=-updated&limit=${MOST_CLOSED}`).catch(() => []));
  return html`<main id="main" tabindex="-1" class="tasks-page">
    <header class="page-head"><h1>Tasks</h1></header>
    <div class="columns wide-left">
      <section class="panel" aria-labelledby="open-title">
        <header><h2 id="open-title">To be done</h2><input type="search" aria-label="Only tasks with these words" placeholder="words or a name" value=${wanted} onInput=${(event) => setWanted(event.target.value)} /></header>
        ${found.length === 0 && html`<p class="quiet empty">Nothing is to be done${wanted ? " that has these words" : ""}.</p>`}
        <ul class="tasks">${found.map((task) => html`<${Task} key=${task.id} task=${task} />`)}</ul>
        ${closed === null && html`<button type="button" class="small" onClick=${showClosed}>Show what is done</button>`}
        ${closed && html`<h3>Done</h3><ul class="tasks">${closed.map((task) => html`<${ClosedTask} key=${task.id} task=${task} />`)}</ul>`}
      </section>
      <${NewTask} />
    </div>
  </main>`;
}

/** What it is, in a line. */
function Line({ task }) {
  const late = isLate(task);
  return html`<div class="task-line">
    <span class="quiet number">${task.id}</span><strong>${task.title}</strong>
    ${task.priority !== "medium" && html`<span class=${`pill ${task.priority === "low" ? "quiet" : "look"}`}>${task.priority}</span>`}
    ${task.status === "in_progress" && html`<span class="pill active">in progress</span>`}
    ${task.due_date && html`<span class=${late ? "overdue" : "quiet"}>${late ? "overdue since" : "due"} ${task.due_date.includes("T") ? clock(task.due_date, now.value) : task.due_date}</span>`}
    ${task.assignee && html`<span class="quiet">${task.assignee}</span>`}
    ${task.run && html`<a href=${`#/runs/${task.run}`}>${runs.value[task.run]?.name ?? "run"}</a>`}
  </div>`;
}

function Task({ task }) {
  const [fault, setFault] = useState("");
  const run = runs.value[task.run];
  const question = run && questionsOf(run).find((each) => each.path === task.path);

  async function change(words) {
    try {
      noteTask(await ask("PATCH", `/tasks/${task.id}`, words));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setFault(`${error.message} ${error.wayOut}`.trim());
    }
  }

  return html`<li class=${`task${isLate(task) ? " late" : ""}`}>
    <${Line} task=${task} />
    ${task.description !== task.title && html`<p>${task.description}</p>`}
    ${question ? html`<${Question} run=${run} question=${question} />` : html`<span class="buttons">
      ${task.status === "pending" && html`<button type="button" class="small" onClick=${() => change({ status: "in_progress" })}>Begin</button>`}
      ${!task.choices && html`<button type="button" class="small go" aria-label=${`Done: ${task.title}`} onClick=${() => change({ status: "completed" })}>Done</button>`}
    </span>`}
    ${fault && html`<p class="fault" role="alert">${fault}</p>`}
  </li>`;
}

const ClosedTask = ({ task }) => html`<li class="task">
  <${Line} task=${task} />
  <p class="quiet">${task.status} ${clock(task.closed, now.value)}${task.closed_by && ` by ${task.closed_by}`}${task.choice && `: ${task.choice === "answer" ? JSON.stringify(task.answer) : task.choice}`}${task.why && ` (${task.why})`}</p>
</li>`;

const NEW = {
  title: { schema: { type: "string", maxLength: 500, title: "Title" }, required: true },
  description: { schema: { type: "string", format: "lines", maxLength: 20000, title: "Description" }, required: true },
  priority: { schema: { enum: PRIORITIES, default: "medium", title: "Priority" }, required: true },
  due_date: { schema: { type: "string", maxLength: 40, title: "Due", description: "2026-12-01, or 2026-12-01T14:30" }, required: false },
  assignee: { schema: { type: "string", maxLength: 200, title: "Assignee" }, required: false },
};

function NewTask() {
  const [texts, setTexts] = useState({});
  const [faults, setFaults] = useState({});

  async function add(event) {
    event.preventDefault();
    const meant = meanings(NEW, texts);
    setFaults(meant.faults);
    if (Object.keys(meant.faults).length) return;
    try {
      noteTask(await ask("POST", "/tasks", meant.values));
      setTexts({});
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const named = error.faults.map((fault) => [Object.keys(NEW).find((name) => fault.detail.startsWith(`body.${name}:`)) ?? "", fault.detail.replace(/^body\.\w+: (Value error, )?/, "")]);
      setFaults(Object.fromEntries(named.length ? named : [["", error.message]]));
    }
  }

  return html`<form class="panel" aria-labelledby="new-task" noValidate onSubmit=${add}>
    <h2 id="new-task">Put a task down</h2>
    <div class="fields">
      ${Object.entries(NEW).map(([name, { schema, required }]) => html`<${Field} key=${name} id=${`new-task-${name}`} name=${schema.title} schema=${schema} required=${required}
        text=${texts[name] ?? initialText(schema)} fault=${faults[name]} description=${schema.description} onText=${(text) => setTexts({ ...texts, [name]: text })} />`)}
    </div>
    ${faults[""] && html`<p class="fault" role="alert">${faults[""]}</p>`}
    <button type="submit" class="go">Add</button>
  </form>`;
}

/** The link in the head: how many there are, and whether one is overdue. */
export function TasksLink({ here }) {
  const open = openTasks();
  const late = open.some(isLate);
  return html`<a href="#/tasks" aria-current=${here ? "page" : undefined}>Tasks${open.length > 0 && html` <span class=${`count${late ? " overdue" : ""}`} aria-label=${`${open.length} open${late ? ", some overdue" : ""}`}>${open.length}</span>`}</a>`;
}
