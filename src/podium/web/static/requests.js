// Requests to the server that sent the page, with its token where it wants one. The token lives as long as the tab, and nowhere else.
import { label, write } from "./languages.js";

const KEY = "podium-token";
let entering = null; // the dialog that is open, which several refused requests wait for

const stored = () => { try { return sessionStorage.getItem(KEY); } catch { return null; } };
let token = stored();

/**
 * Fetch an address of this server. Where the token is missing or wrong, the person is asked for it and the request is sent again.
 *
 * @param {string} address - relative to the page.
 * @param {RequestInit} options - as of `fetch`; a body must be one that can be sent twice, so no stream.
 * @returns {Promise<Response>} the answer, which has the status 401 where the person gave no token.
 */
export async function send(address, options = {}) {
  for (;;) {
    const used = token;
    const response = await fetch(address, { cache: "no-store", ...options, headers: { ...options.headers, ...bearer() } });
    if (response.status !== 401) return response;
    if (used === token && !await (entering ??= enter(used !== null).finally(() => { entering = null; }))) return response;
  }
}

const bearer = () => (token === null ? {} : { Authorization: `Bearer ${token}` });

/** Ask for the token in a dialog; whether one was given. */
function enter(wrong) {
  const dialog = made("dialog", "small"), form = made("form"), header = made("header");
  const heading = write(made("h2"), "This server wants a token"), input = made("input"), row = made("p", "row");
  const note = "Its owner has it: the content of the file given as --token-file, or of PODIUM_TOKEN. It is kept until this tab is closed.";
  heading.id = "token-title";
  dialog.setAttribute("aria-labelledby", heading.id);
  form.method = "dialog";
  Object.assign(input, { type: "password", required: true, autocomplete: "off", autofocus: true, id: "token" });
  label(input, "Token");
  const close = write(made("button"), "Cancel"), go = write(made("button", "main"), "Continue");
  let given = false;
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  row.append(input, go);
  header.append(heading, close);
  form.append(header, write(made("p", "note"), note), row);
  if (wrong) row.before(write(made("p", "failed"), "That token is not right."));
  dialog.append(form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    form.addEventListener("submit", () => {
      token = input.value.replace(/[^\x21-\x7e]/g, ""); // what a header may hold
      try { sessionStorage.setItem(KEY, token); } catch { /* asks again after a reload */ }
      given = true;
    });
    dialog.addEventListener("close", () => { dialog.remove(); resolve(given); });
    dialog.showModal();
  });
}

function made(name, kind = "") {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  return element;
}
