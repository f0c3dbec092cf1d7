// Values, times and states as people read them. Nothing here knows the hub or draws anything.

/** A number in at most six significant digits, a thousand times smaller or larger ones as powers of ten. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return power(value);
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

function power(value) {
  const [digits, exponent] = value.toExponential(3).split("e");
  return `${Number(digits)}`.replace("-", "−") + `·10${[...String(Number(exponent))].map((sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign] ?? "⁻").join("")}`;
}

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];
const PREFIXABLE = new Set(["A", "V", "Hz", "W", "ohm", "F", "C", "Pa", "N", "J", "S", "T", "m", "s"]);
const SPELT = { degC: "°C", ohm: "Ω", uA: "µA", uF: "µF", uL: "µL", um: "µm", us: "µs", "cm^2": "cm²", "mm^2": "mm²" };

/** A unit in print; what is not known stays as the driver wrote it. */
export const unitInPrint = (unit) => (unit ? (SPELT[unit] ?? unit.replaceAll("^2", "²").replaceAll("^3", "³")) : "");

/** Factor and prefix that bring `size` between 1 and 1000, where the unit may carry a prefix; else 1 and "". */
export function prefix(size, unit) {
  if (!PREFIXABLE.has(unit) || !(size > 0) || !Number.isFinite(size)) return [1, ""];
  const fitting = PREFIXES.find(([factor]) => size >= factor * 0.9999) ?? PREFIXES.at(-1);
  return unit === "s" && fitting[0] > 1 ? [1, ""] : fitting;
}

/** A value with its unit; a current of 1.2e-5 A is 12 µA. */
export function quantity(value, unit) {
  if (typeof value === "number") {
    const [factor, letter] = prefix(Math.abs(value), unit);
    return `${number(value / factor)}${unit ? ` ${letter}${unitInPrint(unit)}` : ""}`;
  }
  return `${plain(value)}${unit && value !== null ? ` ${unitInPrint(unit)}` : ""}`;
}

/** Anything in one line. */
export function plain(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return number(value);
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.length > 6 ? `${shape(value)} values` : `[${value.map(plain).join(", ")}]`;
  if ("$value" in value) return quantity(value.$value, value.unit);
  if ("$array" in value) return `${(value.shape ?? []).join(" × ")} values${value.unit ? ` in ${unitInPrint(value.unit)}` : ""}`;
  return Object.entries(value).map(([name, item]) => `${name} ${plain(item)}`).join(", ");
}

function shape(value) {
  const sizes = [];
  for (let level = value; Array.isArray(level); level = level[0]) sizes.push(level.length);
  return sizes.join(" × ");
}

/** What a step was asked: `x 10, y 20`. */
export const parametersInLine = (parameters) => Object.entries(parameters ?? {}).map(([name, value]) => `${name} ${plain(value)}`).join(", ");

/** Seconds as people say them. */
export function duration(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 0.0995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
}

/** Seconds between two of the hub's times; an open end is `now`, ms. */
export const secondsBetween = (began, ended, now) => ((ended ? Date.parse(ended) : now) - Date.parse(began)) / 1000;

/** Time of day; with the date if it is another day than `now`. */
export function clock(iso, now = Date.now()) {
  if (!iso) return "–";
  const moment = new Date(iso);
  const time = moment.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  return moment.toDateString() === new Date(now).toDateString() ? time : `${moment.toLocaleDateString()} ${time}`;
}

/** How a state looks: the word is shown as it is, the tone only colours it. */
export const tone = (state) => TONES[state] ?? "quiet";

const TONES = {
  idle: "good", ready: "good", succeeded: "good",
  busy: "active", running: "active", started: "active",
  waiting: "look", paused: "look", interrupted: "look", "cannot tell": "look", starting: "look", restarting: "look",
  failed: "bad", aborted: "bad", unreachable: "bad", "crash loop": "bad", cancelled: "bad", stopped: "bad",
};
