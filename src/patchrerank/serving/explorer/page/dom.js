// Elements, pictures with boxes, and maps. Text is only ever put in as text.

const SVG = "http://www.w3.org/2000/svg";
const SIDE = 1000; // of a picture in the units of boxes

export const byId = (id) => document.getElementById(id);

/** Make an element; what has no value is left out, children may be text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Set text, if it is another: a frame that changes nothing touches nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A picture in a frame, upright and whole, with boxes and a map over it. */
export class PictureView {
  constructor(frame) {
    this.picture = make("div", { class: "pic", hidden: true });
    this.image = make("img", { alt: "", draggable: false });
    this.canvas = make("canvas", { class: "map", hidden: true });
    this.drawing = document.createElementNS(SVG, "svg");
    this.drawing.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
    this.drawing.setAttribute("preserveAspectRatio", "none");
    this.drawing.setAttribute("aria-hidden", "true");
    this.picture.append(this.image, this.canvas, this.drawing);
    this.missing = make("span", { class: "missing", hidden: true }, "no picture");
    frame.append(this.picture, this.missing);
    this.boxes = new Map();
  }

  /** Show a loaded picture, {url, width, height}; null: there is none; undefined: not yet. */
  show(loaded) {
    this.picture.hidden = !loaded;
    this.missing.hidden = loaded !== null;
    if (!loaded) return;
    if (this.image.src !== loaded.url) this.image.src = loaded.url;
    this.picture.style.setProperty("--ratio", loaded.width / loaded.height);
  }

  /** Draw a box of a kind, x0, y0, x1, y1 in [0, 1]; null: none. */
  box(kind, box) {
    if (!box) {
      this.boxes.get(kind)?.forEach((rect) => rect.setAttribute("display", "none"));
      return;
    }
    if (!this.boxes.has(kind)) {
      const rects = ["halo", `line ${kind}`].map((name) => {
        const rect = document.createElementNS(SVG, "rect");
        rect.setAttribute("class", name);
        this.drawing.append(rect);
        return rect;
      });
      this.boxes.set(kind, rects);
    }
    for (const rect of this.boxes.get(kind)) {
      rect.removeAttribute("display");
      rect.setAttribute("x", box[0] * SIDE);
      rect.setAttribute("y", box[1] * SIDE);
      rect.setAttribute("width", (box[2] - box[0]) * SIDE);
      rect.setAttribute("height", (box[3] - box[1]) * SIDE);
    }
  }

  /** Lay a map over the picture, {grid: [h, w], values}; null: none. */
  map(map) {
    this.canvas.hidden = !map;
    if (!map) return;
    const [height, width] = map.grid;
    this.canvas.width = width;
    this.canvas.height = height;
    const [low, high] = range(map.values);
    paint(this.canvas, map.values, low, high, true);
  }
}

/** The lowest and the highest of some numbers. */
export function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// Dark violet, red, orange, pale yellow: rises in lightness, so it reads without colours too.
const STOPS = [[26, 11, 64], [116, 28, 109], [203, 62, 71], [249, 142, 9], [252, 255, 164]];

/** Fill a canvas with the colours of values; over pictures low values are see-through. */
export function paint(canvas, values, low, high, seeThrough) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  for (let n = 0; n < values.length; n++) {
    const share = high > low ? (values[n] - low) / (high - low) : 0;
    const at = share * (STOPS.length - 1);
    const first = Math.min(Math.floor(at), STOPS.length - 2);
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * n + c] =
        STOPS[first][c] + (at - first) * (STOPS[first + 1][c] - STOPS[first][c]);
    }
    pixels.data[4 * n + 3] = seeThrough ? 90 + 120 * share : 255;
  }
  context.putImageData(pixels, 0, 0);
}
