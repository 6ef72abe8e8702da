// The pictures of this visit and what the networks said of them: in memory only, and without a word about how it looks.
import { ask, Refusal } from "./client.js";
import { drawn, scaled } from "./picture.js";

const AT_ONCE = 2; // requests under way: more would only wait in the server's queue
const THUMBNAIL = 192; // pixels

/**
 * @typedef {object} Picture
 * @property {File} file - what is sent.
 * @property {?HTMLCanvasElement} thumbnail - null where the browser cannot show the file.
 * @property {Map<string, object>} said - network -> {answer}, {refusal}, {wait: seconds} or {} while it is under way.
 */

export class Tried {
  pictures = [];
  #asking = 0;
  #waiting = [];
  #ended = new AbortController();
  #changed;

  /** @param {(picture: ?Picture) => void} changed - is called after each change of a picture; null after all are forgotten. */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Take files into the visit, as pictures, which are returned. */
  add(files) {
    const added = files.map((file) => ({ file, thumbnail: null, said: new Map() }));
    this.pictures.push(...added);
    return added;
  }


  /** Ask networks that have not answered yet; pictures and networks have their turn in the order in which they came. */
  ask(picture, models) {
    for (const model of models) {
      const before = picture.said.get(model.name);
      if (before === undefined || before.refusal?.again) {
        this.#say(picture, model, {});
        this.#waiting.push([picture, model]);
      }
    }
    this.#next();
  }

  /** Ask again for every picture that was refused and may now be answered. */
  again(models) {
    for (const picture of this.pictures) this.ask(picture, models.filter(({ name }) => picture.said.get(name)?.refusal));
  }

  /** Forget all pictures and end what is under way. */
  forget() {
    this.#ended.abort();
    this.#ended = new AbortController();
    this.pictures = [];
    this.#waiting = [];
    this.#changed(null);
  }

  #next() {
    while (this.#asking < AT_ONCE && this.#waiting.length) {
      this.#asking += 1;
      this.#ask(...this.#waiting.shift(), this.#ended.signal).finally(() => { this.#asking -= 1; this.#next(); });
    }
  }

  async #ask(picture, model, signal) {
    const waiting = (seconds) => this.#say(picture, model, seconds ? { wait: seconds } : {});
    const small = this.#draw(picture);
    let said;
    try {
      said = { answer: await ask(picture.file, model, signal, waiting) };
    } catch (error) {
      said = { refusal: error instanceof Refusal ? error : new Refusal("unexpected", String(error)) };
    }
    await small;
    if (signal.aborted) return;
    this.#say(picture, model, said);
    if (said.refusal?.code !== "unauthorized") return;
    for (const [other, next] of this.#waiting.splice(0)) this.#say(other, next, said); // or each would ask for the token again
  }

  /** Draw the small form of a picture, once; here, so that no more than AT_ONCE large ones are open. */
  async #draw(picture) {
    if (picture.thumbnail) return;
    const canvas = await drawn(picture.file);
    if (canvas) picture.thumbnail = scaled(canvas, THUMBNAIL);
  }

  #say(picture, model, said) {
    picture.said.set(model.name, said);
    this.#changed(picture);
  }
}
