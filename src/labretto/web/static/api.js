// The hub's HTTP interface: one function per verb, and problem details as an exception.
//
// What is asked, and of which address, stands where it is needed; nothing is remembered here but the hub's clock.

/** A refusal or failure in the hub's own words (RFC 9457). */
export class Problem extends Error {
  /** @param {Record<string, any>} body @param {number} status */
  constructor(body, status) {
    super(body.detail || body.title || `The hub answered ${status}.`);
    this.status = status;
    this.title = body.title || "";
    this.wayOut = body.way_out || "";
    /** @type {{detail: string, line?: number, column?: number, way_out?: string, path?: string}[]} */
    this.faults = Array.isArray(body.faults) ? body.faults : [];
    this.body = body;
  }
}

/** What a request that was refused tells whoever asked, in one text; any other error is a fault of ours. */
export const told = (onFault) => (error) => {
  if (!(error instanceof Problem)) throw error;
  onFault(`${error.message} ${error.wayOut}`.trim());
};

/** How far the hub's clock is ahead of this browser's, ms; ages of readings are told by the hub's clock. */
let ahead = 0;

/** The hub's time, ms since 1970. */
export const hubTime = () => Date.now() + ahead;

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const put = (path, body) => ask("PUT", path, body);
export const remove = (path) => ask("DELETE", path);

/** An address from its parts; each part may hold anything, a step's path keeps its slashes. */
export const address = (...parts) => "/api/" + parts.map((part) => encodeURIComponent(part).replaceAll("%2F", "/")).join("/");

/** Send a file as it is. */
export const upload = (path, file) => ask("POST", path, file);

/** Ask the hub; answers the JSON it sent, or throws a Problem. */
export async function ask(method, path, body) {
  const request = { method, headers: { Accept: "application/json" }, cache: "no-store" };
  if (body instanceof Blob) {
    request.body = body;
  } else if (body !== undefined) {
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  const response = await fetch(path, request).catch(() => null);
  if (!response) throw new Problem({ title: "Not reachable", detail: "The hub did not answer; is it running?" }, 0);
  noteClock(response);
  if (response.status === 401) location.reload(); // the session has ended: the hub now shows where to sign in
  const text = await response.text();
  const answer = text ? parsed(text) : null;
  if (!response.ok) throw new Problem(answer && typeof answer === "object" ? answer : { detail: text.slice(0, 300) }, response.status);
  return answer;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** A Date header counts whole seconds, so less than two seconds of difference are none. */
function noteClock(response) {
  const said = Date.parse(response.headers.get("Date") || "");
  if (!said) return;
  const difference = said + 500 - Date.now();
  ahead = Math.abs(difference) > 2000 ? difference : 0;
}
