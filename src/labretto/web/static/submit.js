// How a new experiment gets into the queue, now or at times: its text, what it asks for, and on what terms it waits.

import { html } from "htm/preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Foreseen } from "/static/ahead.js";
import { address, post, Problem } from "/static/api.js";
import { Field, initialText, meanings } from "/static/forms.js";
import { noteRun } from "/static/lab.js";
import { fieldsOf } from "/static/line.js";
import { scheduleOf, Times } from "/static/schedules.js";
import { changesOf, Terms, termsOf, textsOf } from "/static/terms.js";

const EXAMPLE = `name: two samples
steps:
  - sweep: {sample: [A1, A2]}
    steps:
      - do: stage.move_to
        with: {sample: "\${sample}"}
`;

/** Paste, type or drop an experiment; it is checked while it is typed and submitted when it is asked for. */
export function Submit() {
  const [text, setText] = useState("");
  const [faults, setFaults] = useState([]);
  const [fields, setFields] = useState({});
  const [typed, setTyped] = useState({});
  const [terms, setTerms] = useState(textsOf());
  const [times, setTimes] = useState({});
  const [atFields, setAtFields] = useState({});
  const [submitted, setSubmitted] = useState(null);
  const [busy, setBusy] = useState(false);
  const place = useRef(null);
  const given = meanings(fields, typed);
  const schedule = scheduleOf(times);
  useChecked(text, given.values, setFaults, setFields);

  async function submit(event) {
    event.preventDefault();
    const said = termsOf(terms);
    const wrong = { ...said.faults, ...schedule.faults, ...given.faults };
    setAtFields(wrong);
    if (Object.keys(wrong).length) return;
    setBusy(true);
    setSubmitted(null);
    try {
      const waits = changesOf(termsOf(textsOf()).values, said.values);
      const submission = { experiment: text, parameters: given.values, ...waits };
      const made = await (schedule.values ? post(address("schedules"), { ...schedule.values, submission }) : post(address("runs"), submission));
      if (!schedule.values) noteRun(made);
      setSubmitted(made);
      setText("");
      setTyped({});
      setTerms(textsOf());
      setTimes({});
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const ofTimes = schedule.values && !error.faults.length;
      if (ofTimes) setAtFields({ rule: `${error.message} ${error.wayOut}` });
      else setFaults(error.faults.length ? error.faults : [{ detail: error.message, way_out: error.wayOut }]);
    } finally {
      setBusy(false);
    }
  }
  const take = async (files) => files?.[0] && setText(await files[0].text());
  const drop = (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  };

  return html`<section class="panel" aria-labelledby="submit-title">
    <h2 id="submit-title">New experiment</h2>
    <form class="submit" noValidate onSubmit=${submit} onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
      <label for="experiment-text">Experiment, as YAML; paste it or drop a file</label>
      <textarea id="experiment-text" ref=${place} rows="8" spellcheck="false" autocomplete="off" placeholder=${EXAMPLE} value=${text}
        aria-invalid=${faults.length ? "true" : undefined} aria-describedby="experiment-faults" onInput=${(event) => setText(event.target.value)}></textarea>
      <div id="experiment-faults">
        ${faults.length > 0 && html`<div role="alert"><ul class="faults">${faults.slice(0, 20).map((fault, index) => html`<li key=${index}><${Fault} fault=${fault} place=${place} /></li>`)}</ul></div>`}
      </div>
      ${Object.keys(fields).length > 0 && html`<fieldset><legend>Parameters</legend><div class="fields">
        ${Object.entries(fields).map(([name, { schema, required }]) => html`<${Field} key=${name} id=${`parameter-${name}`} name=${schema.title ?? name} schema=${schema} required=${required}
          text=${typed[name] ?? initialText(schema)} fault=${atFields[name]} description=${schema.description} onText=${(each) => setTyped({ ...typed, [name]: each })} />`)}
      </div></fieldset>`}
      <${Foreseen} text=${text} parameters=${given.values} faults=${faults} />
      <details class="terms-of"><summary>When, in which order, how often</summary><${Terms} id="terms" texts=${terms} faults=${atFields} onTexts=${setTerms} /></details>
      <details class="terms-of"><summary>At its times: a schedule</summary><${Times} id="times" texts=${times} faults=${atFields} onTexts=${setTimes} /></details>
      <div class="buttons">
        <button type="submit" class="go" disabled=${busy || text.trim() === ""}>${schedule.values ? "Schedule" : "Submit"}</button>
        <label class="file">Choose a file<input type="file" class="unseen" accept=".yaml,.yml,.json,.txt" onChange=${(event) => take(event.target.files)} /></label>
        <span role="status">${submitted?.coming ? `Scheduled: ${submitted.name}, first ${submitted.coming[0].local}` : submitted && html`Submitted: <a href=${`#/runs/${submitted.id}`}>${submitted.name || submitted.id}</a>`}</span>
      </div>
    </form>
  </section>`;
}

/** One fault; its place is a button that puts the cursor there. */
function Fault({ fault, place }) {
  const words = `${fault.detail} ${fault.way_out ?? ""}`;
  if (!fault.line) return words;
  const go = () => {
    const lines = place.current.value.split("\n");
    const start = lines.slice(0, fault.line - 1).join("\n").length + (fault.line > 1 ? 1 : 0) + (fault.column ?? 1) - 1;
    place.current.focus();
    place.current.setSelectionRange(start, start);
  };
  return html`<button type="button" class="link" onClick=${go}>line ${fault.line}, column ${fault.column ?? 1}</button> ${words}`;
}

/** Asks the hub what it would refuse, and what the experiment asks for, once typing rests. */
function useChecked(text, parameters, setFaults, setFields) {
  useEffect(() => {
    if (text.trim() === "") {
      setFields({});
      return void setFaults([]);
    }
    let still = true;
    const timer = setTimeout(async () => {
      const answer = await post(address("runs", "check"), { experiment: text, parameters }).catch((error) => error);
      if (!still) return;
      setFaults(answer?.faults ?? []);
      if (answer?.parameters) setFields(fieldsOf(answer.parameters));
    }, 300);
    return () => {
      still = false;
      clearTimeout(timer);
    };
  }, [text, JSON.stringify(parameters)]);
}
