// The stream of server-sent events. By `fetch` and not by `EventSource`, which hides why it was refused.

/// Asks for the events that match `filter`.
export function requestEvents(filter, signal) {
  return fetch(`/events?${new URLSearchParams({ filter })}`, { signal, cache: "no-store" });
}

/// The events of a response, each with its name and its data. Ends with the response.
export async function* serverEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let from = 0;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n", from)) {
      const event = parseEvent(text.slice(from, end));
      from = end + 2;
      if (event.data !== undefined) yield event;
    }
    text = text.slice(from);
  }
}

/// One event. What is neither its name nor its data keeps the connection alive.
function parseEvent(lines) {
  const event = {};
  for (const line of lines.split("\n")) {
    if (line.startsWith("event: ")) event.name = line.slice(7);
    if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
  }
  return event;
}
