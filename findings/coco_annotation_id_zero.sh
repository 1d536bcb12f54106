#!/usr/bin/env bash
# pycocotools 2.0.11: a ground-truth annotation whose id is 0 can be matched and still counts as
# missed.
#
# Four pictures, one object each, four perfect detections. Average precision and recall are 1 when the
# annotations are numbered from 1, and 0.564 and 0.75 when the same annotations are numbered from 0:
# the evaluation keeps the id of the matched annotation and takes 0 for "no match".
# What to do: number annotations from 1. Picture ids may start at 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6

cat >show.py <<'PYTHON'
import contextlib
import io
from importlib.metadata import version

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

BOX = [10, 10, 50, 50]


def scores(first_annotation, first_image):
    """AP and recall of perfect detections, by where the numbering starts."""
    images = range(first_image, first_image + 4)
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i, "width": 100, "height": 100} for i in images],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": first_annotation + n, "image_id": i, "category_id": 1,
             "bbox": BOX, "area": 2500, "iscrowd": 0}
            for n, i in enumerate(images)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes(
            [{"image_id": i, "category_id": 1, "bbox": BOX, "score": 0.9} for i in images]
        )
        judge = COCOeval(truth, found, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return f"AP {judge.stats[0]:.3f}, recall {judge.stats[8]:.3f}"


print("pycocotools", version("pycocotools"))
print("annotations from 1, pictures from 1:", scores(1, 1))
print("annotations from 1, pictures from 0:", scores(1, 0))
print("annotations from 0, pictures from 1:", scores(0, 1))
PYTHON

cat >expected.txt <<'EXPECTED'
pycocotools 2.0.11
annotations from 1, pictures from 1: AP 1.000, recall 1.000
annotations from 1, pictures from 0: AP 1.000, recall 1.000
annotations from 0, pictures from 1: AP 0.564, recall 0.750
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
