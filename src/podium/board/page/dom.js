// Small helpers that make and keep elements. Text is only ever set as text, so a name with markup in it stays a name.
import { label, write } from "../static/languages.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * @param {string} tag - its name.
 * @param {object} given - attributes; `say` is a phrase with `values` in its holes, `named` one for a screen reader, `on` listeners.
 * @param {...(Node|string)} children - what is in it.
 */
export function made(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  const { say, values, named, on, ...attributes } = given;
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  if (say !== undefined) write(element, say, values);
  if (named !== undefined) label(element, named, values);
  for (const [event, listener] of Object.entries(on ?? {})) element.addEventListener(event, listener);
  element.append(...children);
  return element;
}

/** Make an element of SVG. */
export function drawn(tag, attributes = {}, text = null) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

/** Give an element a text, if it has another. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

/** Give an element a phrase with values, if it has another. */
export function setPhrase(element, phrase, values = {}) {
  if (element.dataset.say !== phrase || element.dataset.values !== JSON.stringify(values)) write(element, phrase, values);
  return element;
}

/**
 * Keep the children of an element equal to a list. A child stays the same element as long as its key is in the list, so that the
 * keyboard's focus and what a person has opened stay where they are.
 *
 * @param {Element} parent - whose children are kept.
 * @param {Array} items - the list.
 * @param {(item) => string} key - of an item.
 * @param {(item) => Element} make - makes the child of an item.
 * @param {(element, item) => void} update - brings a child up to date.
 */
export function keep(parent, items, key, make, update = () => {}) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = before.get(name);
    before.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  before.forEach((child) => child.remove());
}
