// The images behind a score: what a finished run has wrong, by class and by wrong answer, and what two runs answer differently.
import { say } from "../static/languages.js";
import { asked } from "./asking.js";
import { made } from "./dom.js";
import { percent, spoken } from "./format.js";

/** A picture of base64 as an element. */
export function picture(data, name) {
  if (!data) return made("span", { class: "missing", say: "no picture" });
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  const image = made("img", { src: address, alt: name });
  image.addEventListener("load", () => URL.revokeObjectURL(address));
  return image;
}

/**
 * Open the dialog with the images of a run.
 *
 * @param {object} run - the run.
 * @param {"mistakes"|"losses"|"f1"|"recall"} first - what is shown first, by the number that a person has pressed.
 * @param {string} split - "val" for the validation images; "" for those that the result reports.
 */
export async function openPictures(run, first = "mistakes", split = "") {
  const close = made("button", { type: "button", say: "Close" }), content = made("div", {}, made("p", { class: "note", role: "status", say: "Looking up its images..." }));
  const dialog = made("dialog", { class: "pictures", "aria-labelledby": "pictures-title" },
    made("header", {}, made("h2", { id: "pictures-title" }, run.name), close), content);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  try {
    fill(content, await asked(`api/pictures/${run.id}?split=${split}`), first);
  } catch (error) {
    content.replaceChildren(made("p", { class: "failed", role: "alert" }, error.message));
  }
}

const link = (text, press) => made("button", { type: "button", class: "link", on: { click: press } }, text);

function fill(content, found, first) {
  const shown = made("div", { class: "gallery" }), heading = made("h3", { tabindex: -1 });
  const show = (text, images) => {
    heading.textContent = text;
    shown.replaceChildren(...images);
  };
  const press = (text, images) => () => { show(text, images()); heading.focus(); };
  const of = (cells) => () => cells.flatMap(([, , , numbers]) => numbers.map((n) => entry(found.images[n])));
  const classes = found.classes.map((each, k) => {
    const missed = found.cells.filter(([truth]) => truth === k), given = found.cells.filter(([, guess]) => guess === k);
    return { ...each, recall: each.n ? each.right / each.n : null, f1: each.n ? 2 * each.right / (each.n + each.predicted) : null, missed,
      seeMissed: [say("{name}: taken for another class", each), of(missed)],
      both: [...missed, ...given], seeBoth: [say("{name}: taken for another class, or another class taken for it", each), of([...missed, ...given])] };
  });
  const most = found.cells.slice(0, 20).map((cell) => {
    const [truth, guess, count] = cell;
    const text = say("{truth} taken for {guess}: {count}", { truth: found.classes[truth].name, guess: found.classes[guess].name, count });
    return made("li", {}, link(text, press(text, of([cell]))));
  });
  const mistakes = [say("The mistakes that it is most certain of"), () => found.mistakes.map((n) => entry(found.images[n]))];
  const losses = [say("The images with the largest log-loss"), () => found.losses.map(([n, loss]) => entry(found.images[n], loss))];
  content.replaceChildren(
    made("p", { class: "note" }, say("{right} of {n} {split} images are right.", { right: found.right, n: found.n, split: say(found.split === "val" ? "validation" : found.split) }), ...found.notes.map((note) => ` ${spoken(note)}.`)),
    made("div", { class: "pair" }, tableOf(classes, first === "f1" ? "f1" : "recall", press),
      made("div", {}, made("h3", { say: "Most frequent mistakes" }), made("ul", { class: "confused" }, ...most))),
    made("p", { class: "acts" }, ...[mistakes, losses].map(([text, images]) => made("button", { type: "button", on: { click: press(text, images) } }, text))),
    heading, shown);
  const [text, images] = { losses, f1: worst(classes, "f1")?.seeBoth, recall: worst(classes, "recall")?.seeMissed }[first] ?? mistakes;
  show(text, images());
}

/** The class with the lowest score of those that have mistakes. */
const worst = (classes, score) => classes.filter((each) => each[score] !== null && each.both.length).sort((one, two) => one[score] - two[score])[0];

/** The table of the classes, the lowest of a score first; its numbers open the images behind them. */
function tableOf(classes, score, press) {
  const number = (value, shown, cells, see) => made("td", {}, value === null ? "" : cells.length ? link(shown(value), press(...see)) : shown(value));
  const rows = classes.toSorted((one, two) => (one[score] ?? 2) - (two[score] ?? 2)).map((each) => made("tr", {}, made("th", { scope: "row" }, each.name), made("td", {}, String(each.n)),
    number(each.recall, (value) => percent(value, 1), each.missed, each.seeMissed), number(each.f1, (value) => value.toFixed(3), each.both, each.seeBoth), made("td", {}, String(each.predicted))));
  const head = made("tr", {}, ...["class", "images", "recall", "F1", "answered"].map((text) => made("th", { scope: "col", say: text })));
  return made("div", { class: "scroll tall", tabindex: 0, role: "region", named: "Classes" }, made("table", {}, made("thead", {}, head), made("tbody", {}, ...rows)));
}

function entry(image, loss = null) {
  const caption = made("figcaption", {}, made("b", {}, image.truth), made("br"), say("answer {answer}, {n} %", { answer: image.predicted, n: image.percent }));
  if (loss !== null) caption.append(made("br"), say("log-loss {n}", { n: loss }));
  return made("figure", { title: image.name }, picture(image.picture, `${image.truth}, ${image.name}`), caption);
}
