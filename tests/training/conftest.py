"""Descriptors of drawn objects: vectors of their own among vectors of nobody's."""

from __future__ import annotations

import numpy as np
import pytest

from patchrerank.datasets import Dataset, DatasetImage, DatasetQuery
from patchrerank.gallery import LocalStore
from patchrerank.gallery.local_manifest import LocalManifest
from patchrerank.gallery.local_writer import open_local_writer
from patchrerank.training.descriptors import DatasetDescriptors
from patchrerank.types import LocalDescriptors

DIM = 24
GRID = 5


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def described(rng, own, cells=GRID * GRID):
    """A picture of ``cells`` descriptors whose first places of the grid hold ``own``."""
    vectors = np.abs(rng.normal(size=(cells, DIM)))
    vectors[: len(own)] = own + 0.2 * rng.normal(size=own.shape)
    y, x = np.divmod(np.arange(cells), GRID)
    places = np.stack([(x + 0.5) / GRID, (y + 0.5) / GRID], axis=1).astype(np.float32)
    order = rng.permutation(cells)
    return LocalDescriptors(
        unit(vectors)[order],
        places[order],
        np.zeros(cells, np.int16),
        np.linspace(2, 1, cells, dtype=np.float32),
    )


def stored(folder, pictures):
    plan = LocalManifest(DIM, "float16", {}, "same", folder.name, ((GRID, GRID),), 8)
    with open_local_writer(folder, plan) as writer:
        writer.commit(pictures)
        writer.finish()
    return LocalStore(folder)


def make_part(folder, objects=8, positives=3, distractors=6, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shapes = np.abs(rng.normal(size=(objects, GRID, DIM))) * 2
    nowhere = np.zeros((0, 4), np.float32)
    top = np.array([[0, 0, 1, 1 / GRID]], np.float32)
    queries, images, asked, shown = [], [], [], []
    for number, own in enumerate(shapes):
        queries.append(DatasetQuery(f"q{number}", folder / f"q{number}.png", number))
        asked.append(described(rng, own, GRID))
        for place in range(positives):
            name = f"p{number}_{place}"
            images.append(DatasetImage(name, folder / name, number, top, 1 / GRID))
            shown.append(described(rng, own))
    for number in range(distractors):
        images.append(DatasetImage(f"d{number}", folder / f"d{number}", None, nowhere))
        shown.append(described(rng, np.zeros((0, DIM))))
    dataset = Dataset(folder, tuple(queries), tuple(images), fingerprint=f"{seed}")
    return DatasetDescriptors(
        dataset, stored(folder / "images", shown), stored(folder / "queries", asked)
    )


@pytest.fixture(scope="session")
def part(tmp_path_factory):
    return make_part(tmp_path_factory.mktemp("part"))


@pytest.fixture(scope="session")
def parts(tmp_path_factory, part):
    return [part, make_part(tmp_path_factory.mktemp("other"), objects=5, positives=2, seed=1)]
