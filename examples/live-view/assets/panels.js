// The overview: event rate, subscribers and sessions. All strings are inserted as text, never as markup.

const COLORS = 8;

export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

const colors = new Map();

/// Returns the color class of a connector. Each new connector gets the next color and keeps it.
export function connectorClass(name) {
  if (!colors.has(name)) colors.set(name, `c${colors.size % COLORS}`);
  return colors.get(name);
}

export function showRates(rates) {
  const peak = Math.max(...rates);
  const top = roundUp(peak);
  const points = rates.map((rate, index) => `${index} ${(39.5 - (39 * rate) / top).toFixed(2)}`);
  const now = rates[rates.length - 1];
  set("chart-line", "d", `M${points.join("L")}`);
  set("chart-area", "d", `M0 39.5L${points.join("L")}L${rates.length - 1} 39.5Z`);
  set("chart", "aria-label", `Events per second over the last minute: now ${now}, peak ${peak}`);
  document.getElementById("chart-top").textContent = top.toLocaleString("en");
  document.getElementById("rate-now").textContent = now.toLocaleString("en");
}

function set(id, attribute, value) {
  document.getElementById(id).setAttribute(attribute, value);
}

/// Rounds up to 1, 2 or 5 times a power of ten, and to at least 10.
function roundUp(number) {
  const zeros = 10 ** Math.floor(Math.log10(Math.max(number, 10)));
  return [1, 2, 5, 10].map((step) => step * zeros).find((step) => step >= number);
}

/// Updates a list of rows with keys. Existing rows are changed in place, which keeps the focus and the scroll position.
function updateKeyed(list, items, keyOf, make, change) {
  const known = new Map([...list.children].map((row) => [row.dataset.key, row]));
  items.forEach((item, index) => {
    const key = keyOf(item);
    const row = known.get(key) ?? make(item);
    known.delete(key);
    row.dataset.key = key;
    change(row, item);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  for (const gone of known.values()) gone.remove();
}

export function showSubscribers(subscribers, me) {
  const list = document.getElementById("subscribers");
  const isMine = (subscriber) => subscriber.id === me;
  const mineFirst = [...subscribers.filter(isMine), ...subscribers.filter((subscriber) => !isMine(subscriber))];
  updateKeyed(list, mineFirst, (subscriber) => subscriber.id, makeSubscriber, (row, subscriber) => {
    const [name, numbers, filter, bars] = row.children;
    const [depth, lost] = bars.children;
    const mine = isMine(subscriber);
    name.textContent = mine ? `${subscriber.label} (you)` : subscriber.label;
    row.classList.toggle("mine", mine);
    const losses = subscriber.lagged > 0 ? `, ${subscriber.lagged.toLocaleString("en")} lost` : "";
    numbers.textContent = `${subscriber.queued.toLocaleString("en")} queued${losses}`;
    numbers.classList.toggle("bad", subscriber.lagged > 0);
    filter.textContent = subscriber.filter === "*" ? "every event" : subscriber.filter;
    filter.title = subscriber.filter;
    fill(depth, subscriber.queued, subscriber.capacity);
    fill(lost, subscriber.lagged, subscriber.delivered + subscriber.lagged);
  });
}

function makeSubscriber() {
  const row = element("li", "subscriber");
  const bars = element("div", "bars");
  bars.append(meter("depth", "Queue usage in percent"), meter("lost", "Lost events in percent of matching events"));
  row.append(element("span", "name"), element("span", "numbers"), element("code", "filter-text"), bars);
  return row;
}

function meter(className, label) {
  const bar = element("div", `bar ${className}`);
  bar.setAttribute("role", "meter");
  bar.setAttribute("aria-label", label);
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.append(element("div", "fill"));
  return bar;
}

/// Sets the width of a bar. Any value above zero is visible.
function fill(bar, part, whole) {
  const share = whole > 0 ? (100 * part) / whole : 0;
  bar.setAttribute("aria-valuenow", share.toFixed(0));
  bar.firstElementChild.style.width = part > 0 ? `${Math.max(share, 1)}%` : "0";
}

export function showSessions(sessions, seen, selectSession) {
  const shown = sessions.length < seen ? `latest ${sessions.length} of ${seen}` : `${seen}`;
  document.getElementById("sessions-count").textContent = shown;
  const make = () => makeSession(selectSession);
  const list = document.getElementById("sessions");
  // Both names may contain a slash, so they cannot be joined by one.
  const keyOf = ({ connector, session }) => JSON.stringify([connector, session]);
  updateKeyed(list, sessions, keyOf, make, (row, session) => {
    row.session = session;
    const [connector, name, events] = row.firstElementChild.children;
    row.classList.toggle("ended", session.ended);
    connector.className = `source ${connectorClass(session.connector)}`;
    connector.textContent = session.connector;
    name.textContent = session.session;
    events.textContent = session.ended ? `${session.events.toLocaleString("en")}, ended` : session.events.toLocaleString("en");
    row.firstElementChild.title = session.scroll === null ? "no scroll yet" : `scroll ${session.scroll}`;
    row.firstElementChild.setAttribute("aria-label", `Show ${session.connector}/${session.session}, ${count(session.events, "event")}`);
  });
}

function makeSession(selectSession) {
  const row = element("li", "session");
  const button = element("button", "");
  button.type = "button";
  button.append(element("span", "source"), element("span", "name"), element("span", "numbers"));
  button.addEventListener("click", () => selectSession(row.session));
  row.append(button);
  return row;
}
