// The card of a network in words: what it knows, how often it is right, what it started from.
import { write } from "../static/languages.js";
import { made } from "./answers.js";

const Z = 1.959964; // of a 95 % interval
const FEW = 60; // classes that are all listed at once

/** The interval of Wilson (1927) for a share seen in n draws. */
export function wilson(share, n) {
  const centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n);
  const half = Z / (1 + Z * Z / n) * Math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n));
  return [centre - half, centre + half];
}

const SPLITS = {
  test: "{share} % right on {n} test images, which chose nothing (95 % interval {low}–{high} %)",
  val: "{share} % right on {n} validation images, which chose the epoch too (95 % interval {low}–{high} %)",
  other: "{share} % right on {n} images (95 % interval {low}–{high} %)",
};
const SEEN = {
  crop: "the central square of the picture",
  pad: "the whole picture, with black margins",
  stretch: "the whole picture, stretched into a square",
};

/**
 * A card as an element that opens.
 *
 * @param {object} model - as `/v1/models` lists it.
 * @param {object} card - as `/v1/model` gives it.
 * @param {boolean} open - whether it is open to begin with.
 */
export function cardOf(model, card, open) {
  const list = made("dl"), body = made("div", "", list), element = made("details", "card", made("summary", "", model.name), body);
  element.open = open;
  for (const [term, ...lines] of [...knows(model, card), ...origin(card), ...file(model, card)]) {
    list.append(write(made("dt"), term), made("dd", "", ...lines));
  }
  body.append(whole(card));
  return element;
}

const phrase = (text, values = {}) => write(made("span", "line"), text, values);
const percent = (share) => (100 * share).toFixed(1);

function* knows(model, card) {
  const classes = made("ul", "classes", ...model.classes.map((name) => made("li", "", name)));
  if (model.classes.length > FEW) {
    const inside = made("details", "", write(made("summary"), "{n} classes", { n: model.classes.length }), made("div", "", classes));
    yield ["Classes", inside];
  } else {
    yield ["Classes", classes];
  }
  const { top1, n } = card.scores ?? {};
  if (Number.isFinite(top1) && n > 0) {
    const [low, high] = wilson(top1, n).map(percent);
    yield ["Accuracy", phrase(SPLITS[card.split] ?? SPLITS.other, { share: percent(top1), n: n.toLocaleString("en"), low, high })];
  } else {
    yield ["Accuracy", phrase("not measured on images that it was not trained on")];
  }
  yield ["Unknown", ...unknown(card.confidence)];
  const { image_size: side = model.input?.width, channels = 3, resize = "crop" } = card.preprocessing ?? {};
  yield ["Input", phrase(channels === 1 ? "{side} × {side} pixels, grey" : "{side} × {side} pixels, colour", { side }), phrase(SEEN[resize] ?? SEEN.crop)];
}

function unknown(confidence) {
  if (!confidence?.threshold) return [phrase("It answers every picture.")];
  const lines = [phrase("It says so below {n} % confidence.", { n: percent(confidence.threshold) })];
  const { split, images, coverage, accuracy } = confidence.measured ?? {};
  if (split === "test" && Number.isFinite(coverage) && Number.isFinite(accuracy)) {
    const values = { coverage: percent(coverage), n: images.toLocaleString("en"), accuracy: percent(accuracy) };
    lines.push(phrase("{coverage} % of {n} test images are answered, {accuracy} % of them right.", values));
  }
  return lines;
}

function* origin(card) {
  if (card.spec?.model) yield ["Network", phrase("{name}", { name: card.spec.model })];
  const random = !card.start || card.start === "random weights";
  const start = [random ? phrase("random weights") : phrase("{name}", { name: card.start })];
  if (!random || card.licence) start.push(card.licence ? phrase("licence: {name}", { name: card.licence }) : phrase("licence: not in the card"));
  yield ["Started from", ...start];
  if (!card.data) return;
  const how = { data: card.data, recipe: card.recipe ?? "?", n: (card.steps ?? 0).toLocaleString("en"), seed: card.seed ?? "?" };
  yield ["Trained on", phrase("{data}: recipe {recipe}, {n} steps, seed {seed}", how)];
}

function* file(model, card) {
  const facts = [model.engine, Number.isFinite(model.megabytes) && `${Number(model.megabytes.toFixed(2))} MB`].filter(Boolean);
  if (facts.length) yield ["File", phrase("{facts}", { facts: facts.join(", ") })];
  const made_by = Object.entries({ podium: card.podium, torch: card.torch }).filter(([, version]) => version);
  if (made_by.length) yield ["Made with", phrase("{facts}", { facts: made_by.map((pair) => pair.join(" ")).join(", ") })];
  const digests = { "SHA-256 of the file": card.served?.sha256, "SHA-256 of the weights": card.parent?.sha256 };
  for (const [term, digest] of Object.entries(digests)) if (digest) yield [term, made("span", "digest", String(digest))];
}

/** The card as it is, for what the words leave out. */
function whole(card) {
  const text = made("pre", "command"), element = made("details", "", write(made("summary"), "The whole card"), made("div", "", text));
  text.tabIndex = 0; // so that a keyboard can scroll it
  element.addEventListener("toggle", () => { text.textContent = JSON.stringify(card, null, 2); }, { once: true });
  return element;
}
