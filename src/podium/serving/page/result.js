// The picture that is shown: large, with a heat map where a network has one, and beside it what each network says.
import { say, write } from "../static/languages.js";
import { best, compared, made, panel, percent } from "./answers.js";
import { drawn, heatOf, seen } from "./picture.js";

const byId = (id) => document.getElementById(id);
let shown = null; // {picture, canvas}, of which the canvas is drawn once

/** Begin with what the elements of the result do by themselves. */
export function begin() {
  byId("opacity").addEventListener("input", fade);
}

/**
 * Show a picture and what is known of it.
 *
 * @param {?import("./tried.js").Picture} picture - null for none.
 * @param {object[]} models - one or two.
 * @param {(model: object) => object} preprocessing - as in the card of a network.
 * @param {() => void} retry - asks again.
 */
export function show(picture, models, preprocessing, retry) {
  byId("result").hidden = picture === null;
  if (picture === null) { shown = null; return; }
  byId("shown").textContent = picture.file.name;
  if (shown?.picture !== picture) {
    shown = { picture, canvas: undefined };
    draw(shown, () => heat(picture, models, preprocessing));
  }
  const answers = models.map((model) => picture.said.get(model.name)?.answer);
  facts(picture, answers.find(Boolean));
  const first = answers[0] && { model: models[0].name, answer: answers[0] };
  const panels = models.map((model, place) => panel(model.name, picture.said.get(model.name) ?? {}, {
    named: models.length > 1, beside: place > 0 ? first : null, retry,
  }));
  byId("answers").replaceChildren(...panels);
  byId("answers").classList.toggle("two", models.length > 1);
  differ(models, answers);
  heat(picture, models, preprocessing);
}

/** What is said to a person who does not look: the answers to a picture, once all are there. */
export function spoken(picture, models) {
  const said = models.map((model) => picture.said.get(model.name) ?? {});
  if (!said.every((each) => each.answer || each.refusal)) return null;
  const texts = said.map(({ answer, refusal }) => {
    if (refusal) return say(refusal.meaning);
    const { class: name, probability } = best(answer);
    return answer.unknown ? say("Unknown") : `${name}, ${percent(probability)}`;
  });
  const names = models.length > 1 ? models.map((model) => `${model.name}: `) : [""];
  return `${picture.file.name}: ${texts.map((text, place) => names[place] + text).join("; ")}`;
}

async function draw(own, ready) {
  const frame = byId("frame");
  if (own.picture.thumbnail) frame.replaceChildren(copy(own.picture.thumbnail)); // until the large one is drawn
  else frame.replaceChildren();
  own.canvas = await drawn(own.picture.file);
  if (shown !== own) return;
  if (own.canvas) {
    own.canvas.setAttribute("role", "img");
    own.canvas.setAttribute("aria-label", own.picture.file.name);
    frame.replaceChildren(own.canvas);
    ready();
  } else if (!own.picture.thumbnail) {
    frame.replaceChildren(write(made("p", "note"), "The browser cannot show this file."));
  }
}

function copy(canvas) {
  const other = canvas.cloneNode();
  other.getContext("2d").drawImage(canvas, 0, 0);
  return other;
}

function facts({ file }, answer) {
  const size = file.size >= 1e6 ? `${(file.size / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(file.size / 1e3))} kB`;
  if (answer) write(byId("facts"), "{width} × {height} pixels, {size}", { width: answer.width, height: answer.height, size });
  else write(byId("facts"), "{size}", { size });
}

function differ(models, answers) {
  const line = byId("differ"), both = models.length > 1 && answers.every(Boolean);
  line.hidden = !both;
  if (!both) return;
  const { same, phrase, values } = compared([models[0].name, answers[0]], [models[1].name, answers[1]]);
  line.classList.toggle("same", same);
  write(line, phrase, values);
}

// Heat maps

function heat(picture, models, preprocessing) {
  const frame = byId("frame"), model = models.find((each) => picture.said.get(each.name)?.answer?.heat_map);
  const there = Boolean(model && shown?.canvas);
  byId("heat").hidden = !there;
  frame.querySelector(".over")?.remove();
  if (!there) return;
  const answer = picture.said.get(model.name).answer;
  const over = heatOf(answer.heat_map, shown.canvas, seen(answer, preprocessing(model)));
  over.classList.add("over");
  over.setAttribute("aria-hidden", "true");
  frame.append(over);
  fade();
}

function fade() {
  const over = byId("frame").querySelector(".over");
  if (over) over.style.opacity = byId("opacity").value / 100;
}
