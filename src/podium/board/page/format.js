// Numbers, times and states as people read them.
import { isChinese, say } from "../static/languages.js";

/** A share as per cent: "93.40 %"; empty for none. */
export const percent = (share, digits = 2) => (isNumber(share) ? `${(100 * share).toFixed(digits)} %` : "");

/** Whether a value is a number that can be shown. */
export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A large number: "61.6 k", "1.27 M", "4.1 G". */
export function short(value) {
  if (!isNumber(value)) return "";
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  return String(value);
}

/** A number with three digits, as a loss. */
export const three = (value) => (isNumber(value) ? Number(value.toPrecision(3)).toString() : "");

/** Seconds in words: "40 s", "12 min", "3 h 20 min"; `measured` ones also "0.4 s". */
export function duration(seconds, measured = false) {
  if (!isNumber(seconds)) return "";
  if (measured && seconds < 9.95) return say("{n} s", { n: Number(seconds.toFixed(1)) });
  if (seconds < 90) return say("{n} s", { n: Math.max(0, Math.round(seconds)) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return say("{n} min", { n: minutes });
  return minutes % 60 ? say("{h} h {m} min", { h: Math.floor(minutes / 60), m: minutes % 60 }) : say("{h} h", { h: minutes / 60 });
}

/** Seconds that were measured, in words. */
export const measured = (seconds) => duration(seconds, true);

/** The phrase of a state. */
export const STATES = {
  waiting: "waiting",
  running: "training",
  elsewhere: "on another machine",
  finished: "finished",
  stopped: "stopped",
  failed: "failed",
  interrupted: "interrupted",
};

/** The phrase of the state of a comparison: after the training its networks are timed and ranked, and so are those of a round. */
export function stateOf(study, runs) {
  const trained = !study.waiting.length && runs.length && runs.every((run) => run.state !== "running");
  return study.state === "running" && trained ? "timing or ranking" : STATES[study.state];
}

/** Names in the order of people: "run2" before "run10". */
export const inOrder = (one, two) => one.localeCompare(two, isChinese() ? "zh" : "en", { numeric: true });

/** The part of a comparison that a run belongs to, by its folder: "" for the runs in full. */
export function partOf(run) {
  const folders = run.name.split("/");
  if (folders.length === 1 || run.study === null) return "";
  return /^fold\d+$/.test(folders.at(-1)) ? "folds" : folders[0];
}

const COLOURS = ["#4583c0", "#c4622d", "#3f9c6b", "#a15db5", "#c2a227", "#c0506e", "#4aa3a8", "#7d6bc9", "#8a7a5c", "#6f8fa8"];

/** The colour of the n-th of a list: ten that are told apart easily, then others around the circle. */
export const colour = (n) => COLOURS[n] ?? `hsl(${(n * 137.5) % 360} 45% 52%)`;

/** A sentence that the board sends as [English, Chinese or null], in the language of the page. */
export const spoken = ([english, chinese]) => (isChinese() && chinese) || english;
