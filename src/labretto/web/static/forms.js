// Form fields from JSON schemas with units: what to show, what a typed text means, and what stands against it.
//
// Pure but for `Field`, which draws one labelled native input. Faults are sentences that name the limit and its unit.

import { html } from "htm/preact";
import { plain, unitInPrint } from "/static/words.js";

/** A schema in the few words a field needs. An optional (`anyOf` with null) is its other half, and may stay empty. */
export function kindOf(schema) {
  const bare = resolved(schema, schema);
  const halves = (bare.anyOf ?? bare.oneOf ?? []).filter((half) => half.type !== "null").map((half) => resolved(half, schema));
  const one = halves.length === 1 ? { ...bare, ...halves[0] } : bare;
  const optional = Boolean((bare.anyOf ?? []).some((half) => half.type === "null")) || one.type === "null";
  const choices = one.enum ?? (one.const !== undefined ? [one.const] : halves.length > 1 && halves.every((half) => half.enum) ? halves.flatMap((half) => half.enum) : null);
  const unit = one.unit ?? one.items?.unit;
  return { ...one, unit, choices, optional, type: choices ? "choice" : Array.isArray(one.type) ? one.type.find((type) => type !== "null") : one.type };
}

function resolved(schema, root) {
  const target = schema?.$ref?.startsWith("#/$defs/") && root.$defs?.[schema.$ref.slice("#/$defs/".length)];
  return target ? { ...target, ...schema } : (schema ?? {});
}

/** `0 to 100 mm`, as far as the schema says limits. */
export function limits(schema) {
  const kind = kindOf(schema);
  if (kind.type === "array") return "a list, such as [1, 2, 3]";
  const unit = kind.unit ? ` ${unitInPrint(kind.unit)}` : "";
  const [low, high] = [kind.minimum ?? kind.exclusiveMinimum, kind.maximum ?? kind.exclusiveMaximum];
  const above = kind.minimum === undefined && kind.exclusiveMinimum !== undefined;
  const below = kind.maximum === undefined && kind.exclusiveMaximum !== undefined;
  if (low !== undefined && high !== undefined) return `${above ? "above " : ""}${plain(low)} to ${below ? "below " : ""}${plain(high)}${unit}`;
  if (low !== undefined) return `${above ? "above" : "at least"} ${plain(low)}${unit}`;
  if (high !== undefined) return `${below ? "below" : "at most"} ${plain(high)}${unit}`;
  return "";
}

/** The text a field begins with. */
export function initialText(schema, value = schema.default) {
  if (value === undefined || value === null) return kindOf(schema).type === "boolean" ? false : "";
  if (kindOf(schema).type === "boolean") return Boolean(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * What a text typed into a field means.
 * @returns {{value?: any, fault?: string}} neither, where nothing was given and nothing need be
 */
export function meaning(name, schema, required, text) {
  const kind = kindOf(schema);
  if (kind.type === "boolean") return { value: Boolean(text) };
  if (kind.format === "file") return text instanceof File ? { value: text } : required ? { fault: `${name} is needed.` } : {};
  if (text === "" || text === null) return required && !kind.optional ? { fault: `${name} is needed.` } : required ? { value: null } : {};
  if (kind.type === "choice") return { value: kind.choices.find((choice) => String(choice) === text) };
  if (kind.type === "number" || kind.type === "integer") return numberMeaning(name, kind, text);
  if (kind.type === "string") return textMeaning(name, kind, text);
  try {
    return { value: JSON.parse(text) };
  } catch {
    return kind.type === undefined ? { value: text } : { fault: `${name} is not JSON; write for instance ${kind.type === "array" ? "[1, 2, 3]" : '{"key": 1}'}.` };
  }
}

function numberMeaning(name, kind, text) {
  const value = Number(String(text).trim().replace(",", ".").replace("−", "-"));
  const unit = kind.unit ? ` ${unitInPrint(kind.unit)}` : "";
  if (!Number.isFinite(value)) return { fault: `${name} must be a number.` };
  if (kind.type === "integer" && !Number.isInteger(value)) return { fault: `${name} must be a whole number.` };
  const words = [
    [value < kind.minimum, "at least", kind.minimum],
    [value <= kind.exclusiveMinimum, "above", kind.exclusiveMinimum],
    [value > kind.maximum, "at most", kind.maximum],
    [value >= kind.exclusiveMaximum, "below", kind.exclusiveMaximum],
  ];
  const broken = words.find(([is]) => is);
  return broken ? { fault: `${name} must be ${broken[1]} ${plain(broken[2])}${unit}.` } : { value };
}

function textMeaning(name, kind, text) {
  if (text.length > (kind.maxLength ?? Infinity)) return { fault: `${name} has at most ${kind.maxLength} characters.` };
  if (text.length < (kind.minLength ?? 0)) return { fault: `${name} has at least ${kind.minLength} characters.` };
  return { value: text };
}

/** One labelled input. `text` is what is typed (true or false for a checkbox); `onText` gets what is typed now. */
export function Field({ id, name, schema, required, text, fault, description, disabled, onText }) {
  const kind = kindOf(schema);
  const told = [limits(schema), description].filter(Boolean).join(" · ");
  const common = {
    id,
    disabled,
    "aria-invalid": fault ? "true" : undefined,
    "aria-describedby": [told && `${id}-told`, fault && `${id}-fault`].filter(Boolean).join(" ") || undefined,
    "aria-required": required ? "true" : undefined,
  };
  return html`<div class=${`field field-${kind.type ?? "any"}`}>
    <label for=${id}>${name}${kind.unit && html` <span class="unit">(${unitInPrint(kind.unit)})</span>`}</label>
    ${input(kind, common, required, text, onText)}
    ${told && html`<small id=${`${id}-told`}>${told}</small>`}
    ${fault && html`<small class="fault" id=${`${id}-fault`} role="alert">${fault}</small>`}
  </div>`;
}

function input(kind, common, required, text, onText) {
  const typed = (event) => onText(event.target.value);
  if (kind.format === "file") return html`<input type="file" ...${common} onChange=${(event) => onText(event.target.files[0] ?? "")} />`;
  if (kind.type === "boolean") return html`<input type="checkbox" ...${common} checked=${Boolean(text)} onChange=${(event) => onText(event.target.checked)} />`;
  if (kind.type === "choice")
    return html`<select ...${common} value=${text} onChange=${typed}>
      ${(!required || text === "") && html`<option value="" selected=${text === ""}>${required ? "choose…" : "–"}</option>`}
      ${kind.choices.map((choice) => html`<option key=${choice} value=${String(choice)} selected=${String(choice) === text}>${plain(choice)}</option>`)}
    </select>`;
  if (kind.type === "array" || kind.type === "object" || kind.format === "lines") return html`<textarea ...${common} rows="2" spellcheck="false" value=${text} onInput=${typed}></textarea>`;
  const numeric = kind.type === "number" || kind.type === "integer";
  return html`<input type="text" inputmode=${numeric ? "decimal" : undefined} autocomplete="off" spellcheck="false" ...${common} value=${text} onInput=${typed} />`;
}

/** Values and faults of a whole form. `fields`: name → {schema, required}, `texts`: name → what was typed. */
export function meanings(fields, texts) {
  const [values, faults] = [{}, {}];
  for (const [name, { schema, required }] of Object.entries(fields)) {
    const meant = meaning(name, schema, required, texts[name] ?? initialText(schema));
    if (meant.fault) faults[name] = meant.fault;
    else if ("value" in meant) values[name] = meant.value;
  }
  return { values, faults };
}

/** What the hub found wrong, at the fields that it names; what names none of them is left under "". */
export function faultsAtFields(problem, names) {
  const said = problem.faults.length ? problem.faults : [{ detail: problem.message, way_out: problem.wayOut }];
  const found = {};
  for (const fault of said) {
    const name = names.find((each) => new RegExp(`(: |parameter ')${each}\\b`).test(fault.detail)) ?? "";
    found[name] = [found[name], `${fault.detail} ${fault.way_out ?? ""}`.trim()].filter(Boolean).join(" ");
  }
  return found;
}
