// How far the stages go, and λ, γ and k of each.

import { byId, make, say } from "./dom.js";

// γ on a logarithmic scale: 0 at the left end, then 0.01 … 1000.
const GAMMA_STEPS = 200, LOWEST = -2, DECADES = 5;
const gammaAt = (step) =>
  step <= 0 ? 0 : +(10 ** (LOWEST + (DECADES * step) / GAMMA_STEPS)).toPrecision(3);
const stepOf = (gamma) =>
  gamma <= 0 ? 0 : Math.max(1, Math.round((GAMMA_STEPS * (Math.log10(gamma) - LOWEST)) / DECADES));

/** The panel of the stages. */
export class Controls {
  /**
   * @param {{name: string, lam: number, gamma: number, size: number|null, alone: boolean}[]} stages
   * @param {() => void} change called when a setting is another
   */
  constructor(stages, change) {
    this.stages = stages;
    this.standard = stages.map(({ lam, gamma, size }) => ({ lam, gamma, size }));
    this.settings = this.standard.map((setting) => ({ ...setting }));
    this.run = stages.length;
    this.most = 1000; // candidates
    this.change = change;
    this.reach = ["First stage", ...stages.map(({ name }) => name)].map((name, n) =>
      choice(byId("reach"), "reach", name, () => this.set({ run: n })));
    this.rows = stages.map((stage, n) => this.#stage(stage, n));
    byId("reset").addEventListener("click", () =>
      this.set({ run: stages.length, settings: this.standard.map((each) => ({ ...each })) }));
    byId("copy-stages").addEventListener("click", () => this.#copy());
    this.#show();
  }

  /** Change the view's settings, and tell. */
  set({ run = this.run, settings = this.settings }, quietly = false) {
    this.run = run;
    this.settings = settings;
    this.#show();
    if (!quietly) this.change();
  }

  /** Say how many candidates there are. */
  candidates(count) {
    this.most = count;
    this.#show();
  }

  /** Settings as they take effect: sizes do not grow, and stages beyond the last one do nothing. */
  effective() {
    let limit = this.most;
    return this.settings.map(({ lam, gamma, size }, n) => {
      if (n >= this.run || size === 0) return { lam, gamma, size: 0 };
      limit = Math.min(size ?? this.most, limit);
      return { lam, gamma, size: limit };
    });
  }

  /** Stages as --stages takes them. */
  text() {
    const used = this.stages.slice(0, this.run).map(({ name }, n) => {
      const { size, lam, gamma } = this.settings[n];
      return `${plain(name)}:${size ?? "all"}:${lam}:${gamma}`;
    });
    return used.join(",") || "(the first stage alone)";
  }

  /** Say something of one stage; empty: nothing. */
  note(number, words) {
    say(this.rows[number].note, words);
    this.rows[number].note.hidden = !words;
  }

  #stage(stage, n) {
    const rows = {
      lam: this.#slider(n, "lam", "λ", "weight of the score before", { max: 100 },
        (step) => step / 100, (value) => value * 100),
      gamma: this.#slider(n, "gamma", "γ", "slope of the sigmoid", { max: GAMMA_STEPS },
        gammaAt, stepOf),
      size: this.#slider(n, "size", "k", "candidates rescored", { max: this.most },
        (step) => (step >= this.most ? null : step), (value) => value ?? this.most),
    };
    const note = make("p", { class: "hint note", hidden: true });
    const set = make("fieldset", { class: "stage" },
      make("legend", {}, `${n + 1} · ${stage.name}`), ...Object.values(rows).map(({ row }) => row),
      note);
    byId("stages").append(set);
    return { ...rows, set, note };
  }

  #slider(n, key, sign, words, { max }, read, place) {
    const name = `${sign}, ${words}, stage ${n + 1}`;
    const range = make("input", { type: "range", min: "0", max: String(max), "aria-label": name });
    range.id = `${key}-${n}`;
    const number = make("input", { type: "text", inputmode: "decimal", "aria-label": `${name}, exactly` });
    range.addEventListener("input", () => this.#put(n, key, read(Number(range.value))));
    number.addEventListener("change", () => this.#typed(n, key, number.value.trim()));
    const row = make("div", { class: "slider" },
      make("label", { for: range.id, title: words }, sign), range, number);
    return { row, range, number, place };
  }

  #put(n, key, value) {
    const settings = this.settings.map((each) => ({ ...each }));
    settings[n][key] = value;
    this.set({ settings });
  }

  #typed(n, key, text) {
    const value = key === "size" && text === "all" ? null : Number(text.replace(",", "."));
    const good = value === null || (text !== "" && value >= 0 && value < Infinity &&
      (key !== "lam" || value <= 1) && (key !== "size" || Number.isInteger(value)));
    if (good) this.#put(n, key, value);
    else this.#show();
  }

  #show() {
    this.reach.forEach((radio, n) => (radio.checked = n === this.run));
    this.rows.forEach(({ set, ...rows }, n) => {
      set.disabled = n >= this.run;
      rows.size.range.max = this.most;
      for (const key of ["lam", "gamma", "size"]) {
        const value = this.settings[n][key], { range, number, place } = rows[key];
        range.value = place(value);
        range.setAttribute("aria-valuetext", value === null ? "all" : String(value));
        number.value = value === null ? "all" : String(value);
      }
    });
    say(byId("stages-text"), this.text());
    byId("copy-stages").disabled = !this.run;
  }

  async #copy() {
    const button = byId("copy-stages");
    try {
      await navigator.clipboard.writeText(this.text());
      say(button, "Copied");
    } catch {
      getSelection().selectAllChildren(byId("stages-text"));
      say(button, "Selected");
    }
    setTimeout(() => say(button, "Copy"), 1500);
  }
}

/** A stage's name as its text has it. */
function plain(name) {
  return name
    .replace(" (boxes refined by local descriptors)", "+refine")
    .replace(" (boxes refined by patches)", "+refine-patches");
}

/** A radio button as a segment of a bar. */
export function choice(bar, group, name, chosen) {
  const radio = make("input", { type: "radio", name: group });
  radio.addEventListener("change", chosen);
  bar.append(make("label", {}, radio, make("span", {}, name)));
  return radio;
}
