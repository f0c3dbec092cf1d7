// What lies ahead: how long a run will take, what runs out, when people are needed; what became of it.

import { effect, signal } from "@preact/signals";
import { html } from "htm/preact";
import { useEffect, useState } from "preact/hooks";
import { address, get, post } from "/static/api.js";
import { isOver, now, runs, today } from "/static/lab.js";
import { clock, duration, number, unitInPrint } from "/static/words.js";

const ASK_AFTER = 1000; // ms after something began or ended, so that a burst of short runs is asked about once
const ASK_EVERY = 30000; // ms, while something runs or waits
const TYPING_RESTS = 700; // ms
const SHOWN = 5;

/** Run → when it is expected to begin and to end. */
export const expected = signal({});

let timer = null;
let known = "";

effect(() => {
  const open = Object.values(runs.value).filter((run) => !isOver(run)).map((run) => `${run.id} ${run.state} ${run.held}`).sort().join();
  if (open === known) return;
  known = open;
  clearTimeout(timer);
  timer = setTimeout(ask, ASK_AFTER);
});

async function ask() {
  const told = known ? await get(address("forecast")).catch(() => []) : [];
  expected.value = Object.fromEntries((told ?? []).map((each) => [each.run, each]));
  clearTimeout(timer);
  if (known) timer = setTimeout(ask, ASK_EVERY);
}

/** When a run that is not over is expected to end; nothing where nobody knows. */
export function Ends({ run }) {
  const told = expected.value[run.id];
  if (isOver(run) || !told?.end || run.state === "paused" || Date.parse(told.end.p50) < now.value) return null; // what should be over is not foreseen
  const at = (time) => clock(time, today.value);
  return html`<span class=${`ends ${told.late ? "fault" : "quiet"}`} title=${`9 of 10 such runs end before ${at(told.end.p90)}`}>ends about ${at(told.end.p50)}${told.late ? `, after its deadline ${at(told.finish_by)}` : ""}</span>`;
}

const about = (seconds) => (seconds ? `about ${duration(seconds.p50)} (${duration(seconds.p10)} to ${duration(seconds.p90)})` : "not known");

/** A forecast in words; `begin`: when its times count from, or null where that is not known. */
export function Forecast({ forecast, begin }) {
  const at = (seconds) => (begin ? `at ${clock(new Date(Date.parse(begin) + seconds * 1000).toISOString(), now.value)}` : `after ${duration(seconds)}`);
  const gone = forecast.consumables.filter((each) => each.runs_out);
  return html`<div class="forecast">
    <p>Time: ${about(forecast.seconds)}${forecast.steps ? `, ${forecast.steps} steps` : ""}</p>
    ${gone.map((each) => html`<p class="fault" role="alert">${each.instrument}.${each.attribute} runs out ${at(each.runs_out.p50)}: ${number(each.needed)} ${unitInPrint(each.unit)} are needed, ${number(each.available)} are there${each.path ? ` (${each.path})` : ""}.</p>`)}
    ${forecast.people.slice(0, SHOWN).map((each) => html`<p>People are needed ${at(each.at.p50)}${each.certain ? "" : ", perhaps"}: ${each.text}</p>`)}
    ${forecast.notes.map((note) => html`<p class="quiet">${note}</p>`)}
    ${Object.keys(forecast.instruments).length > 0 && html`<details><summary>Instruments</summary><ul>
      ${Object.entries(forecast.instruments).map(([name, each]) => html`<li key=${name}>${name}: ${duration(each.seconds)} in ${each.steps} steps</li>`)}</ul></details>`}
  </div>`;
}

/** What a run of the text would be like; asked once typing rests, and only where nothing stands against it. */
export function Foreseen({ text, parameters, faults }) {
  const [told, setTold] = useState(null);
  useEffect(() => {
    setTold(null);
    if (text.trim() === "" || faults.length) return;
    let still = true;
    const rests = setTimeout(async () => {
      const answer = await post(address("forecast"), { experiment: text, parameters }).catch(() => null);
      if (still) setTold(answer);
    }, TYPING_RESTS);
    return () => {
      still = false;
      clearTimeout(rests);
    };
  }, [text, JSON.stringify(parameters), faults.length]);
  if (!told) return null;
  return html`<section class="foreseen" aria-label="Forecast">
    <${Forecast} forecast=${told.forecast} begin=${told.expected.begin} />
    ${told.expected.begin && html`<p>Submitted now it begins ${clock(told.expected.begin, now.value)}${told.expected.end ? ` and ends about ${clock(told.expected.end.p50, now.value)}` : ""}.</p>`}
  </section>`;
}

/** The panel of one run: what was foreseen, and once it is over what became of it. */
export function Ahead({ run }) {
  const [told, setTold] = useState(null);
  const over = isOver(run);
  useEffect(() => {
    let still = true;
    get(address("runs", run.id, "forecast")).then((answer) => still && setTold(answer), () => null);
    return () => { still = false; };
  }, [run.id, run.state, over]);
  if (!told?.foreseen) return null;
  return html`<section class="panel ahead" aria-labelledby="ahead-title">
    <header><h2 id="ahead-title">${over ? "Foreseen and happened" : "Ahead"}</h2>${!over && html`<${Ends} run=${run} />`}</header>
    ${told.compared ? html`<${Comparison} compared=${told.compared} />` : html`<${Forecast} forecast=${told.foreseen} begin=${run.started ?? told.expected?.begin} />`}
  </section>`;
}

function Comparison({ compared }) {
  const rows = Object.entries(compared.instruments);
  return html`<p>${compared.sentence}</p>
    ${rows.length > 0 && html`<table><thead><tr><th scope="col">Instrument</th><th scope="col">Foreseen</th><th scope="col">Happened</th></tr></thead>
      <tbody>${rows.map(([name, each]) => html`<tr key=${name}><th scope="row">${name}</th><td>${each.foreseen ? duration(each.foreseen.seconds) : "–"}</td><td>${duration(each.happened.seconds)}</td></tr>`)}</tbody></table>`}`;
}
