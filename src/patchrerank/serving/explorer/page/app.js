// The page: what is asked, what came back, and what is shown of it.

import * as api from "./api.js";
import { Controls } from "./controls.js";
import { Detail, scoreRows } from "./detail.js";
import { byId, make, say } from "./dom.js";
import { Fuser } from "./fusion.js";
import { HitList, SHOWN } from "./hits.js";
import * as link from "./link.js";
import { Marks } from "./marks.js";
import { QueryPanel } from "./query.js";

const LINK_PAUSE = 200; // ms without a change, after which the address follows
const FRAME = "patchrerank-frame";

let about, controls, marks, standard;
let query = null; // what is asked
let found = null; // what came back of it: {ids, slots, fuser}
let hit = null; // id of the open hit
let request = null, drawing = 0, linking = 0;

const panel = new QueryPanel({ change: ask, fail: problem, wait });
const lists = {
  first: new HitList(byId("first"), { open: (id) => open(id, "first"), mark }),
  reranked: new HitList(byId("reranked"), { open: (id) => open(id, "reranked"), mark }),
};
const detail = new Detail({ step, mark, askWith, closed });
let opened = "reranked"; // the list that the open hit is of

// What is asked.

async function ask(asked) {
  query = { ...asked };
  for (const key of Object.keys(query)) if (query[key] == null) delete query[key];
  if (query.text !== undefined || !query.box) delete query.crop;
  request?.abort();
  request = new AbortController();
  const mine = request;
  wait("Searching …");
  try {
    const answer = await api.ask(query, controls.effective(), mine.signal);
    if (mine !== request) return;
    found = { ids: answer.ids, slots: new Map(answer.ids.map((id, slot) => [id, slot])) };
    found.fuser = new Fuser(answer.global, answer.stages);
    controls.candidates(answer.ids.length);
    calm(`${answer.ids.length.toLocaleString("en")} candidates scored.`);
    byId("samples").hidden = true;
    byId("columns").hidden = byId("keys").hidden = false;
    draw();
  } catch (error) {
    if (error.name !== "AbortError" && mine === request) problem(error);
  }
}

function askWith(id) {
  detail.dialog.close();
  const asked = { id, box: null, crop: about.crop };
  panel.show(asked);
  ask(asked);
  scrollTo({ top: 0 });
}

function wait(words) {
  byId("problem").hidden = true;
  say(byId("status"), words);
  document.body.classList.add("waiting");
}

function calm(words) {
  document.body.classList.remove("waiting");
  byId("problem").hidden = true;
  say(byId("status"), words);
}

function problem(error) {
  calm("");
  say(byId("problem").querySelector("p"), error.message);
  byId("problem").hidden = false;
}

// What is shown: at most once a frame, without a request.

function changed() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(draw);
}

function draw() {
  const begun = performance.now();
  follow();
  if (!found) return;
  const { fuser, ids } = found;
  fuser.fuse(controls.effective());
  const scores = fuser.shownScores(SHOWN);
  lists.first.show(Array.from(fuser.globals.subarray(0, SHOWN), (score, slot) =>
    ({ id: ids[slot], score, box: fuser.boxOf(slot), moved: 0, mark: markOf(ids[slot]), said: "" })));
  lists.reranked.show(scores.map((score, n) => {
    const slot = fuser.order[n], id = ids[slot];
    return { id, score, box: fuser.boxOf(slot), moved: slot - n, mark: markOf(id), said: `, was ${slot + 1}.` };
  }));
  notes();
  if (detail.dialog.open && hit !== null) detail.show(entryOf(hit));
  performance.clearMeasures(FRAME);
  performance.measure(FRAME, { start: begun, end: performance.now() });
}

/** Say which stages lack scores for these settings; those can be asked for. */
function notes() {
  const { stages, unscored, moved } = found.fuser;
  stages.forEach((stage, n) => {
    if (stage.failed) controls.note(n, `Left out: ${stage.failed}`);
    else if (unscored[n]) controls.note(n, `${unscored[n]} of its candidates are not scored yet.`);
    else controls.note(n, moved[n] ? "Its scores are of another list of candidates." : "");
  });
  byId("rescore").hidden = !stages.some((_, n) => unscored[n] || moved[n]);
}

/** The ids on the page. */
function shownIds() {
  const { fuser, ids } = found, count = Math.min(SHOWN, ids.length);
  const slots = [...Array(count).keys(), ...fuser.order.subarray(0, count)];
  return [...new Set(slots.map((slot) => ids[slot]))];
}

// One hit.

function open(id, list) {
  opened = list;
  hit = id;
  detail.open(query, entryOf(id));
  changed();
}

/** A hit's place in the list that it is open from, and everything that is told of it. */
function entryOf(id) {
  const { fuser, slots } = found, slot = slots.get(id), place = fuser.order.indexOf(slot);
  return {
    id, mark: markOf(id), box: fuser.boxOf(slot), rank: place + 1, was: slot + 1,
    rows: scoreRows(fuser, about.stages, controls.effective(), slot),
  };
}

function step(by) {
  const { fuser, ids, slots } = found, slot = slots.get(hit);
  const order = opened === "first" ? null : fuser.order;
  const next = (order ? order.indexOf(slot) : slot) + by;
  if (next < 0 || next >= ids.length) return;
  open(ids[order ? order[next] : next], opened);
}

function closed() {
  hit = null;
  changed();
}

// Judgements.

const markOf = (id) => marks.of(query, id);

function mark(id, value) {
  marks.set(query, id, value, shownIds());
  showMarks();
  changed();
}

function showMarks() {
  byId("judging").hidden = marks.byQuery.size === 0;
  say(byId("judged"), marks.said());
}

async function download() {
  const button = byId("download");
  button.disabled = true;
  wait("Packing the data set …");
  try {
    const url = URL.createObjectURL(await api.dataset(marks.all(), byId("seen-are-wrong").checked));
    make("a", { href: url, download: "judgements.zip" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    calm("The data set is downloaded.");
  } catch (error) {
    problem(error);
  }
  button.disabled = false;
}

// The link.

function follow() {
  clearTimeout(linking);
  linking = setTimeout(() => {
    const view = { query, run: controls.run, settings: controls.settings, hit };
    history.replaceState(null, "", `#${link.write(view)}`);
  }, LINK_PAUSE);
}

async function applyLink() {
  const view = link.read(location.hash, standard);
  controls.set({ run: view.run, settings: view.settings }, true);
  if (!view.query) return changed();
  panel.show(view.query);
  await ask(view.query);
  if (view.hit !== null && found?.slots.has(view.hit)) open(view.hit, "reranked");
}

// The beginning.

function showSamples(ids) {
  const list = byId("samples").querySelector("ul");
  list.replaceChildren();
  byId("samples").hidden = ids.length === 0;
  for (const id of ids) {
    const image = make("img", { alt: id });
    const button = make("button", { type: "button", class: "card sample", title: id },
      make("span", { class: "frame" }, image));
    button.addEventListener("click", () => askWith(id));
    const item = make("li", {}, button);
    list.append(item);
    api.picture(id, 256).then((loaded) => {
      if (loaded) image.src = loaded.url;
      else item.remove();
    });
  }
}

async function begin() {
  byId("again").addEventListener("click", () => (about ? query && ask(query) : start()));
  byId("rescore").addEventListener("click", () => ask(query));
  byId("download").addEventListener("click", download);
  byId("forget").addEventListener("click", () => {
    marks.forget();
    showMarks();
    changed();
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId(found ? "reranked" : "samples").querySelector("button")?.focus();
  });
  addEventListener("hashchange", () => about && applyLink());
  await start();
}

async function start() {
  try {
    wait("Opening the gallery …");
    about = await api.about();
    calm("");
  } catch (error) {
    problem(error);
    return;
  }
  document.title = `${about.name} – patchrerank explorer`;
  say(byId("gallery"), `${about.name}: ${about.images.toLocaleString("en")} images, ` +
    `${about.patches.toLocaleString("en")} patches (${about.regions}), ${about.encoder}` +
    (about.pictures ? "" : ". Its pictures are not where they were: start it with --root FOLDER"));
  say(byId("tune-stages"), about.stages.map(({ name }) => name.split(" ")[0]).join(","));
  controls = new Controls(about.stages, changed);
  standard = { settings: controls.standard, crop: about.crop };
  marks = new Marks(`${about.name}-${about.identity}`);
  panel.about(about);
  showMarks();
  showSamples(about.sample);
  await applyLink();
}

begin();
