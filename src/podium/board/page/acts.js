// Stopping and resuming runs, each after a question.
import { asked } from "./asking.js";
import { made } from "./dom.js";

const QUESTIONS = {
  stop: ["Stop {name}?", "Its current step is finished and a checkpoint is saved. It can be resumed from here, and ends as if it had never been stopped.", "Stop"],
  resume: ["Resume {name}?", "The command line that it was started with goes on with it, in a process of its own that lives on when this board ends.", "Resume"],
};

/**
 * Stop or resume a run or comparison.
 *
 * @param {"stop"|"resume"} what - to do.
 * @param {object} whose - the run or comparison.
 */
export function act(what, whose) {
  const [question, explained, answer] = QUESTIONS[what];
  const heading = made("h2", { id: "act-title", say: question, values: { name: whose.name } }), failure = made("p", { class: "failed", role: "alert" });
  const command = what === "resume" && whose.again ? [made("p", {}, made("code", {}, whose.again))] : [];
  const go = made("button", { type: "button", class: "main", say: answer }), no = made("button", { type: "button", say: "Cancel" });
  const dialog = made("dialog", { class: "small", "aria-labelledby": "act-title" }, heading, made("p", { class: "note", say: explained }), ...command, failure, made("p", { class: "acts" }, go, no));
  no.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  go.addEventListener("click", async () => {
    go.disabled = true;
    try {
      await asked(`api/${what}/${whose.id}`, { method: "POST" });
      dialog.close();
      return;
    } catch (error) {
      failure.textContent = error.message;
    }
    go.disabled = false;
  });
  document.body.append(dialog);
  dialog.showModal();
}
