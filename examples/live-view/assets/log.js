// The list of the latest events. It scrolls to each new event unless the user has scrolled up.

import { element, connectorClass, count } from "./panels.js";

const MAX_ROWS = 500;
const BOTTOM_TOLERANCE = 40;

const log = document.getElementById("log");
const latest = document.getElementById("latest");

let pending = [];
let scheduled = false;
let following = true;

export function add(event) {
  pending.push(event);
  if (pending.length > MAX_ROWS) pending.splice(0, pending.length - MAX_ROWS);
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(draw);
  }
}

export function clear() {
  pending = [];
  log.replaceChildren();
  follow();
}

function draw() {
  scheduled = false;
  const rows = document.createDocumentFragment();
  for (const event of pending) {
    if (event.missed > 0) rows.append(gap(event.missed));
    rows.append(row(event));
  }
  pending = [];
  log.append(rows);
  while (log.childElementCount > MAX_ROWS) log.firstElementChild.remove();
  if (following) log.scrollTop = log.scrollHeight;
}

function row(event) {
  const line = element("div", "row");
  const time = element("time", "when", clock(event.ts));
  time.title = event.ts;
  const source = element("span", `source ${connectorClass(event.connector)}`, event.connector);
  source.title = event.session === null ? event.connector : `${event.connector}/${event.session}`;
  const kind = element("span", `kind kind-${event.kind}`, event.kind.replace("_", " "));
  line.append(time, source, kind, element("span", "text", event.text));
  return line;
}

function gap(missed) {
  return element("div", "row gap", `You missed ${count(missed, "event")} here`);
}

/// Returns the time of day from a timestamp, or the whole text if it has another format.
function clock(ts) {
  return /T(\d\d:\d\d:\d\d)/.exec(ts)?.[1] ?? ts;
}

function follow() {
  following = true;
  latest.hidden = true;
  log.scrollTop = log.scrollHeight;
}

log.addEventListener("scroll", () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < BOTTOM_TOLERANCE;
  latest.hidden = following;
});
new ResizeObserver(() => {
  if (following) follow();
}).observe(log);
latest.addEventListener("click", () => {
  follow();
  log.focus();
});
