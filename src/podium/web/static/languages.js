// The languages of a page: English as it is written, Chinese from phrase books, switched by the button #language.
//
// A phrase is an English text with {holes}; a phrase book (JSON) has its Chinese form with the same holes. In the page `data-say`
// marks an element whose text is a phrase, `data-say-label` one whose aria-label is, and `data-say-hint` one whose placeholder is.
// A script calls `write(element, phrase, values)`, and the element follows the switch from then on. Values are never translated:
// they are names and numbers. What a server says comes as a whole English sentence; it is recognised by its phrase, and what stands
// in the holes of that is put into the Chinese form.

const root = document.documentElement, CHINESE = "zh-Hans";
const HOLE = /\{(\w+)\}/g;
const phrases = new Map();
const listeners = [];
const LEAST = 7; // letters of a phrase that recognise a sentence
let patterns = []; // [pattern, form] of the phrases with holes, those with the longest text first

/** Whether the page speaks Chinese now. */
export const isChinese = () => root.lang === CHINESE;

/** A phrase, or a sentence of a server, in the language of now, with values in the holes of a phrase. */
export function say(phrase, values = {}) {
  const form = phrases.get(phrase);
  if (isChinese() && form === undefined) return recognised(phrase) ?? phrase;
  return filled(isChinese() ? form : phrase, values);
}

const filled = (form, values) => form.replace(HOLE, (hole, key) => Object.hasOwn(values, key) ? values[key] : hole);

/** The Chinese form of a sentence that was made of a phrase; null where no phrase fits. */
function recognised(sentence) {
  for (const [pattern, form] of patterns) {
    const found = pattern.exec(sentence);
    if (found) return form.replace(HOLE, (hole, key) => inside(found.groups[key]));
  }
  return null;
}

const inside = (text) => (text.includes(" ") ? say(text) : text); // a word is a name

/** What recognises the sentences that a phrase can become; a hole that is there twice has the same in it. */
function patternOf(phrase) {
  const written = phrase.split(HOLE).map((part, n, parts) => {
    if (n % 2 === 0) return part.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
    return parts.findIndex((other, k) => k % 2 === 1 && other === part) < n ? `\\k<${part}>` : `(?<${part}>.+?)`;
  });
  return new RegExp(`^${written.join("")}$`, "s");
}

const wordsOf = (phrase) => phrase.replace(HOLE, "").replace(/[^A-Za-z]/g, "").length;

/** Make a phrase the text of an element, in whichever language the page speaks. */
export function write(element, phrase, values = {}) {
  element.dataset.say = phrase;
  element.dataset.values = JSON.stringify(values);
  element.textContent = say(phrase, values);
  return element;
}

/** Make a phrase the aria-label of an element; arguments as of `write`. */
export function label(element, phrase, values = {}) {
  element.dataset.sayLabel = phrase;
  element.dataset.labelValues = JSON.stringify(values);
  element.setAttribute("aria-label", say(phrase, values));
  return element;
}

/** Call a function after each change of the language, for what is not text, such as a chart. */
export const onLanguage = (listener) => listeners.push(listener);

/**
 * Read the phrase books and begin in the language of the last visit, or else of the browser.
 *
 * @param {...string} books - addresses of JSON files; a book that cannot be read leaves its texts English.
 */
export async function beginLanguages(...books) {
  const read = async (book) => { try { return await (await fetch(book)).json(); } catch { return {}; } };
  for (const book of await Promise.all(books.map(read))) for (const [phrase, form] of Object.entries(book)) phrases.set(phrase, form);
  const made = [...phrases.keys()].filter((phrase) => phrase.includes("{") && wordsOf(phrase) >= LEAST);
  patterns = made.sort((one, two) => wordsOf(two) - wordsOf(one)).map((phrase) => [patternOf(phrase), phrases.get(phrase)]);
  const button = document.getElementById("language");
  button?.addEventListener("click", () => {
    const other = isChinese() ? "en" : CHINESE;
    try { localStorage.setItem("podium-language", other); } catch { /* a page that may not store forgets */ }
    speak(other);
  });
  let stored = null;
  try { stored = localStorage.getItem("podium-language"); } catch { /* begins as the browser is */ }
  const browsers = (navigator.language || "").startsWith("zh") ? CHINESE : "en";
  speak(["en", CHINESE].includes(stored) ? stored : browsers);
}

/** Put every text of the page into a language. */
function speak(language) {
  root.lang = language;
  for (const element of document.querySelectorAll("[data-say], [data-say-label], [data-say-hint]")) {
    const { dataset } = element;
    if (dataset.say !== undefined) {
      dataset.say ||= element.textContent.trim();
      element.textContent = say(dataset.say, JSON.parse(dataset.values || "{}"));
    }
    if (dataset.sayLabel !== undefined) {
      dataset.sayLabel ||= element.getAttribute("aria-label");
      element.setAttribute("aria-label", say(dataset.sayLabel, JSON.parse(dataset.labelValues || "{}")));
    }
    if (dataset.sayHint !== undefined) {
      dataset.sayHint ||= element.placeholder;
      element.placeholder = say(dataset.sayHint);
    }
  }
  const button = document.getElementById("language");
  if (button) {
    button.textContent = isChinese() ? "English" : "中文"; // the button names the other language
    button.lang = isChinese() ? "en" : CHINESE;
  }
  listeners.forEach((listener) => listener());
}
