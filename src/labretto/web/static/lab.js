// What the page knows of the laboratory, as signals. Filled from the hub's interface, kept true by its changes.
//
// One idea: a change carries the whole new state of its thing, so it does not matter if it comes twice. After a
// connection was lost for long, or at the beginning, everything is asked for anew; changes that come meanwhile wait.

import { batch, computed, signal } from "@preact/signals";
import { address, get, hubTime, Problem } from "/static/api.js";
import * as curves from "/static/curves.js";

/** What GET /api/lab says. */
export const lab = signal({});
/** name → instrument as the hub lists it, with its description. */
export const instruments = signal({});
/** instrument → attribute → reading. */
export const readings = signal({});
/** instrument → its alarms that are not over, or that nobody has seen. */
export const alarms = signal({});
/** run id → summary of the run. */
export const runs = signal({});
/** What is known of the runs that somebody looks at: run id → {steps: Map, before: how many stand before these, rows, lateRows, loaded, problem}. */
export const details = signal({});
/** number → what somebody has to do, as /tasks tells it; what is open, and what was closed since the page was opened. */
export const tasks = signal({});
/** The latched halt, or null. */
export const halted = signal(null);
/** What stands against showing anything at all. */
export const trouble = signal(null);
/** The hub's time in ms, once a second. */
export const now = signal(hubTime());
/** The hub's day, for times that only look different on another day: what is drawn with it is not drawn every second. */
export const today = computed(() => new Date(now.value).setHours(12, 0, 0, 0));
/** Whether the whole queue is stopped, by whom, and why in one sentence. */
export const line = signal({});
/** What is submitted at its times, as GET /api/schedules tells it. */
export const schedules = signal([]);
/** Rises with each change of the records' list. */
export const recordsChanged = signal(0);

setInterval(() => (now.value = hubTime()), 1000);

const OVER = new Set(["succeeded", "failed", "aborted"]);
const IN_FLIGHT = new Set(["intended", "running"]);
export const inFlight = (step) => IN_FLIGHT.has(step?.state);
export const isOver = (run) => OVER.has(run?.state);

/** Changes that came while everything is being asked for; null when nothing is. */
let waiting = null;
/** How often everything was asked for: an answer that was overtaken is dropped. */
let asked = 0;
const TRY_AGAIN = 1000; // ms
const MOST_RECENT = 50;
const MOST_OPEN = 200;

/** Runs that are watched, the latest looked at first; what a night of runs measured does not all stay in memory. */
let watched = [];
const MOST_WATCHED = 6;

/** Ask for everything; what changes meanwhile is applied afterwards. */
export async function fetchAll() {
  const mine = ++asked;
  waiting = [];
  try {
    const [about, halt, list, beyond, recent, open, queue, toDo, atTimes] = await Promise.all([
      get(address("lab")),
      get(address("halt")),
      get(address("instruments")),
      get(address("alarms")),
      get(`${address("runs")}?limit=${MOST_RECENT}`),
      get(`${address("runs")}?limit=${MOST_OPEN}&state=running&state=waiting&state=paused&state=queued`),
      get(address("queue")),
      get("/tasks?status=pending&status=in_progress&limit=1000"),
      get(address("schedules")),
    ]);
    if (mine !== asked) return;
    batch(() => {
      lab.value = about ?? {};
      trouble.value = null;
      instruments.value = Object.fromEntries(list.map((each) => [each.name, { running: [], ...each }]));
      alarms.value = byInstrument(beyond);
      runs.value = Object.fromEntries([...recent, ...open, ...queue.runs].map((run) => [run.id, run]));
      line.value = queue;
      schedules.value = atTimes;
      tasks.value = Object.fromEntries(toDo.map((task) => [task.id, task]));
      noteHalt(halt);
    });
    await Promise.all(Object.keys(details.value).map((id) => fetchRun(id)));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (mine !== asked) return;
    trouble.value = error;
    setTimeout(fetchAll, TRY_AGAIN);
  } finally {
    if (mine === asked) {
      const late = waiting ?? [];
      waiting = null;
      apply(late);
    }
  }
}

function byInstrument(list) {
  const grouped = {};
  for (const each of list) (grouped[each.instrument] ??= []).push(each);
  return grouped;
}

/** Order and switch of the queue; a move may have changed the places of others. */
async function fetchQueue() {
  const queue = await get(address("queue")).catch(() => null);
  if (!queue) return;
  batch(() => {
    line.value = queue;
    queue.runs.forEach(noteRun);
  });
}

/** What is told of a schedule leaves out its coming times. */
const fetchSchedules = () => get(address("schedules")).then((all) => (schedules.value = all), () => null);

/** Begin to look at a run: its steps, rows and curves are asked for, and kept true from now on. */
export function watch(id) {
  const [kept, dropped] = [[id, ...watched.filter((each) => each !== id)].slice(0, MOST_WATCHED), watched.slice(MOST_WATCHED - 1)];
  const isNew = !watched.includes(id);
  watched = kept;
  if (!isNew) return;
  dropped.forEach(forget);
  curves.watch(id);
  setDetails(id, { steps: new Map(), before: 0, rows: [], lateRows: null, loaded: false, problem: null });
  fetchRun(id);
}

function forget(id) {
  const { [id]: _, ...rest } = details.value;
  details.value = rest;
  curves.forget(id);
}

async function fetchRun(id) {
  try {
    const seen = new Set(details.value[id]?.steps.keys());
    const run = await get(address("runs", id));
    if (!details.value[id]) return;
    const { steps, steps_after: after, ...summary } = run;
    batch(() => {
      noteRun({ ...summary, id });
      setDetails(id, { ...joinedSteps(details.value[id].steps, seen, steps, after), loaded: true, problem: null });
    });
    await Promise.all([fetchRows(id), fetchCurves(id)]);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (details.value[id]) setDetails(id, { loaded: true, problem: error });
  }
}

const byPath = (steps) => steps.map((step) => [step.path, step]);

/** The steps that the hub told, `after` so many, between those before them that we have and those that came meanwhile. */
function joinedSteps(ours, seen, told, after) {
  const paths = [...ours.keys()];
  const earlier = paths.slice(0, Math.max(0, paths.indexOf(told[0]?.path)));
  const steps = new Map([...earlier.map((path) => [path, ours.get(path)]), ...byPath(told)]);
  for (const [path, step] of ours) if (!seen.has(path) && !steps.has(path)) steps.set(path, step);
  return { steps, before: after - earlier.length };
}

/** Ask for steps before the first that is known; throws the hub's Problem. */
export async function fetchEarlier(id, many) {
  const { before } = details.value[id];
  const after = Math.max(0, before - many);
  const { steps } = await get(`${address("runs", id)}?steps=${before - after}&after=${after}`);
  const known = details.value[id];
  if (known?.before === before) setDetails(id, { steps: new Map([...byPath(steps), ...known.steps]), before: after });
}

async function fetchRows(id) {
  const late = (details.value[id].lateRows = []);
  const rows = await get(address("records", id, "data")).catch(() => null); // no record before a run has begun
  const known = details.value[id];
  if (known?.lateRows === late) setDetails(id, { rows: joined(rows ?? known.rows, late), lateRows: null });
}

/** Rows as they were asked for, and those that came meanwhile, of which the first may be among them. */
function joined(rows, late) {
  if (!late.length) return rows;
  const [texts, came] = [rows.slice(-late.length).map((row) => JSON.stringify(row)), late.map((row) => JSON.stringify(row))];
  let twice = texts.length;
  while (twice > 0 && texts.slice(-twice).some((text, index) => text !== came[index])) twice--;
  return [...rows, ...late.slice(twice)];
}

function fetchCurves(id) {
  const paths = [...details.value[id].steps.values()].filter(streams).map((step) => step.path);
  return curves.fetchAll(id, paths);
}

/** Whether a step draws a curve while it measures. */
export const streams = (step) => Boolean(columnsOf(step));

/** name → JSON schema of the columns that a step streams, where its instrument is known. */
export const columnsOf = (step) => step.stream || instruments.value[step.instrument]?.description?.actions?.[step.action]?.stream;

/** Apply changes in their order. */
export function apply(changes) {
  if (waiting) return void waiting.push(...changes);
  batch(() => {
    for (const { topic, body } of changes) TOPICS[topic]?.(body);
  });
}

const TOPICS = {
  run: noteRun,
  queue: fetchQueue,
  schedule: fetchSchedules,
  step: noteStep,
  saved: noteRow,
  instrument: noteInstrument,
  readings: (body) => (readings.value = { ...readings.value, [body.instrument]: { ...readings.value[body.instrument], ...body.readings } }),
  alarms: (body) => (alarms.value = { ...alarms.value, [body.instrument]: body.alarms }),
  invocation: noteInvocation,
  halt: noteHalt,
  task: noteTask,
  record: () => recordsChanged.value++,
};

/** An older word does not overtake a newer one; when a run changes its state, its times and counts are asked for. */
export function noteRun(run) {
  const before = runs.value[run.id];
  if (before && (run.number ?? run.last ?? Infinity) < (before.number ?? before.last ?? 0)) return;
  runs.value = { ...runs.value, [run.id]: { ...before, ...run } };
  if (before?.state === run.state) return;
  recordsChanged.value++;
  if (details.value[run.id]) fetchRun(run.id);
  else if (!("last" in run)) get(address("runs", run.id)).then(({ steps, ...summary }) => noteRun(summary), () => null);
}

export function noteTask(task) {
  const { [task.id]: before, ...rest } = tasks.value;
  if (before && task.updated < before.updated) return;
  tasks.value = task.removed ? rest : { ...rest, [task.id]: task };
}

/** The open task that a run's question is. */
export const taskOf = (run, path) => Object.values(tasks.value).find((task) => task.run === run && task.path === path && !task.closed);

export function forgetRun(id) {
  const { [id]: _, ...rest } = runs.value;
  runs.value = rest;
}

function noteStep(step) {
  const known = details.value[step.run];
  if (!known) return;
  known.steps.set(step.path, { ...known.steps.get(step.path), ...step });
  setDetails(step.run, {});
}

function noteRow({ run, row }) {
  const known = details.value[run];
  if (!known) return;
  (known.lateRows ?? known.rows).push(row);
  setDetails(run, {});
}

/** What is told of an instrument leaves out what it was told before: its description, and what it runs. */
function noteInstrument(body) {
  if (body.state === "removed") {
    const { [body.name]: _, ...rest } = instruments.value;
    instruments.value = rest;
    return;
  }
  const { description, running = [] } = instruments.value[body.name] ?? {};
  const known = { ...body, description: body.description ?? description, running: body.running ?? (body.state === "ready" ? running : []) };
  instruments.value = { ...instruments.value, [body.name]: known };
}

function noteInvocation(invocation) {
  const instrument = instruments.value[invocation.instrument];
  if (!instrument) return;
  const others = instrument.running.filter((each) => each.id !== invocation.id);
  const running = invocation.state === "running" ? [...others, invocation] : others;
  instruments.value = { ...instruments.value, [invocation.instrument]: { ...instrument, running } };
}

/** Actions that watched runs do now; looked for once for all instruments. */
const actionsOfRuns = computed(() =>
  Object.entries(details.value).flatMap(([run, { steps }]) =>
    isOver(runs.value[run]) ? [] : [...steps.values()].filter((step) => inFlight(step) && !step.action.startsWith("attribute:")).map((step) => asInvocation(run, step)),
  ),
);

/** What an instrument runs: as it was told, and as the steps of watched runs say (they are known after a reload too). */
export function runningOn(instrument) {
  return instrument.running?.length ? instrument.running : actionsOfRuns.value.filter((each) => each.instrument === instrument.name);
}

const asInvocation = (run, step) => ({ id: step.path, instrument: step.instrument, action: step.action, parameters: step.parameters, started: step.started ?? step.at, actor: `run ${run}` });

/** One word for how an instrument is. */
export function statusOf(instrument) {
  const word = instrument.state ?? instrument.status ?? "unknown";
  return word === "ready" ? (runningOn(instrument).length ? "busy" : "idle") : word;
}

/** Told as {halted, by, at, stopped}; what each instrument said is kept if a later word leaves it out. */
export function noteHalt(body) {
  const is = body === true || Boolean(body?.halted);
  halted.value = is ? { ...halted.value, ...(body === true ? {} : body) } : null;
}

/** `version` rises with each change, since steps and rows are changed in place. */
function setDetails(id, changes) {
  const before = details.value[id];
  details.value = { ...details.value, [id]: { ...before, ...changes, version: (before?.version ?? 0) + 1 } };
}
