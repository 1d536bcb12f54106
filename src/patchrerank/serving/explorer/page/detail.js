// One hit, large, beside the query: where it matched, and how its score came about.

import { pair, picture, queryPicture } from "./api.js";
import { choice } from "./controls.js";
import { PictureView, byId, make, paint, range, say } from "./dom.js";
import { fused } from "./fusion.js";

const LARGE = 1024;
const LAYERS = {
  none: "Box alone", patches: "Patches", correlation: "Dense correlation", votes: "ELViS votes",
};

/** The dialog of a hit. */
export class Detail {
  /**
   * @param {{step: (by: number) => void, mark: (id: string, mark: string|null) => void,
   *   closed: () => void, askWith: (id: string) => void}} acts
   */
  constructor(acts) {
    this.acts = acts;
    this.dialog = byId("detail");
    this.query = new PictureView(byId("detail-query"));
    this.hit = new PictureView(byId("detail-hit"));
    this.layer = "patches";
    this.radios = Object.fromEntries(Object.entries(LAYERS).map(([key, name]) => {
      const radio = choice(byId("layers"), "layer", name, () => this.#choose(key));
      return [key, radio];
    }));
    byId("before").addEventListener("click", () => acts.step(-1));
    byId("behind").addEventListener("click", () => acts.step(1));
    byId("close").addEventListener("click", () => this.dialog.close());
    byId("patch").addEventListener("input", () => this.#showPatch());
    byId("ask-with").addEventListener("click", () => acts.askWith(this.entry.id));
    for (const mark of ["right", "wrong"]) {
      byId(mark).addEventListener("click", () => this.#toggle(mark));
    }
    this.dialog.addEventListener("close", () => this.#closed());
    this.dialog.addEventListener("keydown", (event) => this.#pressed(event));
    const scale = byId("scale");
    paint(scale, Float32Array.from({ length: scale.width }, (_, n) => n), 0, scale.width - 1, false);
  }

  /** Open on an entry, or go to another one: {id, rank, box, rows, mark, …}. */
  async open(query, entry) {
    const same = this.dialog.open && this.entry?.id === entry.id && this.asked === query;
    this.asked = query;
    this.show(entry);
    if (!this.dialog.open) {
      this.from = document.activeElement;
      this.dialog.showModal();
    }
    if (!same) await this.#load();
  }

  /** Show an entry's place, box and scores as they are now. */
  show(entry) {
    this.entry = entry;
    say(byId("detail-title"), `Hit ${entry.rank}` + (entry.was === entry.rank ? "" : `, was ${entry.was}`));
    say(byId("detail-id"), entry.id);
    this.hit.box("found", entry.box);
    byId("scores").tBodies[0].replaceChildren(...entry.rows.map(([name, how, value]) =>
      make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, how), make("td", {}, value))));
    for (const mark of ["right", "wrong"]) {
      byId(mark).setAttribute("aria-pressed", String(entry.mark === mark));
    }
  }

  async #load() {
    const { asked, entry } = this;
    const current = () => this.asked === asked && this.entry.id === entry.id;
    this.abort?.abort();
    this.abort = new AbortController();
    this.#evidence(null);
    this.query.show(undefined);
    this.hit.show(undefined);
    byId("detail-problem").hidden = true;
    byId("detail-query").parentElement.hidden = asked.text !== undefined;
    if (asked.text === undefined) {
      this.query.box("query-box", asked.box);
      queryPicture(asked, LARGE).then((found) => current() && this.query.show(found), () => {});
    }
    picture(entry.id, LARGE).then((found) => current() && this.hit.show(found));
    try {
      const found = await pair(asked, entry.id, this.abort.signal);
      if (current()) this.#evidence(found);
    } catch (error) {
      if (error.name === "AbortError" || !current()) return;
      say(byId("detail-problem"), error.message);
      byId("detail-problem").hidden = false;
    }
  }

  #evidence(found) {
    this.found = found;
    const names = new Set(found?.maps.map(({ name }) => name));
    for (const [key, radio] of Object.entries(this.radios)) {
      radio.parentElement.hidden = key !== "none" && !names.has(key);
    }
    const patched = found !== null && found.scores.length > 0;
    byId("patch-choice").hidden = !patched;
    if (patched) {
      this.byScore = [...found.scores.keys()].sort((a, b) => found.scores[b] - found.scores[a] || a - b);
      byId("patch").max = this.byScore.length - 1;
      byId("patch").value = 0;
    }
    this.#choose(names.has(this.layer) || this.layer === "none" ? this.layer : "none", false);
  }

  #choose(layer, keep = true) {
    if (keep) this.layer = layer;
    this.radios[layer].checked = true;
    const map = this.found?.maps.find(({ name }) => name === layer) ?? null;
    this.hit.map(map);
    byId("detail").dataset.layer = map ? layer : "none";
    byId("legend").hidden = !map;
    if (map) {
      const [low, high] = range(map.values);
      say(byId("low"), low.toFixed(2));
      say(byId("high"), high.toFixed(2));
    }
    this.#showPatch();
  }

  /** Draw the patch that the slider names: the best one first. */
  #showPatch() {
    if (!this.found?.scores.length) {
      this.hit.box("patch", null);
      return;
    }
    const place = Number(byId("patch").value), patch = this.byScore[place];
    const box = this.found.boxes.subarray(4 * patch, 4 * patch + 4);
    const words = `${place + 1} of ${this.byScore.length}${place ? "" : ", the best"}: ` +
      this.found.scores[patch].toFixed(4);
    say(byId("patch-said"), words);
    byId("patch").setAttribute("aria-valuetext", words);
    byId("patch-choice").dataset.patch = patch;
    this.hit.box("patch", Number.isNaN(box[0]) ? null : box);
  }

  #toggle(mark) {
    this.acts.mark(this.entry.id, this.entry.mark === mark ? null : mark);
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const key = event.key.toLowerCase();
    if (key === "arrowleft") this.acts.step(-1);
    else if (key === "arrowright") this.acts.step(1);
    else if (key === "r" || key === "w") this.#toggle(key === "r" ? "right" : "wrong");
    else if (key === "u") this.acts.mark(this.entry.id, null);
    else return;
    event.preventDefault();
  }

  #closed() {
    this.abort?.abort();
    this.from?.focus();
    this.acts.closed();
  }
}

/** The rows of a hit's table: what each stage made of what came before. */
export function scoreRows(fuser, stages, settings, slot) {
  let before = fuser.globals[slot];
  const rows = [["First stage", `place ${slot + 1}`, before.toFixed(4)]];
  stages.forEach(({ name }, n) => {
    const { lam, gamma, size } = settings[n], local = fuser.stages[n].scores[slot];
    if (!size || fuser.stages[n].failed) return;
    if (!fuser.rescored[n][slot]) {
      rows.push([name, "behind its k", "–"]);
      return;
    }
    const rest = +(1 - lam).toFixed(4), found = local.toFixed(3);
    const how = `${lam} · ${before.toFixed(3)} + ${rest} · σ(${gamma} · ${found})`;
    before = Math.fround(fused(before, Number.isNaN(local) ? -Infinity : local, lam, gamma));
    rows.push([name, how, before.toFixed(4)]);
  });
  return rows;
}
