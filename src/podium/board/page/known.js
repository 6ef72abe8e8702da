// All that the page knows of the board's folder, kept up to date with what is new.
import { inOrder } from "./format.js";

const POINTS = ["epoch", "step", "seconds", "train_loss", "loss", "top1"];
export const SINGLE = "single"; // in the place of a comparison: the runs that belong to none

/** All that the page knows. `runsOf(id)` are the runs of a comparison, in the order of their names. */
export const known = {
  studies: new Map(),
  runs: new Map(),
  control: false,
  folder: "",
  full: false,
  shift: 0, // seconds that the board's clock is ahead of the browser's
  now: () => Date.now() / 1000 + known.shift,
  runsOf: (id) => [...known.runs.values()].filter((run) => (run.study ?? SINGLE) === id).sort((one, two) => inOrder(one.name, two.name)),
};

/**
 * Take in what is new.
 *
 * @param {object} news - as the board sends it.
 * @param {(before: object|undefined, after: object) => void} tell - called with each comparison and single run before it is kept.
 */
export function take(news, tell) {
  if (news.whole) { known.studies.clear(); known.runs.clear(); }
  Object.assign(known, { control: news.control, folder: news.folder, full: news.full, shift: news.now - Date.now() / 1000 });
  for (const id of news.gone) { known.studies.delete(id); known.runs.delete(id); }
  for (const study of news.studies) { tell(known.studies.get(study.id), study); known.studies.set(study.id, study); }
  for (const run of news.runs) {
    const before = known.runs.get(run.id);
    if (!run.study) tell(before, run);
    known.runs.set(run.id, { ...run, points: joined(before?.points, run.points) });
  }
}

/** The points of a run so far with those that are new. */
function joined(before, news) {
  if (!news) return before ?? Object.fromEntries(POINTS.map((name) => [name, []]));
  return Object.fromEntries(POINTS.map((name) => [name, news.whole || !before ? news[name] : before[name].concat(news[name])]));
}

/** The share of a comparison's training that is done: finished runs count whole, others by their steps. */
export function shareOf(study, runs) {
  const done = runs.map((run) => (run.state === "finished" ? 1 : run.steps ? Math.min(1, (run.step ?? 0) / run.steps) : 0));
  return done.reduce((sum, each) => sum + each, 0) / Math.max(1, runs.length + study.waiting.length);
}
