// What the page asks of the server, and what each refusal means for the person in front of it.
import { send } from "../static/requests.js";

const TRIES = 6; // of a request that a busy server has refused
const LONGEST_WAIT = 30; // seconds, whatever the server names

// What a person can do about a refusal, by its code; where there is none, by its status.
const MEANINGS = {
  image_unreadable: "This file cannot be read as a picture. It is damaged, or it is something else.",
  empty_body: "This file is empty.",
  format_not_supported: "The server does not read this kind of file. JPEG, PNG and WebP always work.",
  image_too_large: "This picture has too many pixels for the server. A smaller copy will do: the network sees a small square of it.",
  body_too_large: "This file is too large for the server. A smaller copy will do: the network sees a small square of it.",
  server_busy: "The server is busy and has refused the picture several times. Try again in a while.",
  timed_out: "The server took too long and gave up. Try again; if it happens each time, the network is too slow for this machine.",
  answer_not_finite: "The network computes no number for this picture. Its file may be damaged.",
  fault: "The server has met a fault of its own. Its log says more.",
  wrong_host: "The server answers pages of its own machine only. Open it as http://127.0.0.1 with its port.",
  unauthorized: "The server wants a token, and none that is right was given.",
  model_unknown: "The server no longer has this network. Load the page again.",
  unreachable: "The server does not answer. It may have been stopped: start it again, then try again.",
  cut: "The server broke off while the picture was sent. The file may be too large for it.",
  unreadable_here: "The browser cannot read this file. Is it a folder, or has it been moved?",
  unexpected: "The server gave an answer that this page does not understand.",
};
const BY_STATUS = {
  401: "unauthorized", 404: "model_unknown", 413: "body_too_large", 415: "format_not_supported", 500: "fault", 503: "server_busy",
  504: "timed_out",
};
const WORTH_TRYING = new Set(["server_busy", "timed_out", "unauthorized", "unreachable", "cut", "fault", "unexpected"]);

/** A refusal, with a phrase for the person and the sentences that the server itself said. */
export class Refusal extends Error {
  constructor(code, ...said) {
    super(said.join("; "));
    this.said = said;
    this.code = code;
    this.meaning = MEANINGS[code] ?? MEANINGS.unexpected;
    this.again = WORTH_TRYING.has(code);
  }
}

/** The networks of the server: [{name, classes, input, heat_map, engine, megabytes}]. */
export const models = async () => (await read("v1/models")).models;

/** The card of a network. */
export const card = async (model) => read(`v1/model?model=${encodeURIComponent(model)}`);

/**
 * The answer of one network to one picture. A busy server is asked again after the time that it names.
 *
 * @param {File} file - the picture.
 * @param {{name: string, heat_map: boolean}} model - the network.
 * @param {AbortSignal} signal - ends the request and the waiting.
 * @param {(seconds: number) => void} waiting - is told each second how long the wait still is; 0 when the request is sent again.
 * @returns {Promise<object>} the answer, with `milliseconds` of decode, queue, compute and `whole`, as this page measured it.
 * @throws {Refusal} with what the person can do.
 */
export async function ask(file, model, signal, waiting) {
  let body;
  try {
    body = await file.arrayBuffer();
  } catch {
    throw new Refusal("unreadable_here");
  }
  const address = `v1/predict?model=${encodeURIComponent(model.name)}&top=5${model.heat_map ? "&heat_map=true" : ""}`;
  const options = { method: "POST", body, signal, headers: { "Content-Type": file.type || "application/octet-stream" } };
  for (let tried = 1; ; tried += 1) {
    const began = performance.now();
    const response = await reached(address, options);
    if (response.status === 503 && tried < TRIES) {
      await pause(Number(response.headers.get("Retry-After")) || 1, signal, waiting);
      continue;
    }
    const answer = await content(response);
    const [first] = answer.answers ?? [];
    if (!first?.classes?.length) throw new Refusal("unexpected");
    return { ...first, milliseconds: { ...answer.milliseconds, whole: performance.now() - began } };
  }
}

async function read(address) {
  return content(await reached(address));
}

/** A response, whatever its status; a server that is gone, and one that hangs up on a picture, are told apart. */
async function reached(address, options = {}) {
  try {
    return await send(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  const alive = options.body !== undefined && await fetch("healthz").then((response) => response.ok, () => false);
  throw new Refusal(alive ? "cut" : "unreachable");
}

/** The JSON of a response. */
async function content(response) {
  let found = null;
  try {
    found = await response.json();
  } catch { /* what stands between us and the server may answer with a page */ }
  if (response.ok && found !== null) return found;
  const code = Object.hasOwn(MEANINGS, found?.code) ? found.code : BY_STATUS[response.status] ?? "unexpected";
  throw new Refusal(code, ...[found?.message, found?.fix].filter((text) => typeof text === "string"));
}

async function pause(seconds, signal, waiting) {
  for (let left = Math.min(Math.max(1, Math.ceil(seconds)), LONGEST_WAIT); left > 0; left -= 1) {
    waiting(left);
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    signal.throwIfAborted();
  }
  waiting(0);
}
