// The board: what is known of comparisons and runs, which of them is shown, and the list of all.
import { beginLanguages, onLanguage, say, write } from "../static/languages.js";
import { keep, made, setPhrase, setText } from "./dom.js";
import { duration, inOrder, stateOf, STATES } from "./format.js";
import { known, shareOf, SINGLE, take } from "./known.js";
import { follow } from "./stream.js";
import { StudyView } from "./study.js";

/** Tell a screen reader what has ended. */
function tell(before, after) {
  if (before && before.state === "running" && after.state !== "running") write(document.getElementById("told"), "{name}: {state}", { name: after.name, state: say(STATES[after.state]) });
}

// What is shown

const view = document.getElementById("view");
const heading = made("h1"), list = made("nav", { named: "Comparisons", class: "studies" }), place = made("div"), foot = made("p", { class: "note" });
let open = null; // the view of what is chosen

/** Bring the page up to date. */
function show() {
  if (!heading.isConnected) view.replaceChildren(heading, list, place, foot);
  const choices = [...known.studies.values()].sort((one, two) => inOrder(one.name, two.name));
  if ([...known.runs.values()].some((run) => run.study === null)) choices.push({ id: SINGLE, state: "", name: say("Single runs"), waiting: [], failed: [], said: ["", null] });
  setText(heading, known.folder);
  document.title = `${known.folder} · Podium board`;
  const asked = decodeURIComponent(location.hash.slice(1));
  const chosen = choices.find((each) => each.id === asked) ?? choices.find((each) => each.state === "running") ?? choices[0];
  list.hidden = choices.length < 2;
  keep(list, choices, (each) => each.id, card, (element, each) => update(element, each, each === chosen));
  if (!chosen) setPhrase(foot, "No comparison and no run is in this folder yet. They appear here as soon as they begin.");
  else if (known.full) setPhrase(foot, "This folder has more than is shown: start the board in a folder further down.");
  else setPhrase(foot, known.control ? "The board reads these folders and writes nothing into them." : "The board reads these folders and writes nothing into them. To stop and resume runs from this page, start it with --token-file.");
  if (open?.id !== chosen?.id) {
    open = chosen ? new StudyView(chosen.id) : null;
    place.replaceChildren(...(open ? [open.element] : []));
  }
  open?.update(chosen);
}

const card = (each) => made("a", { href: `#${each.id}`, class: "study" }, made("b"), made("span", { class: "state" }), made("span", { class: "bar parts" }, made("span")));

function update(element, study, isChosen) {
  const [name, state, bar] = element.children, runs = known.runsOf(study.id);
  const done = runs.filter((run) => run.state === "finished").length, all = runs.length + study.waiting.length + study.failed.length;
  const left = study.state === "running" && study.ends_at ? study.ends_at - known.now() : null;
  setText(name, study.name);
  if (left !== null) setPhrase(state, "training, about {left} left", { left: duration(Math.max(0, left)) });
  else if (study.id === SINGLE) setPhrase(state, "{done} of {all} finished", { done, all });
  else setPhrase(state, stateOf(study, runs));
  element.dataset.state = study.state;
  bar.firstElementChild.style.width = `${100 * shareOf(study, runs)}%`;
  if (isChosen) element.setAttribute("aria-current", "page");
  else element.removeAttribute("aria-current");
}

/** Say whether the board answers. */
function connected(state) {
  const place = document.getElementById("connection");
  place.dataset.state = state;
  write(place, { live: "live", away: "The board does not answer; trying again", refused: "no token" }[state]);
  if (state !== "refused") return undefined;
  const again = made("button", { type: "button", class: "main", say: "Enter the token" });
  view.replaceChildren(made("p", { class: "lead", say: "This board shows nothing without its token." }), again);
  return new Promise((resolve) => { again.addEventListener("click", () => { again.remove(); resolve(); }); });
}

addEventListener("hashchange", show);
await beginLanguages("static/zh.json", "board/zh.json");
onLanguage(() => { if (known.folder) show(); });
setInterval(() => { if (known.folder) show(); }, 5000); // the time left goes on between two epochs
follow((news) => { take(news, tell); show(); }, connected);
