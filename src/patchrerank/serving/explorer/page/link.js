// The view as the part of the address behind #, and back.

const KINDS = ["picture", "id", "text"];

/** Write a view, {query, run, settings, hit}: all of it, whatever the defaults will be. */
export function write({ query, run, settings, hit }) {
  const parts = new URLSearchParams();
  if (!query) return "";
  for (const kind of KINDS) if (query[kind] !== undefined) parts.set(kind, query[kind]);
  if (query.box) {
    parts.set("box", query.box.map((side) => +side.toFixed(5)).join(","));
    parts.set("crop", query.crop);
  }
  parts.set("run", run);
  parts.set("stages", settingsText(settings));
  if (hit !== null) parts.set("hit", hit);
  return parts.toString();
}

const settingsText = (settings) =>
  settings.map(({ size, lam, gamma }) => [size ?? "all", lam, gamma].join(":")).join(";");

/** Read a view; what makes no sense is left at its default. */
export function read(fragment, standard) {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const kind = KINDS.find((name) => parts.get(name));
  const run = Number(parts.get("run") ?? standard.settings.length);
  return {
    query: kind ? { [kind]: parts.get(kind), box: readBox(parts.get("box")), crop: cropOf(parts, standard) } : null,
    run: Number.isInteger(run) && run >= 0 && run <= standard.settings.length
      ? run : standard.settings.length,
    settings: readSettings(parts.get("stages"), standard.settings),
    hit: parts.get("hit"),
  };
}

function cropOf(parts, standard) {
  const crop = parts.get("crop");
  return crop === "box" || crop === "none" ? crop : standard.crop;
}

function readBox(text) {
  const box = (text ?? "").split(",").map(Number);
  const good = box.length === 4 && box.every((side) => side >= 0 && side <= 1);
  return good && box[0] < box[2] && box[1] < box[3] ? box : null;
}

function readSettings(text, standard) {
  const found = (text ?? "").split(";").map((stage) => {
    const [size, lam, gamma] = stage.split(":");
    return { size: size === "all" ? null : Number(size), lam: Number(lam), gamma: Number(gamma) };
  });
  const good = text && found.length === standard.length && found.every(({ size, lam, gamma }) =>
    (size === null || (Number.isInteger(size) && size >= 0)) &&
    lam >= 0 && lam <= 1 && gamma >= 0 && gamma < Infinity);
  return (good ? found : standard).map((setting) => ({ ...setting }));
}
