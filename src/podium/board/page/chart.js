// Curves over epochs or time, as a small SVG. A chart keeps its lines and gives them new points; the nearest point is named on hover.
import { label, onLanguage, say } from "../static/languages.js";
import { drawn, keep, made, setText } from "./dom.js";

const HEIGHT = 260, LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 34;
const NEAR = 40; // pixels from a point within which it is named

/** A chart: `element` is the figure to put into a page. */
export class Chart {
  /**
   * @param {string} title - a phrase.
   * @param {(value: number) => string} format - a value of the vertical axis for people.
   */
  constructor(title, format) {
    this.title = title;
    this.format = format;
    this.lines = [];
    this.width = 560;
    this.svg = drawn("svg", { role: "img" });
    this.grid = drawn("g", { class: "grid" });
    this.curves = drawn("g", { class: "curves" });
    this.mark = drawn("circle", { r: 4, class: "mark", visibility: "hidden" });
    this.svg.append(this.grid, this.curves, this.mark);
    this.tip = made("div", { class: "tip", hidden: "" });
    this.element = made("figure", { class: "chart" }, made("figcaption", { say: title }), made("div", { class: "plot" }, this.svg, this.tip));
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.unpoint());
    new ResizeObserver(([entry]) => this.resize(entry.contentRect.width)).observe(this.svg.parentElement);
    onLanguage(() => this.paint());
  }

  /**
   * Draw lines.
   *
   * @param {Array<{key: string, name: string, colour: string, dashed: boolean, x: number[], y: number[]}>} lines - their points;
   *   a `null` is left out.
   * @param {string} across - a phrase that says what the horizontal axis has.
   * @param {(value: number) => string} formatAcross - a value of it for people.
   * @param {boolean} whole - whether the horizontal axis has whole numbers only.
   */
  draw(lines, across, formatAcross, whole) {
    Object.assign(this, { lines, across, formatAcross, whole });
    this.paint();
  }

  resize(width) {
    if (width > 0 && Math.abs(width - this.width) > 1) {
      this.width = width;
      this.paint();
    }
  }

  paint() {
    if (!this.across) return;
    const shown = this.lines.filter((line) => line.y.some((value) => value !== null));
    const [x0, x1] = extent(shown.map((line) => line.x), this.whole), [low, high] = extent(shown.map((line) => line.y));
    const ys = ticks(low, high, 5), room = (high - low) / 25, y0 = Math.min(low - room, ys[0]), y1 = Math.max(high + room, ys.at(-1));
    this.x = (value) => LEFT + (this.width - LEFT - RIGHT) * (value - x0) / (x1 - x0 || 1);
    this.y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - y0) / (y1 - y0 || 1);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("height", HEIGHT);
    this.axes(shown.length ? ys : [], shown.length ? ticks(x0, x1, Math.max(2, Math.floor(this.width / 110)), this.whole) : []);
    keep(this.curves, shown, (line) => line.key, () => drawn("polyline", { fill: "none" }), (element, line) => {
      element.setAttribute("points", this.path(line));
      element.setAttribute("stroke", line.colour);
      element.setAttribute("class", `line${line.dashed ? " dashed" : ""}${line.y.length === 1 ? " dot" : ""}`);
    });
    const best = shown.map((line) => `${line.name} ${this.format(line.y.findLast((value) => value !== null))}`);
    const more = best.length > 8 ? say("and {n} more", { n: best.length - 8 }) : "";
    label(this.svg, "{title}: {lines} {more}", { title: say(this.title), lines: best.slice(0, 8).join(", "), more });
  }

  axes(ys, xs) {
    const parts = [];
    for (const value of ys) {
      const y = this.y(value);
      parts.push(drawn("line", { x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }));
      parts.push(drawn("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, this.format(value)));
    }
    for (const value of xs) parts.push(drawn("text", { x: this.x(value), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, this.formatAcross(value)));
    parts.push(drawn("text", { x: this.width - RIGHT, y: HEIGHT - 3, "text-anchor": "end", class: "across" }, say(this.across)));
    this.grid.replaceChildren(...parts);
  }

  path(line) {
    const points = [];
    line.y.forEach((value, n) => { if (value !== null && line.x[n] !== null) points.push(`${this.x(line.x[n]).toFixed(1)},${this.y(value).toFixed(1)}`); });
    return points.length === 1 ? `${points[0]} ${points[0]}` : points.join(" "); // a first epoch is a dot
  }

  point(event) {
    const box = this.svg.getBoundingClientRect(), scale = this.width / box.width;
    const px = (event.clientX - box.left) * scale, py = (event.clientY - box.top) * scale;
    let nearest = null;
    for (const line of this.lines) {
      line.y.forEach((value, n) => {
        if (value === null || line.x[n] === null) return;
        const far = Math.hypot(this.x(line.x[n]) - px, this.y(value) - py);
        if (far < (nearest?.far ?? NEAR)) nearest = { far, line, x: line.x[n], y: value };
      });
    }
    if (!nearest) { this.unpoint(); return; }
    const { line, x, y } = nearest;
    for (const [name, value] of [["cx", this.x(x)], ["cy", this.y(y)], ["fill", line.colour], ["visibility", "visible"]]) this.mark.setAttribute(name, value);
    this.curves.querySelectorAll(".line").forEach((each) => each.classList.toggle("pointed", each.dataset.key === line.key));
    setText(this.tip, `${line.name}: ${this.format(y)}, ${say(this.across)} ${this.formatAcross(x)}`);
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(this.x(x) / scale, box.width - this.tip.offsetWidth - 4)}px`;
    this.tip.style.top = `${Math.max(0, this.y(y) / scale - 34)}px`;
  }

  unpoint() {
    this.mark.setAttribute("visibility", "hidden");
    this.tip.hidden = true;
    this.curves.querySelectorAll(".pointed").forEach((each) => each.classList.remove("pointed"));
  }
}

/** The lowest and the highest value of lists; of one value a range around it, `whole` or in proportion. */
function extent(lists, whole = false) {
  let low = Infinity, high = -Infinity;
  for (const list of lists) for (const value of list) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) return [0, 1];
  const around = whole ? 1 : Math.abs(low || 1) / 2;
  return low === high ? [low - around, high + around] : [low, high];
}

/** Round numbers that a range is divided by. */
function ticks(low, high, count, whole = false) {
  const rough = Math.max((high - low) / count, whole ? 1 : 0), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) found.push(Number((n * step).toPrecision(12)));
  return found.length ? found : [low];
}
