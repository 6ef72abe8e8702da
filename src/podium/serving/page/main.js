// The page of `podium serve`: pictures in, what the networks say of them out. This file puts the parts together.
import { beginLanguages, onLanguage, say, write } from "../static/languages.js";
import { made, serverSays } from "./answers.js";
import { cardOf } from "./card.js";
import { card, models, Refusal } from "./client.js";
import * as gallery from "./gallery.js";
import { listen } from "./intake.js";
import * as result from "./result.js";
import { Tried } from "./tried.js";

const byId = (id) => document.getElementById(id);
const NAMED = 12; // classes that the first sentence names
const tried = new Tried(changed);
const cards = new Map(); // name of a network -> its card
let known = []; // the networks of the server
let current = null; // the picture that is shown

/** The networks that are asked: one, or two side by side. */
const chosen = () => [byId("first"), byId("second")].map(({ value }) => known.find(({ name }) => name === value)).filter(Boolean);

// Networks

async function begin() {
  try {
    known = await models();
  } catch (error) {
    trouble(error);
    return;
  }
  byId("trouble").hidden = true;
  choices();
  introduce();
  listen(take);
  await showCards();
}

/** What keeps the page from its work, with a button that tries again. */
function trouble(error) {
  const { meaning, said } = error instanceof Refusal ? error : new Refusal("unexpected", String(error));
  const button = write(made("button"), "Try again"), text = write(made("span"), meaning);
  button.type = "button";
  button.addEventListener("click", begin);
  byId("trouble").replaceChildren(text, " ", button);
  byId("trouble").hidden = false;
  if (said.length) byId("trouble").append(" ", serverSays("span", said));
}

function choices() {
  const option = (name) => new Option(name, name);
  byId("first").replaceChildren(...known.map(({ name }) => option(name)));
  byId("second").replaceChildren(write(new Option("", ""), "no other"), ...known.map(({ name }) => option(name)));
  byId("models").hidden = known.length < 2;
  for (const field of [byId("first"), byId("second")]) field.addEventListener("change", choose);
  exclude();
}

/** Other networks were chosen: the picture that is shown goes to those that have not seen it. */
function choose() {
  if (byId("second").value === byId("first").value) byId("second").value = "";
  exclude();
  introduce();
  tried.pictures.forEach(entry);
  if (current) tried.ask(current, chosen());
  if (current) changed(current);
}

/** A network does not stand beside itself. */
function exclude() {
  for (const option of byId("second").options) option.disabled = option.value === byId("first").value;
}

function introduce() {
  const [{ name, classes }] = chosen(), names = classes.slice(0, NAMED).join(", ");
  const phrase = classes.length > NAMED ? "{model} tells {n} classes apart, among them {names}." : "{model} tells {n} classes apart: {names}.";
  write(byId("lead"), phrase, { model: name, n: classes.length.toLocaleString("en"), names });
}

async function showCards() {
  write(byId("about-title"), known.length === 1 ? "About the network" : "About the networks");
  for (const model of known) {
    try {
      cards.set(model.name, await card(model.name));
    } catch {
      continue; // the network works without
    }
    byId("cards").append(cardOf(model, cards.get(model.name), known.length === 1));
    byId("about").hidden = false;
  }
}

// Pictures

function take(files) {
  if (!files.length) {
    write(byId("said"), "That was no file. Save the picture first, then drop or choose it.");
    write(byId("hint"), byId("said").dataset.say);
    byId("hint").hidden = false;
    return;
  }
  byId("hint").hidden = true;
  byId("tried").hidden = false;
  document.body.dataset.tried = "";
  const added = tried.add(files);
  gallery.add(added, view);
  for (const picture of added) tried.ask(picture, chosen());
  view(added[0]);
}

/** Show a picture, and ask the networks that have not seen it. */
function view(picture) {
  current = picture;
  tried.ask(picture, chosen());
  changed(picture);
  gallery.mark(picture);
  byId("result").scrollIntoView({ block: "nearest" });
  announce(picture);
}

function changed(picture) {
  if (picture === null) {
    current = null;
    gallery.clear();
    byId("tried").hidden = true;
    delete document.body.dataset.tried;
    result.show(null);
    return;
  }
  if (!tried.pictures.includes(picture)) return; // forgotten while it was drawn
  entry(picture);
  if (picture !== current) return;
  result.show(picture, chosen(), ({ name }) => cards.get(name)?.preprocessing, again);
  announce(picture);
}

/** What was refused and may now be answered is sent again, the picture that is shown first. */
function again() {
  tried.ask(current, chosen());
  tried.again(chosen());
}

const entry = (picture) => gallery.update(picture, chosen()[0]);

/** Say what the networks answered to a person who listens, once for each picture and choice of networks. */
function announce(picture) {
  const text = result.spoken(picture, chosen());
  if (text === null || byId("said").textContent === text) return;
  delete byId("said").dataset.say;
  byId("said").textContent = text;
}

byId("forget").addEventListener("click", () => { tried.forget(); byId("pick").focus(); });
onLanguage(() => {
  document.title = `${say("What is on this picture?")} · Podium`;
  if (current) announce(current);
});
result.begin();
await beginLanguages("static/zh.json", "page/zh.json");
await begin();
