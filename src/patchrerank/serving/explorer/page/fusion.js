// λ·g + (1−λ)·σ(γ·l), stage behind stage: the arithmetic of patchrerank.fusion, on typed arrays.
// A candidate's slot is its place in the first stage's list, from 0.

/** Whether scores l and g are sorted by l alone, as at λ = 0: no ties of a saturated sigmoid. */
const byLocal = (lam, gamma) => lam === 0 && gamma > 0;

export class Fuser {
  /**
   * @param {Float32Array} globals the first stage's scores, K of them, best first
   * @param {{scores: Float32Array, boxes: Float32Array, failed: string}[]} stages
   */
  constructor(globals, stages) {
    const size = globals.length;
    this.size = size;
    this.globals = globals;
    this.stages = stages;
    this.order = new Uint32Array(size); // slots, best first
    this.scores = new Float32Array(size); // by slot
    this.boxed = new Int8Array(size); // by slot: the stage that gave the box, −1: none
    this.unscored = new Uint32Array(stages.length); // candidates of its head that a stage lacks
    this.moved = stages.map(() => false); // whether a stage saw another list than it was given
    this.rescored = stages.map(() => new Uint8Array(size)); // by slot: whether a stage saw it
    this.keys = new Float64Array(size);
    this.exact = new Float64Array(size);
    this.places = new Uint32Array(size);
    this.before = new Uint32Array(size);
    this.compare = (a, b) => this.keys[a] - this.keys[b] || a - b;
  }

  /** Fuse anew; settings has {lam, gamma, size} for each stage, size being null for all. */
  fuse(settings) {
    for (let slot = 0; slot < this.size; slot++) {
      this.order[slot] = slot;
      this.scores[slot] = this.globals[slot];
      this.boxed[slot] = -1;
    }
    settings.forEach((setting, number) => this.#stage(number, setting));
  }

  #stage(number, { lam, gamma, size }) {
    const stage = this.stages[number], { scores, boxes, head } = stage;
    const count = size === null ? this.size : Math.min(size, this.size);
    this.unscored[number] = 0;
    this.moved[number] = false;
    this.rescored[number].fill(0);
    if (stage.failed || !count) return;
    this.moved[number] = Boolean(head) && head.some((slot, n) => n < count && this.order[n] !== slot);
    for (let n = 0; n < count; n++) {
      const slot = this.order[n];
      let local = scores[slot];
      if (Number.isNaN(local)) {
        local = -Infinity;
        this.unscored[number]++;
      }
      this.exact[n] = fused(this.scores[slot], local, lam, gamma);
      this.keys[n] = byLocal(lam, gamma) ? -local : -this.exact[n];
      this.places[n] = n;
      this.rescored[number][slot] = 1;
      if (!Number.isNaN(boxes[4 * slot])) this.boxed[slot] = number;
    }
    this.places.subarray(0, count).sort(this.compare);
    this.before.set(this.order);
    for (let n = 0; n < count; n++) {
      const place = this.places[n], slot = this.before[place];
      this.order[n] = slot;
      this.scores[slot] = this.exact[place]; // rounded to float32
    }
  }

  /** The box of a slot, x0, y0, x1, y1 in [0, 1]; null: none. */
  boxOf(slot) {
    const number = this.boxed[slot];
    return number < 0 ? null : this.stages[number].boxes.subarray(4 * slot, 4 * slot + 4);
  }

  /** The first hits' scores, which fall strictly, as the server gives them. */
  shownScores(count) {
    const shown = [];
    let lowest = Infinity;
    for (let n = 0; n < Math.min(count, this.size); n++) {
      const step = Math.max(stepOf(this.scores[this.order[n]]), LOWEST + this.size - 1 - n);
      lowest = Math.min(lowest, step + n);
      shown.push(floatOf(lowest - n));
    }
    return shown;
  }
}

/** One candidate's fused score, in float64. */
export function fused(global, local, lam, gamma) {
  const sigmoid = gamma > 0 ? 1 / (1 + Math.exp(-gamma * local)) : 0.5;
  return (lam > 0 ? lam * global : 0) + (lam < 1 ? (1 - lam) * sigmoid : 0);
}

// Float32 numbers counted from 0 upwards and downwards, as in patchrerank.hit_scores.
const SMALLEST = 0x00800000;
const LOWEST = SMALLEST - 1 - 0x7f7fffff;
const value = new Float32Array(1), bits = new Int32Array(value.buffer);

function stepOf(score) {
  value[0] = Math.abs(score);
  const size = Math.max(bits[0] - (SMALLEST - 1), 0);
  return score < 0 ? -size : size;
}

function floatOf(step) {
  const size = Math.abs(step);
  bits[0] = size > 0 ? size + (SMALLEST - 1) : 0;
  return step < 0 ? -value[0] : value[0];
}
