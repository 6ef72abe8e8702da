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
 * Draw a heat map as large as a picture, bilinear between the centres of its cells. Browsers smooth enlarged images differently.
 *
 * @param {{width: number, height: number, span: number, values: number[][]}} map - values in 0..1, rows from the top; its sides
 *   are `span` of those of what the network sees, in the middle of which it lies.
 * @param {HTMLCanvasElement} picture - that it will lie on.
 * @param {object} box - what the network sees of the picture, as `seen` gives it.
 */
export function heatOf(map, picture, box) {
  const canvas = document.createElement("canvas"), { width, height } = picture;
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
  const columns = between(width, box.left * width, box.width * width, map.width, map.span);
  const rows = between(height, box.top * height, box.height * height, map.height, map.span);
  const colours = Array.from({ length: 256 }, (_, step) => colour(step / 255));
  rows.forEach((row, y) => {
    if (!row) return;
    const upper = map.values[row.first], lower = map.values[row.second];
    columns.forEach((column, x) => {
      if (!column) return;
      const { first, second, share } = column;
      const above = upper[first] + (upper[second] - upper[first]) * share, below = lower[first] + (lower[second] - lower[first]) * share;
      const value = Math.min(1, Math.max(0, above + (below - above) * row.share)) || 0;
      pixels.data.set(colours[Math.round(255 * value)], 4 * (y * width + x));
    });
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** For each pixel of a line the two cells that it lies between, and how near it is to the second; null outside of what the network sees. */
function between(pixels, start, length, cells, span) {
  return Array.from({ length: pixels }, (_, pixel) => {
    const share = (pixel + 0.5 - start) / length;
    if (share < 0 || share > 1) return null;
    const place = ((share - 0.5) / span + 0.5) * cells;
    const inside = Math.min(cells - 1, Math.max(0, place - 0.5)), first = Math.floor(inside);
    return { first, second: Math.min(cells - 1, first + 1), share: inside - first };
  });
}

// From blue over yellow to red, the cold end transparent, so that a picture stays visible where nothing speaks for the class.
const STOPS = [[32, 76, 160, 0], [58, 134, 200, 130], [250, 210, 90, 200], [226, 96, 40, 235], [176, 22, 30, 255]];

/** Red, green, blue and opacity of a value in 0..1. */
function colour(value) {
  const place = value * (STOPS.length - 1), stop = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[stop].map((from, channel) => from + (STOPS[stop + 1][channel] - from) * (place - stop));
}
