// The page: its head, that stands on every view, and the view that the address asks for.

import { signal } from "@preact/signals";
import { html } from "htm/preact";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { AlarmNotice } from "/static/alarms.js";
import { remove } from "/static/api.js";
import { HaltButton, HaltNotice } from "/static/halt.js";
import { InstrumentCards, InstrumentPage } from "/static/instruments.js";
import { isOver, lab, runs, trouble } from "/static/lab.js";
import { connection, listen } from "/static/live.js";
import { Questions } from "/static/questions.js";
import { openRuns } from "/static/line.js";
import { endedRuns, Queue } from "/static/queue.js";
import { RecordsPage } from "/static/records.js";
import { RunPage, RunPanel, Steps } from "/static/run.js";
import { Schedules } from "/static/schedules.js";
import { Submit } from "/static/submit.js";
import { TasksLink, TasksPage } from "/static/tasks.js";

const SHOWN_QUESTIONS = 3;
const route = signal(parsed());

addEventListener("hashchange", () => {
  route.value = parsed();
  document.getElementById("main")?.focus({ preventScroll: true });
  scrollTo(0, 0);
});

function parsed() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const [, view = "", name = ""] = path.split("/").map(decoded);
  return { view, name, query: new URLSearchParams(query) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a hash that somebody typed
  }
}

function Page() {
  const { view, name, query } = route.value;
  useEffect(() => {
    const what = { instruments: name, runs: runs.value[name]?.name ?? "Run", records: "Records", tasks: "Tasks" }[view];
    document.title = [what, lab.value.name, "Labretto"].filter(Boolean).join(" · ");
  });
  return html`
    <a class="skip" href="#main" onClick=${skip}>To the content</a>
    <${Head} view=${view} />
    <${HaltNotice} />
    <${AlarmNotice} />
    <${Connection} />
    ${view === "instruments" ? html`<${InstrumentPage} key=${name} name=${name} />` : view === "runs" ? html`<${RunPage} key=${name} id=${name} />` : view === "records" ? html`<${RecordsPage} run=${query.get("run")} />` : view === "tasks" ? html`<${TasksPage} />` : html`<${Overview} />`}`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Head({ view }) {
  const link = (href, words, here) => html`<a href=${href} aria-current=${here ? "page" : undefined}>${words}</a>`;
  return html`<header class="head">
    <a class="brand" href="#/"><img src="/static/icon.svg" alt="" width="26" height="26" /><span>Labretto</span></a>
    <span class="lab">${lab.value.name}</span>
    <nav aria-label="Views">${link("#/", "Overview", view === "")}<${TasksLink} here=${view === "tasks"} />${link("#/records", "Records", view === "records")}<a href="/docs" class="api">API</a></nav>
    <${Light} />
    <${SignedIn} />
    <${HaltButton} />
  </header>`;
}

/** Whose token this is, so that nobody acts in the name of who stood here before. */
function SignedIn() {
  const { who } = lab.value;
  if (!who) return null;
  const signOut = () => remove("/session").then(() => location.reload());
  return html`<span class="who"><span class="quiet">${who.name} (${who.role})</span> <button type="button" class="small" onClick=${signOut}>Sign out</button></span>`;
}

const Light = () => html`<span class=${`light ${connection.value}`} role="status" aria-label="Connection"><i aria-hidden="true"></i>${{ live: "live", lost: "not connected", connecting: "connecting" }[connection.value]}</span>`;

function Connection() {
  if (connection.value === "lost") return html`<p class="notice lost" role="alert">The connection to the hub is lost; what is shown is as it was. Trying again by itself.</p>`;
  if (trouble.value) return html`<p class="notice lost" role="alert">${trouble.value.message} ${trouble.value.wayOut}</p>`;
  return null;
}

function Overview() {
  const waiting = openRuns().filter((run) => run.question);
  const current = openRuns().find((run) => run.state !== "queued") ?? endedRuns().find((run) => run.started);
  return html`<main id="main" tabindex="-1" class="overview">
    <h1 class="unseen">Overview</h1>
    ${waiting.slice(0, SHOWN_QUESTIONS).map((run) => html`<${Questions} key=${run.id} run=${run} />`)}
    ${waiting.length > SHOWN_QUESTIONS && html`<p class="notice"><a href="#/tasks">${waiting.length - SHOWN_QUESTIONS} more runs ask something</a></p>`}
    <div class="columns wide-left">
      <div>
        ${current && html`<${RunPanel} key=${current.id} run=${current} />`}
        <${Queue} />
        <${Submit} />
      </div>
      <div>
        <${InstrumentCards} />
        <${Schedules} />
        ${current && !isOver(current) && html`<${Steps} key=${current.id} run=${current} />`}
      </div>
    </div>
  </main>`;
}

render(html`<${Page} />`, document.getElementById("page"));
listen();
