// The page. It shows one event stream at a time, and replaces the stream when the filter changes.

import { requestEvents, serverEvents } from "./feed.js";
import * as log from "./log.js";
import { count, showRates, showSessions, showSubscribers } from "./panels.js";

const RETRY_SECONDS = 2;
/// Delay between the last keystroke and the request. It is longer than the usual time between two keystrokes.
const DEBOUNCE_MILLISECONDS = 150;

const byId = (id) => document.getElementById(id);
const input = byId("filter");

/// Abort controllers of the stream that is shown and of the request that has no response yet.
let active = null;
let pending = null;
let retry = 0;
let debounce = 0;

async function connect() {
  const filter = input.value;
  const controller = new AbortController();
  clearTimeout(retry);
  clearTimeout(debounce);
  pending?.abort();
  pending = controller;
  let response;
  let problem = "The server does not respond";
  try {
    response = await requestEvents(filter, controller.signal);
    if (!response.ok) problem = (await response.text()).trim();
  } catch {
    // The error is shown below, unless another request has replaced this one.
  }
  if (pending !== controller) return;
  pending = null;
  if (response?.ok) {
    await show(response, filter, controller);
  } else if (response?.status === 400) {
    showFilterError(problem);
  } else {
    scheduleRetry(problem, response?.headers.get("retry-after"));
  }
}

/// Shows why a filter is invalid. The current stream continues.
function showFilterError(message) {
  input.setAttribute("aria-invalid", "true");
  byId("filter-error").textContent = message;
  byId("filter-error").hidden = false;
  if (active === null) setStatus("waiting", "Waiting for a valid filter");
}

function scheduleRetry(problem, seconds) {
  active?.abort();
  active = null;
  const after = Number(seconds) || RETRY_SECONDS;
  setStatus("broken", `${problem}; retrying every ${after} s`);
  clearTimeout(retry);
  retry = setTimeout(connect, after * 1000);
}

async function show(response, filter, controller) {
  active?.abort();
  active = controller;
  input.removeAttribute("aria-invalid");
  byId("filter-error").hidden = true;
  history.replaceState(null, "", filter.trim() === "" ? "/" : `/?${new URLSearchParams({ filter })}`);
  log.clear();
  const view = new View();
  try {
    for await (const { name, data } of serverEvents(response)) {
      if (active !== controller) return;
      view[name]?.(data);
    }
  } catch {
    // The connection was lost. This is handled below, like the end of the stream.
  }
  if (active !== controller) return;
  active = null;
  // If another request is pending, its response determines the status.
  if (pending === null) scheduleRetry(view.ended ? "The server has shut down" : "The connection was lost");
}

/// The view of one stream.
class View {
  id = null;
  label = "";
  received = 0;
  /// Numbers of missed events. `missed` is the sum of the gaps before the received events. `lagged` is the server's
  /// count, which is more up to date.
  missed = 0;
  lagged = 0;
  ended = false;

  constructor() {
    this.count();
    this.showMissed();
  }

  hello({ id, label, filter }) {
    this.id = id;
    this.label = label;
    byId("filter-read").textContent = `Showing ${filter === "*" ? "every event" : filter}`;
    setStatus("live", `Connected as ${label}`);
  }

  event(event) {
    this.received += 1;
    this.count();
    log.add(event);
    if (event.missed > 0) {
      this.missed += event.missed;
      this.showMissed();
    }
  }

  overview({ rates, subscribers, sessions, sessions_seen, source_ended }) {
    showRates(rates);
    showSubscribers(subscribers, this.id);
    showSessions(sessions, sessions_seen, selectSession);
    setStatus("live", source_ended ? `Connected as ${this.label}; the source has ended` : `Connected as ${this.label}`);
    this.lagged = subscribers.find((subscriber) => subscriber.id === this.id)?.lagged ?? this.lagged;
    this.showMissed();
  }

  end() {
    this.ended = true;
  }

  count() {
    byId("count").textContent = `${this.received.toLocaleString("en")} received`;
  }

  showMissed() {
    const missed = Math.max(this.missed, this.lagged);
    const text = missed === 0 ? "" : `You missed ${count(missed, "event")}: this page did not keep up`;
    const banner = byId("missed");
    // The text changes only when necessary, so that screen readers do not repeat it.
    if (banner.textContent !== text) banner.textContent = text;
    banner.hidden = missed === 0;
  }
}

function setStatus(state, text) {
  const status = byId("status");
  if (status.dataset.state === state && status.textContent === text) return;
  status.dataset.state = state;
  status.textContent = text;
}

/// Filters for one session. In a `session` filter, the first slash ends the connector name. A connector name with a
/// slash therefore needs a filter for the scroll.
function selectSession({ connector, session, scroll }) {
  if (!connector.includes("/")) input.value = condition("session", `${connector}/${session}`);
  else input.value = scroll === null ? condition("connector", connector) : condition("scroll", scroll);
  connect();
  input.focus();
}

function condition(name, value) {
  const plain = /^[^\s()|,"]+$/.test(value);
  return plain ? `${name}=${value}` : `${name}="${value.replace(/["\\]/g, "\\$&")}"`;
}

input.addEventListener("input", () => {
  clearTimeout(debounce);
  debounce = setTimeout(connect, DEBOUNCE_MILLISECONDS);
});
byId("filter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
byId("clear").addEventListener("click", () => {
  input.value = "";
  connect();
  input.focus();
});

input.value = new URLSearchParams(location.search).get("filter") ?? "";
connect();
