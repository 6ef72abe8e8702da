// Questions to the board, and what it says where it refuses to answer.
import { isChinese, say } from "../static/languages.js";
import { send } from "../static/requests.js";

/** A refusal of the board, whose message is in the language of the page. */
class Refused extends Error {
  constructor({ message, fix }) {
    super([say(message), fix && say(fix)].filter(Boolean).join(isChinese() ? "；" : "; "));
  }
}

/** An answer of the board as JSON; throws an Error whose message is for people where it has none. */
export async function asked(address, options = {}) {
  try {
    const response = await send(address, options), content = await response.json();
    if (response.ok) return content;
    throw new Refused(content);
  } catch (error) {
    throw error instanceof Refused ? error : new Error(say("The board does not answer. It may have been stopped."));
  }
}
