"""Small copies of the benchmarks' own layouts, with drawn pictures."""

import gzip
import json
import pickle

import numpy as np
from PIL import Image

SIZE = 80, 60


def patch(seed):
    """What an object looks like."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse)


def picture(path, seed, objects=(), size=SIZE):
    """Draw a picture with objects ``(seed, (x0, y0, x1, y1))`` on a smooth background."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = patch(1000 + seed).resize(size, Image.Resampling.BICUBIC)
    for number, (x0, y0, x1, y1) in objects:
        image.paste(patch(number).resize((x1 - x0, y1 - y0), Image.Resampling.NEAREST), (x0, y0))
    image.save(path)


def box_lines(path, boxes):
    path.write_text("".join(" ".join(map(str, box)) + "\n" for box in boxes))


# ILIAS: id on disk -> boxes in pixels, x y width height
ILIAS_QUERIES = {
    "bold_bimp_000/query/Q000_00.jpg": [(10, 5, 40, 30)],
    "bold_bimp_000/query/Q000_01.jpg": [(10, 5, 20, 30), (40, 20, 30, 40)],
    "café_mug_001/query/Q001_00.jpg": [(0, 0, 80, 60)],
    "zippy_zoot_002/query/Q002_00.jpg": [(20, 10, 30, 30)],
}
ILIAS_POSITIVES = {
    "bold_bimp_000/pos/P000_00.jpg": ([(5, 10, 20, 20)], 0.083, 3),
    "bold_bimp_000/pos/P000_01.jpg": ([(50, 30, 20, 20), (0, 0, 30, 30)], 0.1875, 40),
    "café_mug_001/pos/P001_00.jpg": ([(30, 30, 31, 17)], 0.1098, 18),
    "zippy_zoot_002/pos/P002_00.jpg": ([(60, 40, 20, 20)], 0.083, 60),
    "zippy_zoot_002/pos/P002_01.jpg": ([(0, 0, 40, 60)], 0.5, 0),
}
ILIAS_DISTRACTORS = ("000/11", "000/12", "000/13", "001/21", "001/22")


def escaped(name):
    return name.replace("é", "#U00e9")


def ilias(root):
    """Write a miniature ILIAS; the folder of one instance is not ASCII, its ids are."""
    core = root / "ilias_core"
    boxed = {**ILIAS_QUERIES, **{name: known[0] for name, known in ILIAS_POSITIVES.items()}}
    for seed, (name, boxes) in enumerate(boxed.items()):
        objects = [(int(name[-9:-7]), (x, y, x + w, y + h)) for x, y, w, h in boxes]
        picture(core / name, seed, objects)
        box_lines((core / name).with_name(f"{(core / name).stem}_bbox.txt"), boxes)
    for seed, name in enumerate(ILIAS_DISTRACTORS):
        picture(root / "yfcc100m" / f"{name}.jpg", 50 + seed)
    ids = root / "image_ids"
    ids.mkdir()
    queries = [f"{escaped(name)},0\n" for name in reversed(ILIAS_QUERIES)]
    (ids / "image_query_ids.txt").write_text("".join(queries))
    known = ILIAS_POSITIVES.items()
    lines = (f"{escaped(name)},{scale},{clutter}\n" for name, (_, scale, clutter) in known)
    (ids / "positive_ids.txt").write_text("".join(lines))
    instances = sorted({escaped(name).split("/")[0] for name in ILIAS_QUERIES})
    texts = [f"{name}/query/T{number:03d}.txt" for number, name in enumerate(instances)]
    (ids / "text_query_ids.txt").write_text("\n".join(texts) + "\n")
    (core / texts[0]).write_text("a small bimp\n")
    with gzip.open(ids / "distractor_ids.txt.gz", "wt") as file:
        file.write("\n".join(ILIAS_DISTRACTORS))
    (ids / "mini_ilias_yfcc100m_ids.txt").write_text("12\n22\n")
    (root / "misc").mkdir()
    (root / "misc/taxonomy.json").write_text(json.dumps({"product": {"toy": {"x": instances}}}))
    return root


# INSTRE: picture -> boxes in pixels, x0 y0 x1 y1
INSTRE_IMAGES = {
    "INSTRE-S1/01a_book/001.jpg": [(40, 30, 70, 50)],
    "INSTRE-S1/01a_book/002.jpg": [(0, 0, 80, 60)],
    "INSTRE-S1/01b_bear/001.jpg": [(45, 5, 75, 45)],
    "INSTRE-S2/01_tower/001.jpg": [(50, 20, 79, 58)],
    "INSTRE-M/01/001.jpg": [(2, 2, 22, 32), (50, 30, 80, 60)],
}
INSTRE_QUERIES = {  # picture -> its box and positives, 1-based
    "INSTRE-S1/01a_book/009.jpg": ((42, 28, 74, 52), [1, 2, 5]),
    "INSTRE-S1/01b_bear/009.jpg": ((10, 10, 60, 50), [3, 5]),
    "INSTRE-S2/01_tower/009.jpg": ((50, 30, 75, 59), [4]),
    "INSTRE-M/01/009.jpg": ((0, 0, 80, 60), [5]),
}


def as_xywh(box):
    x0, y0, x1, y1 = box
    return x0, y0, x1 - x0, y1 - y0


def instre_mat(path, queries, images, truths, names=("ok", "bbx")):
    """Write the file; truths hold positives (1-based) and box."""
    from scipy.io import savemat

    def cells(values):
        row = np.empty((1, len(values)), dtype=object)
        row[0, :] = list(values)
        return row

    gnd = np.zeros((1, len(truths)), dtype=[(name, object) for name in names])
    for number, (rows, box) in enumerate(truths):
        gnd[0, number][names[0]] = np.array([rows], dtype=np.float64)
        gnd[0, number][names[1]] = np.array([box], dtype=np.float64)
    savemat(path, {"qimlist": cells(queries), "imlist": cells(images), "gnd": gnd})


def instre(root, mat=tuple, txt=as_xywh, pictures="."):
    """Write a miniature INSTRE; ``mat`` and ``txt`` turn a corner box into the files' format."""
    boxed = {**INSTRE_IMAGES, **{name: [box] for name, (box, _) in INSTRE_QUERIES.items()}}
    for seed, (name, boxes) in enumerate(boxed.items()):
        path = root / pictures / name
        picture(path, seed, [(7, box) for box in boxes])
        box_lines(path.with_suffix(".txt"), map(txt, boxes))
    truths = [(rows, mat(box)) for box, rows in INSTRE_QUERIES.values()]
    instre_mat(root / "gnd_instre.mat", list(INSTRE_QUERIES), list(INSTRE_IMAGES), truths)
    return root


REVISITED_IMAGES = [f"oxford_{number:06d}" for number in range(10)]
REVISITED_QUERIES = ["all_souls_000013", "bodleian_000107", "oxford_002985"]
REVISITED_TRUTH = [
    {"bbx": [10.5, 5.0, 60.0, 55.2], "easy": [0, 3], "hard": [4], "junk": [5, 9]},
    {"bbx": [0, 0, 80, 60], "easy": [], "hard": [1, 2], "junk": []},
    {"bbx": [20, 20, 79, 59], "easy": [6], "hard": [], "junk": [7]},
]


def revisited(root, truth=None, **changes):
    """Write a miniature of revisited Oxford."""
    for seed, name in enumerate([*REVISITED_IMAGES, *REVISITED_QUERIES]):
        picture(root / "jpg" / f"{name}.jpg", seed)
    content = {
        "gnd": REVISITED_TRUTH if truth is None else truth,
        "imlist": REVISITED_IMAGES,
        "qimlist": REVISITED_QUERIES,
        **changes,
    }
    (root / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content, 2))
    return root
