// The stream of server-sent events. It uses `fetch` because `EventSource` hides the text of error responses.

/// Requests the events that match `filter`.
export function requestEvents(filter, signal) {
  return fetch(`/events?${new URLSearchParams({ filter })}`, { signal, cache: "no-store" });
}

/// Yields the events of a response, each with its name and data, until the response ends.
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

/// Parses one event. Other lines, such as keep-alive comments, are ignored.
function parseEvent(lines) {
  const event = {};
  for (const line of lines.split("\n")) {
    if (line.startsWith("event: ")) event.name = line.slice(7);
    if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
  }
  return event;
}
