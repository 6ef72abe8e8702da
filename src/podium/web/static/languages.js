// The languages of a page: English as it is written, Chinese from phrase books, switched by the button #language.
//
// A phrase is an English text with {holes}; a phrase book (JSON) has its Chinese form with the same holes. In the page `data-say`
// marks an element whose text is a phrase, `data-say-label` one whose aria-label is, and `data-say-hint` one whose placeholder is.
// A script calls `write(element, phrase, values)`, and the element follows the switch from then on. Values are never translated:
// they are names and numbers.

const root = document.documentElement, CHINESE = "zh-Hans";
const phrases = {};
const listeners = [];

/** Whether the page speaks Chinese now. */
export const isChinese = () => root.lang === CHINESE;

/** A phrase in the language of now, with values in its holes. */
export function say(phrase, values = {}) {
  const form = isChinese() && phrases[phrase] || phrase;
  return form.replace(/\{(\w+)\}/g, (hole, key) => Object.hasOwn(values, key) ? values[key] : hole);
}

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
  Object.assign(phrases, ...await Promise.all(books.map(read)));
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
