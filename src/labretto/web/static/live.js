// The page's one connection: changes and curves as they come. Mends itself, and says when it is broken.
//
// Whatever breaks, the page asks again after 0.3 s for what followed the last number it saw; a hub that no longer knows
// that far back says so, and everything is fetched anew.

import { signal } from "@preact/signals";
import * as curves from "/static/curves.js";
import { apply, fetchAll } from "/static/lab.js";

const RETRY = 300; // ms
const SIGN_IN_AGAIN = 4401; // the hub's closing code when the session has ended
const SILENCE = 7000; // ms; the hub says something every two seconds, so longer silence is a dead connection

/** "connecting" at first, then "live" or "lost". */
export const connection = signal("connecting");

/** Of the newest change seen; null before the first. */
let sequence = null;

/** Connect, for ever. */
export function listen() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/live${sequence === null ? "" : `?after=${sequence}`}`);
  socket.binaryType = "arraybuffer";
  let heard = performance.now();
  const watching = setInterval(() => performance.now() - heard > SILENCE && lose(), 1000);
  socket.onmessage = ({ data }) => {
    heard = performance.now();
    if (typeof data === "string") take(JSON.parse(data));
    else curves.takeFrame(data);
  };
  socket.onclose = ({ code }) => (code === SIGN_IN_AGAIN ? location.reload() : lose());

  function lose() {
    clearInterval(watching);
    socket.onclose = socket.onmessage = null;
    socket.close();
    if (connection.value === "live") connection.value = "lost";
    setTimeout(listen, RETRY);
  }
}

function take(frame) {
  const first = sequence === null;
  sequence = frame.sequence;
  connection.value = "live";
  if (first || frame.missed) fetchAll();
  apply(frame.changes ?? []);
}
