// The leaderboard of a comparison: the cells of leaderboard.csv, or of what has finished so far, each behind its pictures.
import { made, setPhrase } from "./dom.js";
import { isNumber, measured, percent, short, spoken, three } from "./format.js";
import { openPictures } from "./pictures.js";

const points = (share) => (isNumber(share) ? (100 * share).toFixed(2) : "");
const isShare = (row) => row.ranked_by !== "log-loss";
// What of a run's pictures is shown first, by the score that ranks.
const BEHIND = { "log-loss": "losses", "macro-f1": "f1", "balanced-accuracy": "recall" };
// [column, heading, format, what is shown first of the pictures behind it; none: there are none]
const COLUMNS = [
  ["score", "score that ranks", (value, row) => (isShare(row) ? percent(value) : three(value)), (row) => BEHIND[row.ranked_by] ?? "mistakes"],
  ["behind", "behind the best", (value, row) => (isShare(row) ? points(value) : three(value))],
  ["top1", "top-1", (value) => percent(value), () => "mistakes"],
  ["top5", "top-5", (value) => percent(value), () => "mistakes"],
  ["macro_f1", "macro F1", (value) => value?.toFixed(3) ?? "", () => "f1"],
  ["loss", "log-loss", three, () => "losses"],
  ["linear_probe", "linear probe", (value) => percent(value)],
  ["params", "parameters", short],
  ["macs", "multiply-adds", short],
  ["size_mb", "size, MB", three],
  ["latency_p50_ms", "latency p50, ms", three],
  ["train_seconds", "training time", measured],
];

/** The images that a score which ranks is of: "val" where the result reports others. */
const ranking = (row, run) => (row.ranked_on === "val" && run.result.split !== "val" ? "val" : "");

/** A row of the file by the names of its columns; numbers as numbers, empty cells left out. */
function parsed(columns, cells) {
  const row = {};
  columns.forEach((name, n) => { if (cells[n] !== "") row[name] = cells[n] !== "" && !Number.isNaN(Number(cells[n])) ? Number(cells[n]) : cells[n]; });
  return row;
}

/**
 * Fill the section of the leaderboard.
 *
 * @param {Element} section - with a note and a place for the table.
 * @param {object} study - the comparison.
 * @param {Array} runs - its runs, whose pictures open.
 */
export function leaderboard(section, study, runs) {
  const { columns, rows } = study.table;
  const all = rows.map((cells) => ({ cells, row: parsed(columns, cells) }));
  const used = COLUMNS.filter(([name]) => all.some(({ row }) => row[name] !== undefined) && (name !== "top5" || all.some(({ row }) => row.top5 < 1)));
  const [, note, place] = section.children;
  setPhrase(note, study.decided ? "As leaderboard.csv has it. A score opens the images behind it." : "Of the runs that are finished so far; places change until all are. A score opens the images behind it.");
  const head = made("tr", {}, made("th", { scope: "col", say: "network" }), ...used.map(([, text]) => made("th", { scope: "col", say: text })), made("th", { scope: "col", class: "text", say: "remarks" }));
  const body = all.map(({ row, cells }) => line(row, cells, columns, used, study, runs));
  place.replaceChildren(made("table", { "data-name": "leaderboard" }, made("thead", {}, head), made("tbody", {}, ...body)));
}

/** Why a network failed, in the language of the page: its run, or the comparison, has it in both. */
const why = (error, study, runs) => spoken([...study.failed.map(([, reason]) => reason), ...runs.map((run) => run.reason)].find(([english]) => english === error) ?? [error]);

function line(row, cells, columns, used, study, runs) {
  const name = made("th", { scope: "row", class: row.recommended === "True" && study.decided ? "best" : "" }, String(row.model ?? ""));
  if (row.error !== undefined) return made("tr", {}, name, made("td", { colspan: used.length + 1, class: "text failed" }, why(String(row.error), study, runs)));
  const run = runs.find((each) => each.name === row.run);
  const shown = used.map(([key, , format, opens]) => {
    const text = row[key] === undefined ? "" : format(row[key], row);
    const cell = made("td", { "data-column": key, "data-value": cells[columns.indexOf(key)] });
    if (opens && run?.intact && text) cell.append(made("button", { type: "button", class: "link", "aria-haspopup": "dialog", on: { click: () => openPictures(run, opens(row), key === "score" ? ranking(row, run) : "") } }, text));
    else cell.append(text);
    if (key === "top1" && isNumber(row.top1_low)) cell.append(made("div", { class: "interval" }, `${points(row.top1_low)}-${points(row.top1_high)}`));
    return cell;
  });
  const said = [];
  if (row.recommended === "True" && study.decided) said.push(made("span", { class: "tag take", say: "recommended" }));
  if (row.worse === "True") said.push(made("span", { class: "tag", say: "worse" }));
  if (row.learned === "False") said.push(made("span", { class: "tag", say: "not learned" }));
  if (row.pareto === "True" && isNumber(row.latency_p50_ms)) said.push(made("span", { class: "tag", say: "Pareto front" }));
  if (row.trained === "False") said.push(made("span", { class: "tag", say: "not trained" }));
  if (row.heat !== undefined) said.push(made("span", { class: "tag", say: "heat {n} only", values: { n: row.heat } }));
  return made("tr", {}, name, ...shown, made("td", { class: "text remarks" }, ...said));
}

