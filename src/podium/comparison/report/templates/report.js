
// What only the report can do: tables as CSV, and the pictures of a cell of the confusion matrix.

// A table as CSV: the values behind the cells, as exact as they are in the page

function csv(table) {
  const cell = text => /["\n,]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const safe = text => /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text; // no formula for a spreadsheet
  return [...table.rows].map(row => [...row.cells].map(c => cell(safe(value(c)))).join(",") + "\n").join("");
}
all("button.csv").forEach(button => button.addEventListener("click", () => {
  const table = button.closest(".table").querySelector("table"), link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", csv(table)], { type: "text/csv" }));
  link.download = table.dataset.name + ".csv";
  link.click();
  URL.revokeObjectURL(link.href);
}));

// Pictures: each is in the page once, and put where it is shown when that is opened

let gallery;
const pictures = () => gallery ??= read("pictures");
function fill(inside) {
  for (const frame of all("[data-picture]", inside)) {
    const picture = pictures().pictures[frame.dataset.picture];
    if (!frame.firstChild) frame.append(shown(picture));
  }
}
function shown(picture) {
  if (!picture?.uri) return say("no picture");
  const image = new Image();
  image.src = picture.uri;
  image.alt = image.title = picture.name;
  image.addEventListener("load", () => image.classList.toggle("small", image.naturalWidth < 100));
  return image;
}
all("details").forEach(d => d.addEventListener("toggle", () => d.open && fill(d)));
all("details[open]").forEach(fill);

// A cell of the confusion matrix: the images of one class that were taken for another, or recognised

const dialog = byId("cell"), format = (text, values) => say(text).replace(/\{(\w+)\}/g, (_, key) => values[key]);
function openCell(network, truth, guess, n) {
  const found = pictures().cells[network][`${truth},${guess}`] || [], right = truth === guess;
  const names = { true: pictures().classes[truth], predicted: pictures().classes[guess], n: n.toLocaleString("en"), k: found.length };
  dialog.querySelector("h2").textContent = format(right ? "{true} recognised: {n} images" : "{true} taken for {predicted}: {n} images", names);
  const some = right ? "The {k} right answers that the network is least certain of, with its confidence."
    : "The {k} answers that the network is most certain of, with its confidence.";
  const none = n ? "This page has no room for pictures of this cell." : "No image is in this cell.";
  dialog.querySelector(".note").textContent = format(found.length ? some : none, names);
  dialog.querySelector(".figures").replaceChildren(...found.map(([number, percent]) => figure(pictures().pictures[number], percent)));
  dialog.showModal();
}
function figure(picture, percent) {
  const element = document.createElement("figure"), frame = document.createElement("div"), caption = document.createElement("figcaption");
  frame.className = "frame";
  frame.append(shown(picture));
  caption.textContent = `${picture.name}, ${percent} %`;
  element.append(frame, caption);
  return element;
}
dialog.addEventListener("click", event => { if (event.target === dialog || event.target.closest("button")) dialog.close(); });
all("button[data-cell]").forEach(button => button.addEventListener("click", () =>
  openCell(button.dataset.network, ...button.dataset.cell.split(",").map(Number), Number(value(button.closest("td"))))));
function listen(inside) { // plotly gives an element its events when it draws there
  for (const element of all("[data-matrix]", inside)) if (element.on && !element.dataset.heard) {
    element.dataset.heard = "yes";
    element.on("plotly_click", event => {
      const { pointNumber: [truth, guess], customdata } = event.points[0];
      openCell(element.dataset.matrix, truth, guess, customdata);
    });
  }
}
addEventListener("DOMContentLoaded", () => {
  listen(document);
  all("details").forEach(d => d.addEventListener("toggle", () => listen(d)));
});
