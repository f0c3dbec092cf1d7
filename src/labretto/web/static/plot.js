// A plot of curves: one trace per step, axes with names and units, the columns to draw are the reader's choice.
//
// uPlot gives axes, grid, zoom and cursor. The traces are drawn by us on its canvas, because a cyclic measurement goes
// back and forth on the x axis, which no line of uPlot's does. At most one drawing per animation frame.

import { html } from "htm/preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { number, prefix, quantity, unitInPrint } from "/static/words.js";

const NO_COLUMNS = {};
const itself = (path) => path;
const MOST_TRACES = 200;
const NEAR = 24; // px
const dark = matchMedia("(prefers-color-scheme: dark)");

const HUES = 12;

/** Hues that follow each other around the circle, so that the course of a sweep is seen; each round is darker or lighter. */
export function colour(index) {
  const hue = (262 - (360 / HUES) * (index % HUES) + 360) % 360;
  const round = Math.floor(index / HUES) % 3;
  return dark.matches ? `oklch(${[0.76, 0.64, 0.88][round]} 0.13 ${hue})` : `oklch(${[0.58, 0.42, 0.7][round]} 0.15 ${hue})`;
}

/**
 * @param {object} props
 * @param {import("./curves.js").Curve[]} props.curves
 * @param {string} props.title what is read aloud for the picture
 * @param {Record<string, {unit?: string}>} [props.columns] what is known of the columns before the first point came
 * @param {(path: string) => string} [props.label]
 * @param {number} [props.revision] changes when a curve has grown
 * @param {boolean} [props.live] whether the last trace is being measured
 */
export function Plot({ curves, title, columns = NO_COLUMNS, label = itself, revision = 0, live = false, height = 400 }) {
  const names = useMemo(() => [...new Set([...Object.keys(columns), ...curves.flatMap((curve) => curve.names)])], [curves, columns]);
  const [chosen, choose] = useState({ x: null, y: null });
  const axes = { x: names.includes(chosen.x) ? chosen.x : usualX(names), y: names.includes(chosen.y) ? chosen.y : usualY(names) };
  const [near, setNear] = useState(null);
  const [hidden, setHidden] = useState(() => new Set());
  const shown = useMemo(() => tracesOf(curves, label), [curves, label, curves.length]);
  const visible = useMemo(() => shown.filter((trace) => !hidden.has(trace.curve.path)), [shown, hidden]);
  const unit = (name) => columns[name]?.unit ?? curves.find((curve) => curve.units[name])?.units[name];
  const picture = { traces: visible, x: axes.x, y: axes.y, unitX: unit(axes.x), unitY: unit(axes.y), live };
  const place = useCanvas(picture, { height, revision, title, onNear: setNear });
  const toggle = (path) => setHidden((before) => (before.has(path) ? new Set([...before].filter((each) => each !== path)) : new Set([...before, path])));

  return html`
    <figure class="plot">
      <div class="plot-head">
        <${Choice} name="y" label="Vertical axis" names=${names} chosen=${axes.y} onChoose=${(y) => choose({ ...axes, y })} />
        <span class="quiet">over</span>
        <${Choice} name="x" label="Horizontal axis" names=${names} chosen=${axes.x} onChoose=${(x) => choose({ ...axes, x })} />
        <output class="plot-near" aria-label="Nearest point">${near && html`<i style=${{ background: near.colour }}></i>${near.label} · ${axes.x} ${quantity(near.x, unit(axes.x))} · ${axes.y} ${quantity(near.y, unit(axes.y))}`}</output>
      </div>
      <div class="plot-place" ref=${place} data-traces=${visible.length} data-points=${visible.reduce((sum, { curve }) => sum + curve.rows, 0)}></div>
      ${shown.length === 0 && html`<p class="plot-empty">No points yet.</p>`}
      <${Legend} traces=${shown} hidden=${hidden} onToggle=${toggle} live=${live} />
    </figure>`;
}

/** The newest curves, each with a colour that stays its own. */
function tracesOf(curves, label) {
  const first = Math.max(0, curves.length - MOST_TRACES);
  return curves.slice(first).map((curve, index) => ({ curve, colour: colour(first + index), label: label(curve.path) }));
}

const usualX = (names) => names.find((name) => name === "potential") ?? names[0] ?? "";
const usualY = (names) => names.find((name) => name === "current") ?? names[1] ?? names[0] ?? "";

function Choice({ label, names, chosen, onChoose }) {
  return html`<select aria-label=${label} value=${chosen} disabled=${names.length < 2} onChange=${(event) => onChoose(event.target.value)}>
    ${names.map((name) => html`<option key=${name} value=${name} selected=${name === chosen}>${name}</option>`)}
  </select>`;
}

function Legend({ traces, hidden, onToggle, live }) {
  if (!traces.length) return null;
  return html`<ul class="legend" aria-label="Curves">
    ${traces.map(({ curve, colour, label }, index) => html`<li key=${curve.path}>
      <button type="button" aria-pressed=${!hidden.has(curve.path)} title=${curve.path} onClick=${() => onToggle(curve.path)}>
        <i class=${live && index === traces.length - 1 ? "growing" : ""} style=${{ background: colour }}></i>${label}
      </button></li>`)}
  </ul>`;
}

/** The element in which uPlot lives; drawn anew when the picture or the revision changes. */
function useCanvas(picture, { height, revision, title, onNear }) {
  const place = useRef(null);
  const drawing = useRef(null);
  useEffect(() => {
    const made = new Drawing(place.current, height, onNear);
    drawing.current = made;
    return () => made.destroy();
  }, [height]);
  useEffect(() => drawing.current.show(picture), [revision, picture.traces, picture.x, picture.y, picture.unitX, picture.unitY, picture.live]);
  useEffect(() => place.current.querySelector("canvas")?.setAttribute("aria-label", title), [title]);
  return place;
}

class Drawing {
  constructor(place, height, onNear) {
    this.place = place;
    this.onNear = onNear;
    this.picture = { traces: [], x: "", y: "", live: false };
    this.zoomed = false;
    this.asked = 0;
    this.plot = new uPlot(this.options(height), [[0, 1], [null, null]], place);
    const canvas = place.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Plot");
    this.mark = this.plot.over.appendChild(document.createElement("i"));
    this.mark.className = "mark";
    this.mark.hidden = true;
    this.sizes = new ResizeObserver(() => this.resize(height));
    this.sizes.observe(place);
    this.recolour = () => this.plot.redraw(false, true);
    dark.addEventListener("change", this.recolour);
  }

  destroy() {
    cancelAnimationFrame(this.asked);
    dark.removeEventListener("change", this.recolour);
    this.sizes.disconnect();
    this.plot.destroy();
  }

  resize(height) {
    const width = Math.max(200, this.place.clientWidth);
    if (width !== this.plot.width) this.plot.setSize({ width, height });
  }

  show(picture) {
    if (picture.x !== this.picture.x || picture.y !== this.picture.y) this.zoomed = false;
    this.picture = picture;
    this.asked ||= requestAnimationFrame(() => {
      this.asked = 0;
      this.scale();
    });
  }

  /** Fit the axes to the traces, unless the reader has zoomed; either way draw. */
  scale() {
    const { traces, x, y, unitX, unitY } = this.picture;
    const [rangeX, rangeY] = [rangeOf(traces, x), rangeOf(traces, y)];
    this.units = { x: prefix(Math.max(...rangeX.map(Math.abs)), unitX), y: prefix(Math.max(...rangeY.map(Math.abs)), unitY) };
    this.plot.batch(() => {
      if (!this.zoomed) {
        this.plot.setScale("x", { min: rangeX[0], max: rangeX[1] });
        this.plot.setScale("y", { min: rangeY[0], max: rangeY[1] });
      }
    });
    this.plot.redraw(false, true);
  }

  options(height) {
    const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = (key, more) => ({
      stroke: () => style("--quiet"),
      grid: { stroke: () => style("--line-soft"), width: 1 },
      ticks: { stroke: () => style("--line"), width: 1, size: 5 },
      font: "12px Inter, system-ui, sans-serif",
      labelFont: "500 12.5px Inter, system-ui, sans-serif",
      label: () => this.name(key),
      values: (_, splits) => splits.map((value) => number(Number((value / (this.units?.[key][0] ?? 1)).toPrecision(10)))),
      ...more,
    });
    return {
      width: Math.max(200, this.place.clientWidth),
      height,
      padding: [12, 16, 0, 0],
      legend: { show: false },
      scales: { x: { time: false, auto: false, range: (_, min, max) => [min ?? 0, max ?? 1] }, y: { auto: false, range: (_, min, max) => [min ?? 0, max ?? 1] } },
      axes: [axis("x", { size: 34, labelSize: 24, space: 70 }), axis("y", { size: 56, labelSize: 22, space: 44 })],
      series: [{}, { show: true, points: { show: false } }],
      cursor: {
        drag: { x: true, y: true, uni: 20, setScale: false },
        points: { show: false },
        bind: { dblclick: () => () => this.unzoom() },
      },
      hooks: {
        draw: [() => this.draw()],
        setSelect: [() => this.zoom()],
        setCursor: [() => this.point()],
      },
    };
  }

  name(key) {
    const { [key]: name, unitX, unitY } = this.picture;
    const unit = key === "x" ? unitX : unitY;
    return unit ? `${name} (${this.units?.[key][1] ?? ""}${unitInPrint(unit)})` : name;
  }

  zoom() {
    const { left, top, width, height } = this.plot.select;
    if (width < 5 && height < 5) return;
    const range = (low, high, scale) => {
      const ends = [this.plot.posToVal(low, scale), this.plot.posToVal(high, scale)].sort((a, b) => a - b);
      return { min: ends[0], max: ends[1] };
    };
    const [x, y] = [range(left, left + width, "x"), range(top, top + height, "y")];
    this.zoomed = true;
    this.plot.batch(() => {
      if (width >= 5) this.plot.setScale("x", x);
      if (height >= 5) this.plot.setScale("y", y);
      this.plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    });
  }

  unzoom() {
    this.zoomed = false;
    this.scale();
  }

  /** The point nearest to the cursor, if one is near. */
  point() {
    const { left, top } = this.plot.cursor;
    const found = left >= 0 ? nearest(this.picture, scaler(this.plot, "x", false), scaler(this.plot, "y", false), left, top) : null;
    if (found?.index === this.near?.index && found?.label === this.near?.label) return;
    this.near = found;
    this.onNear(found);
    this.mark.hidden = !found;
    if (found) Object.assign(this.mark.style, { left: `${found.left}px`, top: `${found.top}px`, background: found.colour });
  }

  draw() {
    const { ctx, bbox } = this.plot;
    const { traces, x, y, live } = this.picture;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineJoin = "bevel"; // round ones are slow where many points stand close together
    traces.forEach(({ curve, colour }, index) => {
      const newest = live && index === traces.length - 1;
      ctx.strokeStyle = colour;
      ctx.globalAlpha = live && !newest ? 0.72 : 1;
      ctx.lineWidth = (newest ? 2.4 : 1.6) * devicePixelRatio;
      ctx.stroke(lineThrough(new Path2D(), curve.column(x) ?? [], curve.column(y) ?? [], scaler(this.plot, "x"), scaler(this.plot, "y")));
      if (newest) this.dot(colour, curve.column(x)?.at(-1), curve.column(y)?.at(-1), 4.5);
    });
    ctx.globalAlpha = 1;
    ctx.restore();
  }

  dot(colour, x, y, radius) {
    const { ctx } = this.plot;
    ctx.beginPath();
    ctx.arc(this.plot.valToPos(x, "x", true), this.plot.valToPos(y, "y", true), radius * devicePixelRatio, 0, 7);
    ctx.fillStyle = colour;
    ctx.fill();
  }
}

/**
 * A line through points, put into `path`. Those that follow each other within one column of pixels become one stroke from
 * the least to the greatest, so that it costs as much as it is wide, and shows every spike.
 */
export function lineThrough(path, xs, ys, toX, toY) {
  let [column, low, high, last] = [NaN, 0, 0, 0];
  const stroke = () => {
    if (high > low) [low, high, last].forEach((top) => path.lineTo(column, top));
  };
  for (let i = 0; i < xs.length; i++) {
    const [left, top] = [toX(xs[i]), toY(ys[i])];
    if (Math.round(left) === column && !Number.isNaN(top)) {
      [low, high, last] = [Math.min(low, top), Math.max(high, top), top];
      continue;
    }
    stroke();
    const gap = Number.isNaN(left) || Number.isNaN(top);
    if (!gap) Number.isNaN(column) ? path.moveTo(left, top) : path.lineTo(left, top);
    [column, low, high, last] = [gap ? NaN : Math.round(left), top, top, top];
  }
  stroke();
  return path;
}

/** valToPos of a linear scale without its cost per call; in pixels of the canvas or of the page. */
function scaler(plot, key, ofCanvas = true) {
  const [low, high] = [plot.scales[key].min, plot.scales[key].max];
  const [begin, end] = [plot.valToPos(low, key, ofCanvas), plot.valToPos(high, key, ofCanvas)];
  const slope = (end - begin) / (high - low);
  return (value) => begin + (value - low) * slope;
}

/** Least and greatest value of a column over all traces, with some air; [0, 1] where there is none. */
function rangeOf(traces, name) {
  let [low, high] = [Infinity, -Infinity];
  for (const { curve } of traces) {
    const values = curve.column(name) ?? [];
    for (let i = 0; i < values.length; i++) {
      if (values[i] < low) low = values[i];
      if (values[i] > high) high = values[i];
    }
  }
  if (low > high) return [0, 1];
  const air = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - air, high + air];
}

function nearest({ traces, x, y }, toLeft, toTop, left, top) {
  let [best, found] = [NEAR * NEAR, null];
  for (const { curve, colour, label } of traces) {
    const [xs, ys] = [curve.column(x), curve.column(y)];
    for (let i = 0; xs && ys && i < xs.length; i++) {
      const [across, down] = [toLeft(xs[i]) - left, toTop(ys[i]) - top];
      const distance = across * across + down * down;
      if (!(distance < best)) continue;
      best = distance;
      found = { x: xs[i], y: ys[i], index: i, colour, label, left: left + across, top: top + down };
    }
  }
  return found;
}
