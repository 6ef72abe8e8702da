// What one network said of a picture: its answer, the most probable classes as bars, and the time it took.
import { write } from "../static/languages.js";

const UNITS = { decode: "decoding", queue: "waiting", compute: "network", rest: "on the way" };
const TO_MARK = 0.05; // a difference between two networks below this is not marked

/** A probability as people read it: never 100 % or 0 % where it is not. */
export function percent(probability) {
  if (probability > 0.9995 && probability < 1) return ">\u00a099.9\u00a0%";
  if (probability < 0.0005 && probability > 0) return "<\u00a00.1\u00a0%";
  return `${(100 * probability).toFixed(1)}\u00a0%`;
}

/** Make an element with a class and children. */
export function made(name, kind = "", ...children) {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.append(...children);
  return element;
}

/**
 * The panel of one network.
 *
 * @param {string} model - its name.
 * @param {object} said - {answer}, {refusal}, {wait} or {}, as in tried.js.
 * @param {{named: boolean, beside: ?{model: string, answer: object}, retry: () => void}} how - whether the panel needs the name of its
 *   network, another network whose answer it is compared with, and what asks again.
 */
export function panel(model, said, { named, beside, retry }) {
  const element = made("article", "panel answer");
  element.dataset.model = model;
  if (named) element.append(made("h3", "", model));
  if (said.answer) element.append(...answered(said.answer, beside));
  else if (said.refusal) element.append(...refused(said.refusal, retry));
  else {
    element.setAttribute("aria-busy", "true");
    const phrase = said.wait ? "The server is busy. Trying again in {n} s." : "The network is looking …";
    element.append(write(made("p", "note pending"), phrase, { n: said.wait }));
  }
  return element;
}

/** The class that an answer is about: what the network says, or, where it knows nothing, the most probable one. */
export const best = ({ classes, answer }) => classes.find((each) => each.class === answer) ?? classes[0];

function answered(answer, beside) {
  const first = best(answer);
  const head = made("p", "says");
  if (answer.unknown) head.append(write(made("strong", "unknown"), "Unknown"));
  else head.append(made("strong", "", first.class), " ", made("span", "numbers", percent(first.probability)));
  const parts = [head];
  if (answer.unknown) {
    const phrase = "The network does not know what this is. The closest class is {name}, but {share} is too little for an answer.";
    parts.push(write(made("p", "note"), phrase, { name: first.class, share: percent(first.probability) }));
  }
  return [...parts, bars(answer, beside), time(answer.milliseconds)];
}

/** The most probable classes; where the other network differs much, a mark at its probability and the difference. */
function bars(answer, beside) {
  const theirs = new Map((beside?.answer.classes ?? []).map((each) => [each.class, each.probability]));
  const list = made("ol", answer.unknown ? "bars unsure" : "bars");
  for (const { class: name, probability } of answer.classes) {
    const fill = made("span"), bar = made("div", "bar", fill), row = made("li", "", made("span", "name", name));
    fill.style.width = `${100 * probability}%`;
    bar.setAttribute("aria-hidden", "true");
    const difference = theirs.has(name) ? probability - theirs.get(name) : 0;
    if (Math.abs(difference) >= TO_MARK) {
      const mark = made("i", "mark"), points = (100 * Math.abs(difference)).toFixed(0);
      mark.style.left = `${100 * theirs.get(name)}%`;
      bar.append(mark);
      row.append(write(made("span", "difference numbers"), difference > 0 ? "{n} points more" : "{n} points less", { n: points }));
    }
    row.append(made("span", "share numbers", percent(probability)), bar);
    list.append(row);
  }
  if (!list.querySelector(".mark")) return list;
  return made("div", "", list, write(made("p", "note marks"), "The marks show {model}.", { model: beside.model }));
}

/** How long it took, and of what that consists: the server's parts, and the rest of what this page waited. */
function time(milliseconds) {
  const { decode = 0, queue = 0, compute = 0, whole } = milliseconds;
  const parts = { decode, queue, compute, rest: Math.max(0, whole - decode - queue - compute) };
  const bar = made("div", "bar parts"), legend = made("ul", "parts numbers");
  bar.setAttribute("aria-hidden", "true");
  for (const [part, value] of Object.entries(parts)) {
    const span = made("span", part);
    span.style.width = `${100 * value / whole}%`;
    bar.append(span);
    legend.append(made("li", part, write(made("span"), UNITS[part]), ` ${short(value)}`));
  }
  return made("div", "time", write(made("p", "note numbers"), "Answered in {n} ms", { n: short(whole) }), bar, legend);
}

const short = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

/** What the server said, sentence by sentence. */
export function serverSays(name, sentences) {
  return made(name, "note", write(made("span"), "The server says:"), ...sentences.map((text) => write(made("span", "sentence"), text)));
}

function refused(refusal, retry) {
  const parts = [write(made("p", "failed"), refusal.meaning)];
  if (refusal.said.length) parts.push(serverSays("p", refusal.said));
  if (refusal.again) {
    const button = write(made("button"), "Try again");
    button.type = "button";
    button.addEventListener("click", retry);
    parts.push(made("p", "", button));
  }
  return parts;
}

/** What two answers have in common, as a phrase with its values. */
export function compared([one, first], [two, second]) {
  const [a, b] = [best(first), best(second)];
  const values = { one, two, a: a.class, b: b.class, m: percent(a.probability), n: percent(b.probability) };
  if (first.unknown && second.unknown) return { same: true, phrase: "Neither network knows it.", values };
  if (first.unknown) return { same: false, phrase: "They differ: {one} does not know it, {two} says {b} ({n}).", values };
  if (second.unknown) return { same: false, phrase: "They differ: {one} says {a} ({m}), {two} does not know it.", values };
  if (a.class === b.class) return { same: true, phrase: "Both say {a}: {m} and {n}.", values };
  return { same: false, phrase: "They differ: {one} says {a} ({m}), {two} says {b} ({n}).", values };
}
