"""What whitening, query views and λ do to queries that are no objects on plain ground.

Scenes: crops of photographs of the gallery that show no object, turned a little, must find the
photograph again. Pasted: the queries' objects, pasted into such photographs, without a box and with
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image

from patchrerank.boxes import Floats
from patchrerank.datasets import Dataset, load_dataset
from patchrerank.encoders import find_object
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import Gallery, load_own_encoder
from patchrerank.images import read_image
from patchrerank.metrics import average_precisions
from patchrerank.pipeline import load_reranker
from patchrerank.types import QueryViews

PHOTOS = 100
SHARE = 0.6
"""Of the sides of a photograph that a scene shows."""
TURN, EDGE = 8.0, 12
"""Degrees by which scenes are turned at most, and pixels then cut off on each side."""
GROUND = (400, 300)
AREA = 0.25
"""Of the photograph that a pasted object's box covers."""
STAGES = ("patchify", "patchify:all:0.1:4", "patchify:all:0.3:4")

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries, where their objects are, if that is known, and what is relevant: bool ``(Q, N)``."""

    pictures: list[Image.Image]
    boxes: list[Floats] | None
    relevant: Marks


def main(
    galleries: Annotated[list[Path], typer.Argument(help="Of the data set's pictures.")],
    dataset: Annotated[Path, typer.Option(help="Folder with index.json.")],
    stages: Annotated[list[str], typer.Option(help="With λ and γ.")] = list(STAGES),  # noqa: B006
    views: Annotated[list[str], typer.Option(help="As --query-views.")] = ["0:20", "2:20", "8:20"],  # noqa: B006
) -> None:
    """Print mAP in percent by kind of queries, gallery and views, a column for each stage."""
    data = load_dataset(dataset)
    print("queries | gallery | views |", " | ".join(["global", *stages]))
    for place in galleries:
        gallery = Gallery(place)
        for name, asked in kinds(data, gallery):
            for how in [None, *map(QueryViews.parse, views)]:
                found = " | ".join(
                    f"{value:.1f}" for value in measured(gallery, asked, how, stages)
                )
                print(f"{name} | {gallery.manifest.dim} {gallery.manifest.store} | {how} | {found}")


def measured(
    gallery: Gallery, asked: Asked, views: QueryViews | None, stages: list[str]
) -> Iterator[float]:
    """Yield mAP in percent of the first stage, and of stages behind it."""
    encoder = load_own_encoder(gallery)
    rankers = [load_reranker(gallery, text, encoder=encoder, query_views=views) for text in stages]
    queries = rankers[0].encode(asked.pictures, asked.boxes)
    shortlist = GlobalSearch(gallery).search(queries, None)
    for rows in (shortlist.rows, *(one.rerank(queries, shortlist).rows for one in rankers)):
        ranked = np.take_along_axis(asked.relevant, rows, axis=1)
        yield 100 * float(average_precisions(ranked, asked.relevant.sum(axis=1)).mean())


def kinds(data: Dataset, gallery: Gallery) -> Iterator[tuple[str, Asked]]:
    """Yield each kind of queries with its name."""
    yield "scenes", scenes(data, gallery)
    found = pasted(data, gallery)
    yield "pasted, no box", Asked(found.pictures, None, found.relevant)
    yield "pasted, with box", found


def scenes(data: Dataset, gallery: Gallery) -> Asked:
    """Cut scenes out of photographs that show no object."""
    rng = np.random.default_rng(6)
    photos = [image for image in data.images if image.instance is None][:PHOTOS]
    rows = gallery.rows_of([image.id for image in photos])
    pictures = []
    for image in photos:
        picture = read_image(image.file)
        wide, high = (int(SHARE * side) for side in picture.size)
        left = int(rng.integers(0, picture.width - wide))
        top = int(rng.integers(0, picture.height - high))
        cut = picture.crop((left, top, left + wide, top + high))
        turned = cut.rotate(float(rng.uniform(-TURN, TURN)), resample=Image.Resampling.BICUBIC)
        pictures.append(turned.crop((EDGE, EDGE, wide - EDGE, high - EDGE)))
    relevant = np.zeros((len(photos), len(gallery)), dtype=np.bool_)
    relevant[np.arange(len(photos)), rows] = True
    return Asked(pictures, None, relevant)


def pasted(data: Dataset, gallery: Gallery) -> Asked:
    """Paste the objects of queries on plain ground into photographs that show none."""
    rng = np.random.default_rng(5)
    photos = [image.file for image in data.images if image.instance is None]
    pictures, boxes, kept = [], [], []
    for number, query in enumerate(data.queries):
        found = find_object(read_image(query.file), QueryViews())
        ground = read_image(photos[int(rng.integers(len(photos)))]).resize(GROUND)
        if found is None:
            continue
        piece = Image.fromarray(found.pixels)
        scale = (AREA * GROUND[0] * GROUND[1] / (piece.width * piece.height)) ** 0.5
        scale = min(
            scale, *(0.95 * room / side for room, side in zip(GROUND, piece.size, strict=True))
        )
        piece = piece.resize((max(8, int(piece.width * scale)), max(8, int(piece.height * scale))))
        left, top = (
            int(rng.integers(0, room - side)) for room, side in zip(GROUND, piece.size, strict=True)
        )
        ground.paste(piece, (left, top), piece)
        pictures.append(ground)
        corners = np.array([left, top, left + piece.width, top + piece.height], dtype=np.float32)
        boxes.append(corners / np.tile(np.array(GROUND, dtype=np.float32), 2))
        kept.append(number)
    names = np.array([image.id for image in data.images])
    rows = gallery.rows_of(names.tolist())
    relevant = np.zeros((len(kept), len(gallery)), dtype=np.bool_)
    for line, number in enumerate(kept):
        relevant[line, rows[data.positives[number]]] = True
    return Asked(pictures, boxes, relevant)


if __name__ == "__main__":
    typer.run(main)
