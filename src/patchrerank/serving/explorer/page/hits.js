// Twenty hits as cards, made once and changed in place.

import { heldPicture, picture } from "./api.js";
import { PictureView, make, say } from "./dom.js";

export const SHOWN = 20;
const THUMBNAIL = 256;
const PAUSE = 60; // ms without a change, after which pictures that are not here are fetched
const MARKS = { right: "✓", wrong: "✗" };

/** A list of cards; one is in the order of Tab, arrow keys lead to the others. */
export class HitList {
  /**
   * @param {HTMLElement} list where cards go
   * @param {{open: (id: string) => void, mark?: (id: string, mark: string|null) => void}} acts
   */
  constructor(list, acts) {
    this.list = list;
    this.acts = acts;
    this.cards = Array.from({ length: SHOWN }, (_, n) => this.#card(n));
    this.current = 0;
    list.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** Show entries, {id, score, global, box, moved, mark, said}, from the first place on. */
  show(entries) {
    this.cards.forEach((card, n) => this.#fill(card, entries[n] ?? null, n));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#fetch(), PAUSE);
    if (this.current >= entries.length) this.#move(0, false);
  }

  #card(n) {
    const card = { id: null, label: "", score: NaN, marks: {} };
    card.frame = make("span", { class: "frame" });
    card.view = new PictureView(card.frame);
    card.rank = make("span", { class: "rank" }, String(n + 1));
    card.name = make("span", { class: "name" });
    card.moved = make("span", { class: "moved" });
    card.value = make("span", { class: "value" });
    card.button = make("button", { type: "button", class: "card", tabIndex: n ? -1 : 0 },
      card.frame,
      make("span", { class: "line" }, card.rank, card.value, card.moved), card.name);
    card.button.addEventListener("click", () => this.acts.open(card.id));
    card.button.addEventListener("focus", () => this.#move(n, false));
    card.item = make("li", { class: "hit", hidden: true }, card.button);
    if (this.acts.mark) card.item.append(this.#marks(card));
    this.list.append(card.item);
    return card;
  }

  #marks(card) {
    const buttons = Object.entries(MARKS).map(([mark, sign]) => {
      const button = make("button", { type: "button", class: `mark ${mark}`, tabIndex: -1 }, sign);
      button.addEventListener("click", () => this.#toggle(card, mark));
      card.marks[mark] = button;
      return button;
    });
    return make("span", { class: "marks" }, ...buttons);
  }

  #toggle(card, mark) {
    this.acts.mark(card.id, card.mark === mark ? null : mark);
  }

  #fill(card, entry, n) {
    card.item.hidden = !entry;
    if (!entry) return;
    if (card.id !== entry.id) {
      card.id = entry.id;
      card.item.dataset.id = entry.id;
      say(card.name, entry.id);
      card.button.title = entry.id;
      for (const [mark, button] of Object.entries(card.marks)) {
        button.setAttribute("aria-label", `${mark}: ${entry.id}`);
      }
      card.view.show(heldPicture(entry.id, THUMBNAIL));
    }
    if (card.score !== entry.score) {
      card.score = entry.score;
      card.item.dataset.score = entry.score;
      say(card.value, entry.score.toFixed(3));
    }
    card.view.box("found", entry.box);
    say(card.moved, entry.moved > 0 ? `▲ ${entry.moved}` : entry.moved < 0 ? `▼ ${-entry.moved}` : "");
    card.moved.classList.toggle("up", entry.moved > 0);
    this.#mark(card, entry.mark ?? null);
    const label = `${n + 1}. ${entry.id}, score ${entry.score.toFixed(3)}${entry.said}` +
      (entry.mark ? `, marked ${entry.mark}` : "");
    if (card.label !== label) {
      card.label = label;
      card.button.setAttribute("aria-label", label);
    }
  }

  #mark(card, mark) {
    if (card.mark === mark) return;
    card.mark = mark;
    card.item.dataset.mark = mark ?? "";
    for (const [name, button] of Object.entries(card.marks)) {
      button.setAttribute("aria-pressed", String(name === mark));
    }
  }

  #fetch() {
    for (const card of this.cards) {
      if (card.item.hidden || heldPicture(card.id, THUMBNAIL) !== undefined) continue;
      const id = card.id;
      picture(id, THUMBNAIL).then((loaded) => card.id === id && card.view.show(loaded));
    }
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const card = this.cards[this.current], across = this.#across();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    const marks = { r: "right", w: "wrong", u: null };
    if (event.key in steps) this.#move(this.current + steps[event.key], true);
    else if (event.key === "Home") this.#move(0, true);
    else if (event.key === "End") this.#move(this.#count() - 1, true);
    else if (event.key.toLowerCase() in marks && this.acts.mark) {
      this.acts.mark(card.id, marks[event.key.toLowerCase()]);
    } else return;
    event.preventDefault();
  }

  #count() {
    return this.cards.filter((card) => !card.item.hidden).length;
  }

  /** How many cards stand in a row. */
  #across() {
    const tops = this.cards.filter((card) => !card.item.hidden).map((card) => card.item.offsetTop);
    return Math.max(1, tops.findIndex((top) => top !== tops[0]) < 0
      ? tops.length : tops.findIndex((top) => top !== tops[0]));
  }

  #move(place, focus) {
    if (place < 0 || place >= Math.max(1, this.#count())) return;
    this.cards[this.current].button.tabIndex = -1;
    this.current = place;
    const button = this.cards[place].button;
    button.tabIndex = 0;
    if (focus) button.focus();
  }
}
