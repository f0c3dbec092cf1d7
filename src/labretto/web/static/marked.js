// Texts of drivers and errors as they are meant: what stands in backticks is code.

import { html } from "htm/preact";

/** A text with its `names` set as code. */
export function marked(text) {
  const parts = String(text ?? "").split("`");
  if (parts.length < 3) return text;
  return parts.map((part, index) => (index % 2 ? html`<code key=${index}>${part}</code>` : part));
}
