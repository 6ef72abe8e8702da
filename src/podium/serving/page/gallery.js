// What was tried in this visit, as small pictures with the answer below each.
import { write } from "../static/languages.js";
import { best, made, percent } from "./answers.js";

const byId = (id) => document.getElementById(id);
const entries = new Map(); // picture -> its <li>

/** Put new pictures before those that are there. */
export function add(pictures, choose) {
  for (const picture of pictures) {
    const name = made("span", "name", picture.file.name), what = made("span", "what numbers");
    const button = made("button", "entry", made("span", "thumbnail"), name, what);
    button.type = "button";
    button.addEventListener("click", () => choose(picture));
    entries.set(picture, made("li", "", button));
  }
  byId("gallery").prepend(...pictures.map((picture) => entries.get(picture)));
}

/** Bring the entry of a picture up to date with what a network said of it. */
export function update(picture, model) {
  const [thumbnail, , what] = entries.get(picture).firstChild.children;
  if (picture.thumbnail && thumbnail.firstChild !== picture.thumbnail) thumbnail.replaceChildren(picture.thumbnail);
  const { answer, refusal, wait } = picture.said.get(model.name) ?? {};
  what.classList.toggle("failed", Boolean(refusal));
  if (refusal) write(what, "no answer");
  else if (wait) write(what, "again in {n} s", { n: wait });
  else if (!answer) write(what, "…");
  else if (answer.unknown) write(what, "Unknown");
  else write(what, "{name} {share}", { name: best(answer).class, share: percent(best(answer).probability) });
}

/** Mark the picture that is shown. */
export function mark(shown) {
  for (const [picture, entry] of entries) {
    if (picture === shown) entry.firstChild.setAttribute("aria-current", "true");
    else entry.firstChild.removeAttribute("aria-current");
  }
}

/** Remove all entries. */
export function clear() {
  entries.clear();
  byId("gallery").replaceChildren();
}
