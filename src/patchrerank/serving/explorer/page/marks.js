// Hits that were marked right or wrong, by query, kept in this browser until they are forgotten.

const KINDS = ["right", "wrong"];

export class Marks {
  /** @param {string} gallery what tells it from others */
  constructor(gallery) {
    this.name = `patchrerank-marks-${gallery}`;
    this.byQuery = this.#load();
  }

  #load() {
    try {
      return new Map(JSON.parse(localStorage.getItem(this.name)) ?? []);
    } catch {
      return new Map(); // no storage, or something else in it
    }
  }

  #save() {
    try {
      localStorage.setItem(this.name, JSON.stringify([...this.byQuery]));
    } catch {
      // marks last as long as the page then
    }
  }

  #key({ picture, id, text, box }) {
    return JSON.stringify([picture ?? null, id ?? null, text ?? null, box ?? null]);
  }

  /** The mark of a hit: right, wrong or null. */
  of(query, id) {
    const held = this.byQuery.get(this.#key(query));
    return held ? KINDS.find((kind) => held[kind].includes(id)) ?? null : null;
  }

  /** Mark a hit; shown are the ids that are on the page. */
  set(query, id, mark, shown) {
    const key = this.#key(query);
    const held = this.byQuery.get(key) ?? { query, right: [], wrong: [], seen: [] };
    for (const kind of KINDS) held[kind] = held[kind].filter((each) => each !== id);
    if (mark) held[mark].push(id);
    held.seen = [...new Set([...held.seen, ...shown])];
    if (held.right.length || held.wrong.length) this.byQuery.set(key, held);
    else this.byQuery.delete(key);
    this.#save();
  }

  forget() {
    this.byQuery.clear();
    this.#save();
  }

  /** Judgements as the server takes them. */
  all() {
    return [...this.byQuery.values()].map(({ query, right, wrong, seen }) => ({
      query, right, wrong,
      seen: seen.filter((id) => !right.includes(id) && !wrong.includes(id)),
    }));
  }

  /** A sentence that counts them. */
  said() {
    const held = [...this.byQuery.values()];
    const sum = (kind) => held.reduce((count, each) => count + each[kind].length, 0);
    const words = held.filter(({ query }) => query.text !== undefined).length;
    const queries = held.length === 1 ? "1 query" : `${held.length} queries`;
    return `${sum("right")} right, ${sum("wrong")} wrong hits of ${queries}.` +
      (words ? ` Those of ${words} in words are not in the data set, which holds pictures.` : "");
  }
}
