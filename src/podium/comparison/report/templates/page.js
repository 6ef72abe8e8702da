"use strict";
// What a page with charts can do: draw them in the colours of the theme and the words of the language, and sort its tables.
const root = document.documentElement, night = matchMedia("(prefers-color-scheme: dark)");
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const read = id => JSON.parse(document.getElementById(id).textContent);
const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : night.matches;
const words = read("words");
const isChinese = () => root.lang !== "en";
const say = text => isChinese() && words[text] || text;

// Charts

let charts;
function draw(element) {
  const css = getComputedStyle(root), chart = structuredClone((charts ??= read("charts"))[element.dataset.chart]);
  const axis = name => {
    const own = { gridcolor: css.getPropertyValue("--line"), zeroline: false, automargin: true, ...chart.layout[name] };
    const away = name === "yaxis" ? { standoff: 10 } : {}; // from the numbers, however long they are
    return own.title ? { ...own, title: { ...away, ...own.title, text: say(own.title.text) } } : own;
  };
  for (const trace of chart.data) {
    if (trace.type === "heatmap") asShares(trace);
    if (isDark()) Object.assign(trace, (trace.meta || {}).dark);
    for (const key of ["name", "hovertemplate"]) if (trace[key]) trace[key] = say(trace[key]);
    for (const key of trace.meta?.said ?? []) trace[key] = trace[key].map(say); // a text for each point
  }
  const layout = { margin: { t: 24, r: 16, b: 48, l: 56 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css.getPropertyValue("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    hoverlabel: { font: { family: getComputedStyle(document.body).fontFamily } }, legend: { orientation: "h", y: -0.22 },
    ...chart.layout, xaxis: axis("xaxis"), yaxis: axis("yaxis") };
  Plotly.react(element, chart.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
}
// A confusion matrix is stored as counts: the colours are shares of each row, and zeros are not written.
function asShares(trace) {
  trace.z = trace.customdata.map(row => { const sum = row.reduce((a, b) => a + b, 0) || 1; return row.map(n => n / sum); });
  trace.text = trace.customdata.map(row => row.map(n => n || ""));
}
const drawAll = (inside = document) => all("[data-chart]", inside).filter(e => !e.closest("details:not([open])")).forEach(draw);
addEventListener("DOMContentLoaded", () => {
  drawAll();
  night.addEventListener("change", () => drawAll());
  all("details").forEach(d => d.addEventListener("toggle", () => d.open && drawAll(d)));
  addEventListener("beforeprint", () => all("details").forEach(d => { d.open = true; drawAll(d); }));
});

// Tables: a click on a heading sorts by its column, numbers from the highest; cells without a value come last

const value = cell => cell.dataset.value ?? cell.textContent.trim();
all("table.sortable thead button").forEach(button => button.addEventListener("click", () => {
  const head = button.closest("th"), body = head.closest("table").tBodies[0], rows = [...body.rows];
  const of = row => value(row.cells[head.cellIndex]), numbers = rows.every(row => !Number.isNaN(Number(of(row))));
  const first = numbers ? "descending" : "ascending", second = numbers ? "ascending" : "descending";
  const sort = head.getAttribute("aria-sort") === first ? second : first, sign = sort === "ascending" ? 1 : -1;
  [...head.parentElement.cells].forEach(th => th.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", sort);
  const compare = numbers ? (a, b) => a - b : (a, b) => a.localeCompare(b);
  const order = (a, b) => (of(a) === "") - (of(b) === "") || sign * compare(of(a), of(b));
  rows.sort(order).forEach(row => body.append(row));
}));
