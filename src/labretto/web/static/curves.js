// Curves: the points of streaming steps, as far as this page has them. Grown by binary frames, completed from records.
//
// A frame says which row it begins with. Rows we have already are passed over; if rows before it are missing, the whole
// curve is asked for. Nothing here is drawn; `revision` tells a plot that it has something new to draw.

import { signal } from "@preact/signals";
import { address, get, Problem } from "/static/api.js";

/** Rises whenever any curve has grown. */
export const revision = signal(0);

/** run id → path → Curve, in the order in which the curves began. @type {Map<string, Map<string, Curve>>} */
const known = new Map();
const MOST_AT_ONCE = 4;

/** One step's columns, each in an array with room to grow. */
class Curve {
  constructor(path) {
    this.path = path;
    this.rows = 0;
    /** @type {Record<string, Float64Array>} */
    this.room = {};
    /** @type {Record<string, string>} */
    this.units = {};
    /** Frames that came while the record was being asked; null when it is not. */
    this.late = null;
    this.grown = 0;
  }

  get names() {
    return Object.keys(this.room);
  }

  /** The values of a column so far, without copying. */
  column(name) {
    return this.room[name]?.subarray(0, this.rows);
  }

  /** Put columns in, the first value at `row`; answers false if rows before it are missing. */
  put(row, columns, points) {
    if (row > this.rows) return false;
    const end = Math.max(this.rows, row + points);
    for (const [name, values] of Object.entries(columns)) {
      this.room[name] = withRoom(this.room[name], this.rows, end);
      this.room[name].set(values, row);
    }
    if (end > this.rows) this.grown = performance.now();
    this.rows = end;
    return true;
  }
}

function withRoom(values, used, needed) {
  if (values && values.length >= needed) return values;
  const larger = new Float64Array(Math.max(1024, 2 * needed)).fill(NaN);
  if (values) larger.set(values.subarray(0, used));
  return larger;
}

/** The curves of a run, oldest first. @returns {Curve[]} */
export const ofRun = (run) => [...(known.get(run)?.values() ?? [])].filter((curve) => curve.rows > 0);

function curveOf(run, path) {
  const curves = known.get(run) ?? new Map(); // forgotten meanwhile: what comes is dropped
  if (!curves.has(path)) curves.set(path, new Curve(path));
  return curves.get(path);
}

/** Keep the curves of a run from now on; those of others are passed over as they come. */
export const watch = (run) => void (known.has(run) || known.set(run, new Map()));
export const forget = (run) => void known.delete(run);

/** Take in a binary frame. @param {ArrayBuffer} buffer */
export function takeFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  if (!known.has(head.run)) return;
  const columns = {};
  head.columns.forEach(({ name }, index) => {
    columns[name] = new Float64Array(buffer, 4 + length + index * head.points * 8, head.points);
  });
  const frame = { ...head, values: columns };
  const curve = curveOf(head.run, head.path);
  if (curve.late) curve.late.push(frame);
  else if (!grow(curve, frame)) fetchOne(head.run, head.path, [frame]);
  revision.value++;
}

/** Whether the frame could be put in; one that begins at row 0 below what we have is a measurement begun anew. */
function grow(curve, { row, points, columns, values }) {
  for (const { name, unit } of columns) if (unit) curve.units[name] = unit;
  if (row === 0 && curve.rows > points) curve.rows = 0;
  return curve.put(row, values, points);
}

/** Ask the record for curves that belong to a run; few at a time, in their order. */
export async function fetchAll(run, paths) {
  if (known.has(run)) known.set(run, new Map([...paths.map((path) => [path, curveOf(run, path)]), ...known.get(run)])); // one that grew before it was asked for is not the first of all
  const left = [...paths];
  const work = async () => {
    for (let path = left.shift(); path !== undefined; path = left.shift()) await fetchOne(run, path);
  };
  await Promise.all(Array.from({ length: MOST_AT_ONCE }, work));
}

async function fetchOne(run, path, late = []) {
  const curve = curveOf(run, path);
  if (curve.late) return;
  curve.late = late;
  try {
    const { columns, units } = columnsOf(await get(address("records", run, "streams", path)));
    Object.assign(curve.units, units);
    const points = Math.max(0, ...Object.values(columns).map((values) => values.length));
    curve.put(0, columns, points);
    revision.value++;
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // not begun, or the step streams nothing: nothing to draw
  } finally {
    const came = curve.late;
    curve.late = null;
    came.forEach((frame) => grow(curve, frame));
  }
}

/** Columns and units of a stream as the hub answers it: name → values, or name → {values, unit}. */
export function columnsOf(answer) {
  const columns = {};
  const units = { ...answer?.units };
  for (const [name, said] of Object.entries(answer?.columns ?? {})) {
    const values = Array.isArray(said) ? said : (said?.values ?? said?.$value ?? []);
    if (said?.unit) units[name] = said.unit;
    columns[name] = Float64Array.from(values, (value) => (value === null ? NaN : value));
  }
  return { columns, units };
}

/** Curves that are no run's: a table that an action answered. */
export function fromTable(table, path = "result") {
  const curve = new Curve(path);
  const columns = Object.fromEntries(Object.entries(table).map(([name, values]) => [name, Float64Array.from(values, (v) => v ?? NaN)]));
  curve.put(0, columns, Math.max(0, ...Object.values(columns).map((values) => values.length)));
  return curve;
}
