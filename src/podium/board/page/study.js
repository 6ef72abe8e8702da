// One comparison, or the runs that belong to none: how far it is, its verdict and leaderboard, the curves, every run with its reason.
import { isChinese, say, write } from "../static/languages.js";
import { act } from "./acts.js";
import { Chart } from "./chart.js";
import { Comparison } from "./compare.js";
import { keep, made, setPhrase, setText } from "./dom.js";
import { colour, duration, isNumber, measured, partOf, percent, spoken, stateOf, STATES, three } from "./format.js";
import { known, shareOf } from "./known.js";
import { leaderboard } from "./leaderboard.js";
import { openPictures } from "./pictures.js";

const ABOUT = { recipe: "recipe {value}", duration: "duration {value}", folds: "{value} folds", seed: "seed {value}" };
const PARTS = { "": "runs in full", folds: "folds", trials: "trials of the tuning", "learning-curve": "runs on fewer images" };

/** The view of a comparison. */
export class StudyView {
  /** @param {string} id - of the comparison. */
  constructor(id) {
    this.id = id;
    this.charts = [new Chart("Top-1", (value) => percent(value, 1)), new Chart("Loss: solid on held-out images, dashed on training images", three)];
    this.part = made("select", { named: "Runs of the curves", on: { change: () => this.curves() } });
    this.across = made("select", { named: "Horizontal axis", on: { change: () => this.curves() } },
      made("option", { value: "epoch", say: "epoch" }), made("option", { value: "seconds", say: "training time" }));
    this.legend = made("ul", { class: "legend", named: "Runs in the charts; press one to hide it" });
    this.hidden = new Set();
    this.colours = new Map();
    this.head = made("section", { class: "head" });
    this.title = made("h2");
    this.state = made("span", { class: "tag" });
    this.about = made("p", { class: "note" });
    this.bar = made("div", { class: "bar", role: "progressbar", named: "Runs that are finished", "aria-valuemin": 0, "aria-valuemax": 100 }, made("span"));
    this.acts = made("p", { class: "acts" });
    this.failure = made("p", { class: "failed", role: "status", hidden: "" });
    this.verdict = made("div", { class: "verdict" });
    this.now = made("section", {}, made("h2", { say: "In training now" }), made("div", { class: "now" }));
    this.board = made("section", {}, made("h2", { say: "Leaderboard" }), made("p", { class: "note" }), made("div", { class: "scroll", tabindex: 0, role: "region", named: "Leaderboard" }));
    this.drawn = made("section", {}, made("h2", { say: "Learning curves" }), made("p", { class: "choose" }, this.part, " ", this.across),
      made("div", { class: "pair charts" }, ...this.charts.map((chart) => chart.element)), this.legend);
    this.all = made("section", {}, made("h2", { say: "All runs" }), made("div", { class: "scroll", tabindex: 0, role: "region", named: "All runs" }, this.table()));
    this.comparison = new Comparison(id);
    this.head.append(made("div", { class: "line" }, this.title, this.state), this.about, this.bar, this.acts, this.failure, this.verdict);
    this.element = made("div", {}, this.head, this.now, this.board, this.drawn, this.all, this.comparison.element);
  }

  table() {
    this.rows = made("tbody");
    const head = ["run", "state", "epoch", "top-1, last epoch", "loss, last epoch", "top-1, result", "time"].map((text, n) => made("th", { scope: "col", say: text, ...(n < 2 ? { class: "text" } : {}) }));
    return made("table", {}, made("thead", {}, made("tr", {}, ...head)), this.rows);
  }

  /** Bring it up to date. */
  update(study) {
    this.study = study;
    this.runs = known.runsOf(this.id);
    for (const run of this.runs) if (!this.colours.has(run.id)) this.colours.set(run.id, colour(this.colours.size)); // a run keeps its colour
    const running = this.runs.filter((run) => run.state === "running");
    this.heading(study);
    this.now.hidden = !running.length;
    keep(this.now.lastElementChild, running, (run) => run.id, card, (element, run) => progress(element, run, this.colours.get(run.id)));
    this.board.hidden = !study.table;
    if (study.table && (this.shown !== study.table || this.language !== isChinese())) leaderboard(this.board, study, this.runs);
    Object.assign(this, { shown: study.table, language: isChinese() });
    this.curves();
    keep(this.rows, [...this.runs, ...withoutFolder(study)], (run) => run.id, row, (element, run) => fill(element, run));
    this.comparison.update(this.runs, this.colours);
  }

  heading(study) {
    const done = this.runs.filter((run) => run.state === "finished").length, all = this.runs.length + withoutFolder(study).length;
    setText(this.title, study.name);
    this.state.dataset.state = study.state;
    this.state.hidden = !study.state;
    if (study.state) setPhrase(this.state, stateOf(study, this.runs));
    const about = study.about ? [study.data, ...Object.entries(study.about).map(([name, value]) => say(ABOUT[name], { value }))].join(" · ") : "";
    setText(this.about, [say("{done} of {all} runs finished", { done, all }), timeLeft(study), holder(study), about].filter(Boolean).join(" · "));
    const share = Math.round(100 * shareOf(study, this.runs));
    this.bar.firstElementChild.style.width = `${share}%`;
    this.bar.setAttribute("aria-valuenow", share);
    keep(this.acts, acts(study), ([name]) => name, ([, make]) => make());
    this.failure.hidden = !study.said[0];
    setText(this.failure, spoken(study.said));
    const sentences = (study.verdict ?? []).map(spoken);
    keep(this.verdict, sentences.map((text, n) => ({ text, n })), ({ n }) => String(n), ({ n }) => made("p", { class: n ? "note" : "lead" }), (element, { text }) => setText(element, text));
  }

  /** The entry of a run in the legend, which shows and hides its curves. */
  legendOf(run) {
    const toggle = () => {
      if (!this.hidden.delete(run.id)) this.hidden.add(run.id);
      this.curves();
    };
    return made("li", {}, made("button", { type: "button", class: "quiet", on: { click: toggle } }, made("span", { class: "dot" }), made("span")));
  }

  curves() {
    const parts = [...new Set(this.runs.filter((run) => run.points.epoch.length).map(partOf))].sort();
    this.drawn.hidden = !parts.length;
    const chosen = parts.includes(this.part.value) ? this.part.value : parts.includes("") ? "" : parts[0];
    keep(this.part, parts, (part) => part || "full", (part) => made("option", { value: part }), (element, part) => write(element, PARTS[part] ?? part));
    this.part.value = chosen;
    this.part.hidden = parts.length < 2;
    const seconds = this.across.value === "seconds";
    let runs = this.runs.filter((run) => partOf(run) === chosen && run.points.epoch.length);
    const line = (run, name, more = {}) => ({ key: run.id + (more.dashed ? " training" : ""), name: run.name, colour: this.colours.get(run.id), x: run.points[this.across.value], y: run.points[name], ...more });
    const axis = [seconds ? "training time" : "epoch", seconds ? measured : String, !seconds];
    keep(this.legend, runs, (run) => run.id, (run) => this.legendOf(run), (element, run) => {
      const [dot, name] = element.firstElementChild.children;
      dot.style.background = this.colours.get(run.id);
      setText(name, run.name);
      element.firstElementChild.setAttribute("aria-pressed", String(!this.hidden.has(run.id)));
    });
    runs = runs.filter((run) => !this.hidden.has(run.id));
    this.charts[0].draw(runs.map((run) => line(run, "top1")), ...axis);
    this.charts[1].draw(runs.flatMap((run) => [line(run, "train_loss", { dashed: true }), line(run, "loss")]), ...axis);
  }
}

/** The process that trains, in words; the board has them in English, as the lock says them. */
function holder({ holder: said }) {
  const [, n, machine] = said?.match(/^process (\d+) on (.+)$/) ?? [];
  return n ? say("process {n} on {machine}", { n, machine }) : said;
}

/** The time that is left of a comparison, in words. */
function timeLeft(study) {
  return study.state === "running" && study.ends_at ? say("about {left} left", { left: duration(Math.max(0, study.ends_at - known.now())) }) : "";
}

/** What can be done with a comparison or a run: [name, what makes the element]. */
function acts(what) {
  const found = [];
  if (what.report) found.push([`report ${what.report}`, () => made("a", { class: "button", href: what.report, target: "_blank", rel: "noopener", say: "Report" })]);
  if (known.control && what.state === "running") found.push(["stop", () => button("Stop", () => act("stop", what))]);
  if (known.control && ["stopped", "failed", "interrupted"].includes(what.state) && (what.again || what.study === null)) found.push(["resume", () => button("Resume", () => act("resume", what))]);
  return found;
}

const button = (text, listener) => made("button", { type: "button", say: text, on: { click: listener } });

// What trains now

const card = () => made("div", { class: "panel" }, made("h3"), made("div", { class: "bar", role: "progressbar", named: "Steps of the run", "aria-valuemin": 0, "aria-valuemax": 100 }, made("span")), made("p", { class: "note numbers" }));

function progress(element, run, tint) {
  const [name, bar, note] = element.children, last = run.points.top1.at(-1);
  const share = run.steps ? Math.min(1, (run.step ?? 0) / run.steps) : 0;
  setText(name, run.name);
  name.style.setProperty("--tint", tint);
  bar.firstElementChild.style.width = `${100 * share}%`;
  bar.firstElementChild.style.background = tint;
  bar.setAttribute("aria-valuenow", Math.round(100 * share));
  const left = run.ends_at ? say("{left} left", { left: duration(Math.max(0, run.ends_at - known.now())) }) : say("no epoch has ended yet");
  const parts = [run.epoch ? say("epoch {n}", { n: run.epoch }) : "", isNumber(last) ? `top-1 ${percent(last)}` : "", left, run.study === null ? holder(run) : ""];
  setText(note, parts.filter(Boolean).join(" · "));
}

// All runs

/** The runs of a comparison that wait, and those that failed before they had a folder. */
const withoutFolder = (study) => [
  ...study.waiting.map((name) => ({ id: `waiting ${name}`, name, state: "waiting" })),
  ...study.failed.map(([name, reason]) => ({ id: `failed ${name}`, name, state: "failed", reason })),
];

const row = () => made("tr", {}, made("th", { scope: "row" }, made("span", { class: "name" }), made("span", { class: "acts" })), made("td", { class: "text" }, made("span", { class: "tag" }), made("div", { class: "reason" })), ...Array.from({ length: 5 }, () => made("td")));

function fill(element, run) {
  const [head, state, epoch, top1, loss, result, time] = element.children, points = run.points;
  setText(head.firstElementChild, run.name);
  setPhrase(state.firstElementChild, STATES[run.state]);
  state.firstElementChild.dataset.state = run.state;
  if (!points) { setText(state.lastElementChild, run.reason ? spoken(run.reason) : ""); return; }
  keep(head.lastElementChild, run.study === null ? acts(run) : [], ([name]) => name, ([, make]) => make());
  const why = [run.said[0].includes(run.reason[0]) ? "" : spoken(run.reason), run.state === "interrupted" ? say("its process ended without a word: killed, out of memory or a power cut") : "", spoken(run.warning), spoken(run.said)];
  setText(state.lastElementChild, why.filter(Boolean).join(" "));
  setText(epoch, isNumber(run.epoch) ? String(run.epoch) : "");
  setText(top1, percent(points.top1.at(-1)));
  setText(loss, three(points.loss.at(-1)));
  setText(time, measured(run.result?.seconds ?? run.seconds));
  keep(result, run.result ? [run] : [], () => String(run.intact), () => numberOf(run), (child) => setText(child, percent(run.result.top1)));
}

/** The score of a run, which opens its pictures where it has predictions. */
function numberOf(run) {
  if (!run.intact) return made("span");
  return made("button", { type: "button", class: "link", "aria-haspopup": "dialog", on: { click: () => openPictures(run) } });
}
