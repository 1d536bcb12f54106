// What is searched for: a picture that is dropped, pasted or chosen, a box on it, or words.

import { queryPicture, sendPicture } from "./api.js";
import { PictureView, byId, say } from "./dom.js";

const LARGE = 512;
const STEP = 0.02; // of the picture, an arrow key
const LEAST = 0.02; // side of a box
const PAUSE = 350; // ms after the last key that changed the box

const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** The panel of the query. */
export class QueryPanel {
  /**
   * @param {{change: (query: object) => void, fail: (error: Error) => void,
   *   wait: (words: string) => void}} acts
   */
  constructor(acts) {
    this.acts = acts;
    this.query = null;
    this.frame = byId("query-frame");
    this.view = new PictureView(this.frame);
    this.surface = this.view.picture;
    this.#makeFocusable();
    this.#takePictures();
    this.#takeWords();
    this.#takeBoxes();
  }

  /** Say how queries may be asked; before, none is taken. */
  about({ text, why, crop, encoder }) {
    this.crop = crop;
    byId("file").disabled = false;
    byId("text").disabled = byId("words").querySelector("button").disabled = !text;
    const reason = why || `Words need an encoder with a text tower; ${encoder} has none.`;
    byId("text").placeholder = text ? "or type words" : "words: no text tower";
    byId("no-words").hidden = text;
    say(byId("no-words"), text ? "" : reason);
  }

  /** Show a query: {picture | id | text, box, crop}. */
  async show(query) {
    this.query = query;
    const pictured = query.text === undefined;
    this.frame.hidden = byId("box-help").hidden = !pictured;
    byId("drop").classList.toggle("filled", pictured);
    byId("text").value = query.text ?? "";
    this.#showBox();
    if (!pictured) return;
    this.view.show(undefined);
    const loaded = await queryPicture(query, LARGE).catch(() => null);
    if (this.query === query) this.view.show(loaded);
  }

  #change(query) {
    this.show(query);
    this.acts.change(query);
  }

  #takePictures() {
    const drop = byId("drop");
    byId("file").addEventListener("change", ({ target }) => {
      if (target.files[0]) this.take(target.files[0]);
      target.value = "";
    });
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) drop.classList.remove("over");
    });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files[0]) this.take(event.dataTransfer.files[0]);
    });
    document.addEventListener("paste", (event) => {
      const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
      if (file) this.take(file);
    });
  }

  /** Search with a picture; the box stays if it is the picture that a link told of. */
  async take(blob) {
    if (byId("file").disabled) return; // dropped before the gallery is open
    this.acts.wait("Sending the picture …");
    try {
      const { picture } = await sendPicture(blob);
      const box = this.query?.picture === picture ? this.query.box : null;
      this.#change({ picture, box, crop: this.query?.crop ?? this.crop });
    } catch (error) {
      this.acts.fail(error);
    }
  }

  #takeWords() {
    byId("words").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = byId("text").value.trim();
      if (text) this.#change({ text, box: null, crop: this.crop });
    });
  }

  #makeFocusable() {
    const surface = this.surface;
    surface.tabIndex = 0;
    surface.setAttribute("role", "application");
    surface.setAttribute("aria-roledescription", "box editor");
    surface.setAttribute("aria-label", "Query picture");
    surface.setAttribute("aria-describedby", "box-help box-said");
  }

  #takeBoxes() {
    this.surface.addEventListener("pointerdown", (event) => this.#begin(event));
    this.surface.addEventListener("keydown", (event) => this.#pressed(event));
    byId("clear-box").addEventListener("click", () => this.#setBox(null));
    byId("crop").addEventListener("change", ({ target }) => {
      this.#change({ ...this.query, crop: target.checked ? "box" : "none" });
    });
  }

  #at(event) {
    const place = this.surface.getBoundingClientRect();
    return [
      within((event.clientX - place.left) / place.width, 0, 1),
      within((event.clientY - place.top) / place.height, 0, 1),
    ];
  }

  #begin(event) {
    if (event.button !== 0) return;
    this.surface.focus({ preventScroll: true });
    this.surface.setPointerCapture(event.pointerId);
    const [x, y] = this.#at(event);
    let box = null;
    const move = (moved) => {
      const [u, v] = this.#at(moved);
      box = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
      this.view.box("query-box", box);
    };
    const end = () => {
      this.surface.removeEventListener("pointermove", move);
      const drawn = box && box[2] - box[0] >= LEAST && box[3] - box[1] >= LEAST;
      if (drawn) this.#setBox(box);
      else this.#showBox();
    };
    this.surface.addEventListener("pointermove", move);
    this.surface.addEventListener("lostpointercapture", end, { once: true });
  }

  #pressed(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const box = this.query?.box;
    if ((event.key === "Enter" || event.key === " ") && !box) this.#keyed([0.25, 0.25, 0.75, 0.75]);
    else if ((event.key === "Delete" || event.key === "Backspace") && box) this.#keyed(null);
    else if (event.key in ways && box) {
      const [across, down] = ways[event.key];
      this.#keyed(event.shiftKey ? sized(box, across, down) : shifted(box, across, down));
    } else return;
    event.preventDefault();
  }

  /** Show a box at once, and search when no further key follows. */
  #keyed(box) {
    this.query = { ...this.query, box };
    this.#showBox();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.acts.change(this.query), PAUSE);
  }

  #setBox(box) {
    clearTimeout(this.timer);
    this.query = { ...this.query, box };
    this.#showBox();
    this.acts.change(this.query);
  }

  #showBox() {
    const { box, crop } = this.query;
    this.view.box("query-box", box);
    byId("clear-box").hidden = byId("crop-choice").hidden = !box;
    byId("crop").checked = crop === "box";
    const [x0, y0, x1, y1] = (box ?? []).map((side) => Math.round(100 * side));
    say(byId("box-said"), box ? `Box from ${x0} % to ${x1} % across, ${y0} % to ${y1} % down.` : "");
  }
}

function shifted([x0, y0, x1, y1], across, down) {
  const x = within(across * STEP, -x0, 1 - x1), y = within(down * STEP, -y0, 1 - y1);
  return [x0 + x, y0 + y, x1 + x, y1 + y];
}

function sized([x0, y0, x1, y1], across, down) {
  return [x0, y0, within(x1 + across * STEP, x0 + LEAST, 1), within(y1 + down * STEP, y0 + LEAST, 1)];
}
