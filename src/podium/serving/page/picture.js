// Pictures as canvases: drawn in this browser, so that nothing is stored and no address leads to them; and heat maps over them.

const SIDE = 1200; // of what is kept of a picture; the file itself is sent

/**
 * Draw a picture, turned as its camera says.
 *
 * @param {File} file - the picture.
 * @returns {Promise<?HTMLCanvasElement>} at most SIDE pixels wide and high; null where the browser cannot show such files.
 */
export async function drawn(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  const canvas = scaled(bitmap, SIDE);
  bitmap.close();
  return canvas;
}

/** A copy of a picture that fits into a square. */
export function scaled(source, side) {
  const share = Math.min(1, side / Math.max(source.width, source.height)), canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(source.width * share));
  canvas.height = Math.max(1, Math.round(source.height * share));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  canvas.classList.toggle("small", Math.max(source.width, source.height) < 100); // stays sharp when it is shown larger
  return canvas;
}

/**
 * The part of a picture that a network sees, as shares of its width and height.
 *
 * @param {{width: number, height: number}} size - of the picture.
 * @param {{resize?: string, crop_pct?: number}} preprocessing - as in the card.
 * @returns {{left: number, top: number, width: number, height: number}} beyond 0..1 where the network sees a margin.
 */
export function seen({ width, height }, { resize = "crop", crop_pct: share = 1 } = {}) {
  if (resize === "stretch") return { left: 0, top: 0, width: 1, height: 1 };
  const side = resize === "pad" ? Math.max(width, height) : Math.min(width, height) * share;
  return { left: (1 - side / width) / 2, top: (1 - side / height) / 2, width: side / width, height: side / height };
}

/**
 * Draw a heat map as large as a picture.
 *
 * @param {{width: number, height: number, values: number[][]}} map - values in 0..1, rows from the top.
 * @param {HTMLCanvasElement} picture - that it will lie on.
 * @param {object} box - what the network sees of the picture, as `seen` gives it.
 */
export function heatOf(map, picture, box) {
  const cells = document.createElement("canvas"), canvas = document.createElement("canvas");
  [cells.width, cells.height, canvas.width, canvas.height] = [map.width, map.height, picture.width, picture.height];
  const grid = cells.getContext("2d"), pixels = grid.createImageData(map.width, map.height);
  map.values.flat().forEach((value, place) => pixels.data.set(colour(value), 4 * place));
  grid.putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(cells, box.left * canvas.width, box.top * canvas.height, box.width * canvas.width, box.height * canvas.height);
  return canvas;
}

// From blue over yellow to red, the cold end transparent, so that a picture stays visible where nothing speaks for the class.
const STOPS = [[32, 76, 160, 0], [58, 134, 200, 130], [250, 210, 90, 200], [226, 96, 40, 235], [176, 22, 30, 255]];

/** Red, green, blue and opacity of a value in 0..1. */
function colour(value) {
  const place = Math.min(1, Math.max(0, Number(value) || 0)) * (STOPS.length - 1), stop = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[stop].map((from, channel) => from + (STOPS[stop + 1][channel] - from) * (place - stop));
}
