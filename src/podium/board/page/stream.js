// What is new on the board: server-sent events, read with `fetch`, since EventSource sends no token. After a break the stream goes on
// from the last version that the page has.
import { send } from "../static/requests.js";

const SILENCE = 40_000; // ms without a sign of life (the board gives one every 15 s), after which the connection is made anew
const AGAIN = 2000; // ms between two attempts

/**
 * Follow the board, for ever.
 *
 * @param {(news: object) => void} onNews - called with all that is new.
 * @param {(state: "live"|"away"|"refused") => Promise<void>|void} onState - called when that changes; after "refused" the next attempt
 *   waits for what it returns.
 */
export async function follow(onNews, onState) {
  let mark = "";
  for (;;) {
    const stop = new AbortController();
    let timer = null;
    const heard = () => { clearTimeout(timer); timer = setTimeout(() => stop.abort(), SILENCE); };
    try {
      const response = await send("api/events", { headers: { "Last-Event-ID": mark }, signal: stop.signal });
      if (response.status === 401) { await onState("refused"); continue; }
      if (!response.ok) throw new Error(response.status);
      onState("live");
      heard();
      for await (const data of messages(response.body)) {
        heard();
        if (!data) continue;
        const news = JSON.parse(data);
        mark = news.mark;
        onNews(news);
      }
    } catch { /* the board is away, and is asked again */ }
    clearTimeout(timer);
    onState("away");
    await new Promise((resolve) => { setTimeout(resolve, AGAIN); });
  }
}

/** The data of each event of a stream; an empty text for a sign of life. */
async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) yield part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
  }
}
