// Two runs beside each other: the settings that differ, their curves in one chart, and of finished ones the paired test and the images
// on which they disagree, as `podium diff` has them.
import { isChinese, say } from "../static/languages.js";
import { asked } from "./asking.js";
import { Chart } from "./chart.js";
import { keep, made, setText } from "./dom.js";
import { percent, spoken, three } from "./format.js";
import { picture } from "./pictures.js";

/** The section that compares two runs. */
export class Comparison {
  /** @param {string} id - of the comparison whose runs can be chosen. */
  constructor(id) {
    this.id = id;
    const chosen = () => { this.chosen = true; this.update(this.runs, this.colours); };
    this.selects = [made("select", { named: "First run", on: { change: chosen } }), made("select", { named: "Second run", on: { change: chosen } })];
    this.charts = [new Chart("Top-1", (value) => percent(value, 1)), new Chart("Loss: solid on held-out images, dashed on training images", three)];
    this.dots = this.selects.map(() => made("span", { class: "dot" }));
    this.settings = made("div");
    this.outcome = made("div", { role: "region", named: "Where they disagree" });
    this.element = made("section", { id: "compare" }, made("h2", { say: "Two runs compared" }), made("p", { class: "choose" }, ...this.selects.map((select, n) => made("span", { class: "one" }, this.dots[n], select))),
      this.settings, made("div", { class: "pair charts" }, ...this.charts.map((chart) => chart.element)), this.outcome);
    this.told = "";
  }

  /** Bring it up to date with the runs and the colours of their curves. */
  update(runs, colours) {
    Object.assign(this, { runs, colours });
    this.element.hidden = runs.length < 2;
    if (runs.length < 2) return;
    const own = runs.filter((run) => run.points.epoch.length || run.intact), order = own.length > 1 ? own : runs;
    this.selects.forEach((select, n) => {
      const before = select.value;
      keep(select, order, (run) => run.id, (run) => made("option", { value: run.id }), (element, run) => setText(element, run.name));
      select.value = order.some((run) => run.id === before) ? before : order[Math.min(n, order.length - 1)].id;
    });
    const [one, two] = this.selects.map((select) => runs.find((run) => run.id === select.value));
    [one, two].forEach((run, n) => { this.dots[n].style.background = colours.get(run.id); });
    this.curves([one, two]);
    if (!this.chosen && !this.near) { this.wait(); return; }
    this.ask(one, two);
  }

  /** Ask nothing before a person has come here: an answer takes the processor that trains. */
  wait() {
    if (this.observer) return;
    this.observer = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      this.observer.disconnect();
      this.near = true;
      this.update(this.runs, this.colours);
    });
    this.observer.observe(this.selects[0]);
  }

  curves(pair) {
    const kinds = pair[0] === pair[1] ? [pair[0]] : pair;
    const line = (run, name, dashed = false) => ({ key: run.id + (dashed ? " training" : ""), name: run.name, colour: this.colours.get(run.id), x: run.points.epoch, y: run.points[name], dashed });
    this.charts[0].draw(kinds.map((run) => line(run, "top1")), "epoch", String, true);
    this.charts[1].draw(kinds.flatMap((run) => [line(run, "train_loss", true), line(run, "loss")]), "epoch", String, true);
    this.charts.forEach((chart) => { chart.element.hidden = !kinds.some((run) => run.points.epoch.length); });
  }

  async ask(one, two) {
    const about = `${one.id} ${two.id} ${one.intact} ${two.intact} ${isChinese()}`;
    if (about === this.told) return;
    this.told = about;
    const stale = () => about !== this.told;
    try {
      const { settings } = await asked(`api/settings/${one.id}/${two.id}`);
      if (stale()) return;
      this.settings.replaceChildren(settings.length ? differing(settings, one, two) : made("p", { class: "note", say: "Their settings are the same." }));
      if (one === two) { this.outcome.replaceChildren(); return; }
      if (!one.intact || !two.intact) { this.outcome.replaceChildren(made("p", { class: "note", say: "The paired test and the images appear once both are finished." })); return; }
      this.outcome.replaceChildren(made("p", { class: "note", role: "status", say: "Comparing their answers..." }));
      const found = await asked(`api/compare/${one.id}/${two.id}`);
      if (!stale()) this.outcome.replaceChildren(...outcome(found));
    } catch (error) {
      if (!stale()) this.outcome.replaceChildren(made("p", { class: "failed", role: "alert" }, error.message));
    }
  }
}

const table = (head, rows) => made("div", { class: "scroll", tabindex: 0, role: "region", named: "Table" }, made("table", {},
  made("thead", {}, made("tr", {}, ...head)),
  made("tbody", {}, ...rows.map(([name, ...cells]) => made("tr", {}, made("th", { scope: "row" }, name), ...cells.map((cell) => made("td", {}, cell)))))));
const column = (text) => made("th", { scope: "col", say: text });
const named = (text) => made("th", { scope: "col" }, text);

function differing(settings, one, two) {
  const long = settings.length > 8, rows = table([column("setting"), named(one.name), named(two.name)], settings);
  if (!long) return made("div", {}, made("h3", { say: "Settings that differ" }), rows);
  return made("details", {}, made("summary", { say: "{n} settings differ", values: { n: settings.length } }), made("div", {}, rows));
}

/** A cell of the scores, which come in English: a name, a value, a difference or an interval. */
function inWords(cell) {
  const [value, points] = cell.replace(" to ", " – ").split(" points");
  return points === undefined ? say(value) : say("{n} points", { n: value });
}

function outcome(found) {
  const [one, two] = found.names, { both, first, second, neither } = found.table;
  const counts = table([made("th", { scope: "col" }, spoken(found.images)), column("right in the second"), column("wrong in the second")],
    [[say("{name} right", { name: one }), String(both), String(first)], [say("{name} wrong", { name: one }), String(second), String(neither)]]);
  const scores = table([column("score"), named(one), named(two), column("difference"), column("95 % interval")], found.scores.map((cells) => cells.map(inWords)));
  const share = (value) => (100 * value).toFixed(1);
  const classes = table([column("class"), column("images"), named(`${one}, %`), named(`${two}, %`), column("difference"), column("95 % interval")],
    found.classes.map((row) => [row.class, String(row.n), share(row.first), share(row.second), share(row.difference), `${share(row.low)} – ${share(row.high)}${row.clear ? " *" : ""}`]));
  const titles = { first: ["Only {name} is right", one], second: ["Only {name} is right", two], neither: ["Both are wrong, with different answers", ""] };
  const kinds = Object.entries(found.disagreements).filter(([, { count }]) => count).map(([kind, { count, shown }]) => made("div", {},
    made("h3", {}, `${say(titles[kind][0], { name: titles[kind][1] })}: ${count}`), made("div", { class: "gallery" }, ...shown.map((image) => pair(image, found.names)))));
    return [made("p", { class: "lead" }, spoken(found.verdict)), ...found.notes.map((note) => made("p", { class: "note" }, spoken(note))),
    made("div", { class: "pair" }, counts, scores),
    made("details", {}, made("summary", { say: "Recall of each class" }), made("div", {}, classes, made("p", { class: "note", say: "Intervals of the difference at 95 % for all classes at once; * where they tell." }))), ...kinds];
}

function pair(image, names) {
  const answers = ["first", "second"].map((side, n) => made("span", { class: image[side] === image.class ? "best" : "failed" }, `${names[n]}: ${image[side]}, ${Math.round(100 * image[`${side}_confidence`])} %`));
  return made("figure", { title: image.image ?? "" }, picture(image.picture, `${image.class}, ${image.image ?? ""}`), made("figcaption", {}, made("b", {}, image.class), made("br"), answers[0], made("br"), answers[1]));
}
