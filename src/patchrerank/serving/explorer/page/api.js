// What is asked of the server, and pictures that were fetched.

import { byId } from "./dom.js";

const MOST_PICTURES = 600;
const SENT = "patchrerank-sent";

/** A request that failed, in the server's words. status 0: there was no answer. */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let token = sessionStorage.getItem("patchrerank-token") || "";
let asking = null;

function askForToken() {
  asking ??= new Promise((done) => {
    const dialog = byId("token");
    dialog.addEventListener("close", () => {
      token = byId("token-text").value.trim();
      sessionStorage.setItem("patchrerank-token", token);
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

async function send(path, options = {}) {
  let response;
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. Is it still running?", 0);
  }
  if (response.ok) return response;
  if (response.status === 401) {
    await askForToken();
    return send(path, options);
  }
  const said = await response.json().catch(() => ({}));
  const detail = typeof said.detail === "string" ? said.detail : "";
  throw new ServerError(detail || `The server answered ${response.status}.`, response.status);
}

const post = (path, body, signal) => send(path, {
  method: "POST", body: JSON.stringify(body), signal,
  headers: { "Content-Type": "application/json" },
});

/** Float32 numbers out of base64. */
function floats(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

export const about = async () => (await send("explorer/about")).json();

/** Keep a picture on the server, and here for when it forgets; returns {picture, width, height}. */
export async function sendPicture(blob) {
  const type = "application/octet-stream";
  const sent = await send("explorer/pictures", {
    method: "POST", body: blob, headers: { "Content-Type": type },
  });
  const named = await sent.json();
  await remember(named.picture, blob).catch(() => {});
  return named;
}

async function remember(name, blob) {
  if (!globalThis.caches) return;
  const kept = await caches.open(SENT);
  const old = await kept.keys();
  await Promise.all(old.slice(0, Math.max(0, old.length - 50)).map((each) => kept.delete(each)));
  await kept.put(`explorer/pictures/${name}`, new Response(blob));
}

/** Do something that needs sent pictures; those that the server forgot are sent again. */
async function withPictures(names, work) {
  try {
    return await work();
  } catch (error) {
    if (error.status !== 410) throw error;
  }
  for (const name of names) {
    const held = globalThis.caches && await caches.match(`explorer/pictures/${name}`);
    if (held) await sendPicture(await held.blob());
  }
  return work();
}

const pictureOf = (query) => (query.picture ? [query.picture] : []);

/** Candidates of a query and what each stage says of them. */
export async function ask(query, settings, signal) {
  const body = { query, settings };
  const answer = await withPictures(pictureOf(query),
    async () => (await post("explorer/query", body, signal)).json());
  answer.global = floats(answer.global);
  for (const stage of answer.stages) {
    stage.scores = floats(stage.scores);
    stage.boxes = floats(stage.boxes);
  }
  return answer;
}

/** What speaks for one hit. */
export async function pair(query, id, signal) {
  const answer = await withPictures(pictureOf(query),
    async () => (await post("explorer/pair", { query, id }, signal)).json());
  answer.scores = floats(answer.scores);
  answer.boxes = floats(answer.boxes);
  for (const map of answer.maps) map.values = floats(map.values);
  return answer;
}

/** A zip file of judgements. */
export async function dataset(judgements, seenAreWrong) {
  const body = { judgements, seen_are_wrong: seenAreWrong };
  const names = judgements.flatMap((each) => pictureOf(each.query));
  return withPictures(names, async () => (await post("explorer/dataset", body)).blob());
}

const pictures = new Map(); // path → a promise of {url, width, height}, or null

async function loaded(path) {
  const url = URL.createObjectURL(await (await send(path)).blob());
  const image = new Image();
  image.src = url;
  await image.decode();
  return { url, width: image.naturalWidth, height: image.naturalHeight };
}

function fetched(path) {
  const held = pictures.get(path);
  if (held) {
    pictures.delete(path);
    pictures.set(path, held); // the newest again
    return held;
  }
  const entry = { value: undefined };
  entry.done = loaded(path).catch((error) => {
    if (error.status === 0 || error.status >= 429) pictures.delete(path); // worth another try
    return null;
  }).then((value) => (entry.value = value));
  pictures.set(path, entry);
  for (const [old, { value }] of pictures) {
    if (pictures.size <= MOST_PICTURES) break;
    if (value === undefined) continue;
    pictures.delete(old);
    if (value) URL.revokeObjectURL(value.url);
  }
  return entry;
}

const imagePath = (id, size) => `images/${encodeURIComponent(id)}?size=${size}`;

/** A picture of the gallery that is here already; undefined: it is not. */
export const heldPicture = (id, size) => pictures.get(imagePath(id, size))?.value;

/** A picture of the gallery; null: there is none. */
export const picture = (id, size) => fetched(imagePath(id, size)).done;

/** The picture of a query. */
export function queryPicture(query, size) {
  if (query.id !== undefined) return picture(query.id, size);
  return withPictures([query.picture], async () => {
    const found = await fetched(`explorer/pictures/${query.picture}`).done;
    if (found === null) pictures.delete(`explorer/pictures/${query.picture}`);
    return found;
  });
}
