// Records: what runs left; found by words and state, with their files.

import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { address, get, Problem } from "/static/api.js";
import { recordsChanged, today } from "/static/lab.js";
import { clock, duration, secondsBetween, tone } from "/static/words.js";

const LIMIT = 100;
const STATES = ["succeeded", "failed", "aborted", "running", "waiting", "paused", "queued"];

export function RecordsPage({ run }) {
  const [text, setText] = useState("");
  const [state, setState] = useState("");
  const [found, setFound] = useState({ records: null, problem: null });
  const [open, setOpen] = useState(run ?? null);
  const changed = recordsChanged.value;
  useEffect(() => ask(text, state, setFound), [text, state, changed]);
  useEffect(() => setOpen(run ?? null), [run]);
  const { records, problem } = found;

  return html`<main id="main" tabindex="-1" class="records-page">
    <header class="page-head"><h1>Records</h1><p class="quiet">Every run leaves one: who, what, when, all results with units, and the experiment as it ran.</p></header>
    <form class="search" role="search" onSubmit=${(event) => event.preventDefault()}>
      <div class="field"><label for="records-text">Search</label><input id="records-text" type="search" value=${text} onInput=${(event) => setText(event.target.value)} /></div>
      <div class="field"><label for="records-state">State</label><select id="records-state" value=${state} onChange=${(event) => setState(event.target.value)}>
        <option value="">any</option>${STATES.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></div>
    </form>
    ${open && html`<${Files} key=${open} id=${open} onClose=${() => setOpen(null)} />`}
    <section class="panel" aria-label="Records found">
      ${problem && html`<p class="fault" role="alert">${problem.message}</p>`}
      ${records?.length === 0 && html`<p class="quiet empty">No record ${text || state ? "fits" : "yet"}.</p>`}
      ${records?.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Table of records"><table>
        <thead><tr><th scope="col">Name</th><th scope="col">State</th><th scope="col">Started</th><th scope="col">Took</th><th scope="col">Rows</th><th scope="col">Who</th><th scope="col"><span class="unseen">Files</span></th></tr></thead>
        <tbody>${records.map((record) => html`<tr key=${record.id}>
          <th scope="row"><a href=${`#/runs/${record.id}`}>${record.name || record.id}</a></th>
          <td><span class=${`pill ${tone(record.state)}`}>${record.state}</span></td>
          <td>${clock(record.started ?? record.submitted, today.value)}</td>
          <td>${record.started && record.ended ? duration(secondsBetween(record.started, record.ended)) : ""}</td>
          <td>${record.rows ?? ""}</td>
          <td class="quiet">${record.who ?? ""}</td>
          <td class="buttons"><button type="button" class="small" onClick=${() => setOpen(record.id)}>Files<span class="unseen"> of ${record.name || record.id}</span></button></td>
        </tr>`)}</tbody></table></div>`}
    </section>
  </main>`;
}

/** Ask once typing rests; an answer that was overtaken is dropped. */
function ask(text, state, setFound) {
  let still = true;
  const query = new URLSearchParams({ ...(text && { text }), ...(state && { state }), limit: LIMIT });
  const timer = setTimeout(async () => {
    try {
      const answer = await get(`${address("records")}?${query}`);
      if (still) setFound({ records: answer, problem: null });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (still) setFound({ records: [], problem: error });
    }
  }, text ? 150 : 0);
  return () => {
    still = false;
    clearTimeout(timer);
  };
}

function Files({ id, onClose }) {
  const [record, setRecord] = useState(null);
  const [problem, setProblem] = useState(null);
  const changed = recordsChanged.value; // while a run goes on, and when it is closed, its files change
  useEffect(() => void get(address("records", id)).then(setRecord, setProblem), [id, changed]);
  return html`<section class="panel" aria-labelledby="files-title">
    <header><h2 id="files-title">Files of ${record?.name || id}</h2><button type="button" class="small" onClick=${onClose}>Close</button></header>
    ${problem && html`<p class="fault" role="alert">${problem.message}</p>`}
    ${record && html`
      <ul class="files">${(record.files ?? []).map((file) => html`<li key=${file}><a href=${address("records", id, "files", file)} download="">${file}</a></li>`)}</ul>
      ${record.folder && html`<p class="quiet">In Python, on the hub's machine: <code>labretto.open_record(pathlib.Path("${record.folder}")).to_xarray()</code></p>`}`}
  </section>`;
}
