// The host behind an instrument: what it wrote, and its driver loaded anew after somebody has changed the file.

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { address, get, post, Problem } from "/static/api.js";
import { Failure } from "/static/actions.js";

const ASK_EVERY = 2000; // ms, while the log is open
const LINES = 500;

/** Log and reload; nothing for a host that somebody else runs. */
export function HostPanel({ instrument }) {
  if (!instrument.pid && instrument.state === "ready") return null;
  return html`<section class="panel host" aria-labelledby="host-title">
    <h2 id="host-title">Host</h2>
    <${Reload} instrument=${instrument} />
    <${Log} name=${instrument.name} />
  </section>`;
}

function Reload({ instrument }) {
  const [{ busy, told, problem }, set] = useState({});

  async function reload() {
    set({ busy: true });
    try {
      set({ told: (await post(address("instruments", instrument.name, "reload"))).different });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      set({ problem: error });
    }
  }
  return html`<div class="reload">
    <button type="button" class="small" disabled=${busy} onClick=${reload}>${busy ? "Loading…" : "Load the driver anew"}</button>
    <div role="status">
      ${told && (told.length ? html`<ul>${told.map((line) => html`<li key=${line}>${line}</li>`)}</ul>` : html`<p class="quiet">Loaded; what it offers is the same.</p>`)}
    </div>
    ${problem && html`<${Failure} problem=${problem.body} />`}
  </div>`;
}

function Log({ name }) {
  const [open, setOpen] = useState(false);
  return html`<details onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>Log</summary>
    ${open && html`<${Lines} name=${name} />`}
  </details>`;
}

function Lines({ name }) {
  const [lines, setLines] = useState(null);
  const box = useRef(null);
  useEffect(() => {
    let timer = null;
    const ask = async () => {
      const told = await get(`${address("instruments", name, "log")}?lines=${LINES}`).catch((error) => ({ lines: [error.message] }));
      setLines(told.lines);
      timer = setTimeout(ask, ASK_EVERY);
    };
    ask();
    return () => clearTimeout(timer);
  }, [name]);
  useEffect(() => {
    if (box.current) box.current.scrollTop = box.current.scrollHeight; // what was written last is what one looks for
  }, [lines?.at(-1)]);
  if (!lines) return html`<p class="quiet">…</p>`;
  return html`<pre class="log" tabindex="0" aria-label="What the host wrote" ref=${box}>${lines.join("\n") || "It has written nothing."}</pre>`;
}
