// The images behind a score: what a finished run has wrong, by class and by wrong answer, and what two runs answer differently.
import { say } from "/static/languages.js";
import { send } from "/static/requests.js";
import { made } from "./dom.js";
import { percent } from "./format.js";

/** An answer of the board as JSON; an Error with its message where it has none. */
export async function asked(address) {
  const response = await send(address);
  const content = await response.json();
  if (!response.ok) throw new Error(`${content.message}. ${content.fix}`);
  return content;
}

/** A picture of base64 as an element. */
export function picture(data, name) {
  if (!data) return made("span", { class: "missing", say: "no picture" });
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const address = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
  const image = made("img", { src: address, alt: name });
  image.addEventListener("load", () => URL.revokeObjectURL(address));
  return image;
}

/** Open the dialog with the images of a run. */
export async function openPictures(run) {
  const close = made("button", { type: "button", say: "Close" }), content = made("div", {}, made("p", { class: "note", role: "status", say: "Looking up its images..." }));
  const dialog = made("dialog", { class: "pictures", "aria-labelledby": "pictures-title" },
    made("header", {}, made("h2", { id: "pictures-title" }, run.name), close), content);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  try {
    fill(content, await asked(`/api/pictures/${run.id}`));
  } catch (error) {
    content.replaceChildren(made("p", { class: "failed", role: "alert" }, error.message));
  }
}

function fill(content, found) {
  const shown = made("div", { class: "gallery" }), heading = made("h3", { tabindex: -1 });
  const show = (text, numbers) => {
    heading.textContent = text;
    shown.replaceChildren(...numbers.map((n) => entry(found.images[n])));
  };
  const about = say("{right} of {n} {split} images are right.", { right: found.right, n: found.n, split: say(found.split) });
  const mistakes = () => show(say("The mistakes that it is most certain of"), found.mistakes);
  const classes = found.classes.map((each, k) => {
    const wrong = found.cells.filter(([truth]) => truth === k).flatMap(([, , , numbers]) => numbers);
    const recall = each.n ? percent(each.right / each.n, 1) : "";
    const cell = made("td");
    if (wrong.length) cell.append(made("button", { type: "button", class: "link", on: { click: () => { show(say("{name}: taken for another class", { name: each.name }), wrong); heading.focus(); } } }, recall));
    else cell.append(recall);
    return { recall: each.n ? each.right / each.n : 2, element: made("tr", {}, made("th", { scope: "row" }, each.name), made("td", {}, String(each.n)), cell, made("td", {}, String(each.predicted))) };
  }).sort((one, two) => one.recall - two.recall);
  const confused = found.cells.slice(0, 20).map(([truth, guess, count, numbers]) => {
    const text = say("{truth} taken for {guess}: {count}", { truth: found.classes[truth].name, guess: found.classes[guess].name, count });
    return made("li", {}, made("button", { type: "button", class: "link", on: { click: () => { show(text, numbers); heading.focus(); } } }, text));
  });
  const head = made("tr", {}, ...["class", "images", "recall", "answered"].map((text) => made("th", { scope: "col", say: text })));
  content.replaceChildren(
    made("p", { class: "note" }, about, ...found.notes.map((note) => ` ${note}.`)),
    made("div", { class: "pair" },
      made("div", { class: "scroll tall", tabindex: 0, role: "region", named: "Classes" }, made("table", {}, made("thead", {}, head), made("tbody", {}, ...classes.map((each) => each.element)))),
      made("div", {}, made("h3", { say: "Most frequent mistakes" }), made("ul", { class: "confused" }, ...confused))),
    heading, shown);
  mistakes();
}

function entry(image) {
  const caption = made("figcaption", {}, made("b", {}, image.truth), made("br"), say("answer {answer}, {n} %", { answer: image.predicted, n: image.percent }));
  return made("figure", { title: image.name }, picture(image.picture, `${image.truth}, ${image.name}`), caption);
}
