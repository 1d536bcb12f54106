"""Vector engines asked to rescore a shortlist by patches: exact search restricted to given ids."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from typing import Any

import numpy as np

from patchrerank.bench.patch_peers import ours
from patchrerank.bench.rounds import Contestant, Job, require
from patchrerank.bench.sizes import Sizes
from patchrerank.errors import SettingError
from patchrerank.kernels import Float32Store
from patchrerank.types import Floats, Rows

ENGINE_MIB = 200
"""The engines copy and index the vectors; more would measure patience."""


def engines(sizes: Sizes) -> Job:
    """One query against its shortlist, through whole engines: their interface is what is timed."""
    generator = np.random.default_rng(0)
    bytes_an_image = 4 * sizes.dim * sizes.patches
    images = min(sizes.store_mib, ENGINE_MIB) * (1 << 20) // bytes_an_image
    if images < sizes.candidates:
        raise SettingError(
            f"{sizes.candidates} candidates do not fit the engines' {images} images; take fewer, "
            "or smaller vectors"
        )
    shape = (images * sizes.patches, sizes.dim)
    vectors = generator.standard_normal(shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[0] + 0.1 * vectors[1]
    query /= np.linalg.norm(query)
    contestants = [
        ours(query, Float32Store(vectors), sizes.patches),
        Contestant("qdrant local mode, max_sim", _qdrant(query, vectors, sizes.patches)),
        Contestant("lancedb, flat, id filter", _lancedb(query, vectors, sizes.patches)),
    ]

    def draw(number: int) -> Rows:
        return np.random.default_rng(number).permutation(images)[: sizes.candidates]

    title = f"engines, {sizes.candidates} × {sizes.patches} × {sizes.dim} of {images} images"
    return Job(title, contestants, draw)


def _qdrant(query: Floats, vectors: Floats, patches: int) -> Any:
    @cache
    def client() -> Any:
        models = require("qdrant_client").models
        made = require("qdrant_client").QdrantClient(":memory:")
        config = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        space = models.VectorParams(
            size=vectors.shape[1], distance=models.Distance.DOT, multivector_config=config
        )
        made.create_collection("patches", vectors_config=space)
        table = vectors.reshape(-1, patches, vectors.shape[1])
        for start in range(0, len(table), 256):
            part = table[start : start + 256]
            points = [
                models.PointStruct(id=start + number, vector=rows.tolist())
                for number, rows in enumerate(part)
            ]
            made.upsert("patches", points)
        return made

    def run(rows: Rows) -> Floats:
        models = require("qdrant_client").models
        only = models.Filter(must=[models.HasIdCondition(has_id=rows.tolist())])
        found = client().query_points(
            "patches", query=[query.tolist()], query_filter=only, limit=len(rows)
        )
        score = {point.id: point.score for point in found.points}
        return np.array([score[row] for row in rows.tolist()], dtype=np.float32)

    return run


def _lancedb(query: Floats, vectors: Floats, patches: int) -> Any:
    @cache
    def table() -> Any:
        lancedb, pyarrow = require("lancedb"), require("pyarrow")
        folder = tempfile.mkdtemp(prefix="patchrerank-bench-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        values = pyarrow.array(vectors.reshape(-1))
        columns = {
            "image": np.repeat(np.arange(len(vectors) // patches), patches),
            "vector": pyarrow.FixedSizeListArray.from_arrays(values, vectors.shape[1]),
        }
        return lancedb.connect(folder).create_table("patches", pyarrow.table(columns))

    def run(rows: Rows) -> Floats:
        listed = ", ".join(map(str, rows.tolist()))
        search = table().search(query).distance_type("dot").where(f"image IN ({listed})")
        found = search.limit(len(rows) * patches).to_arrow()
        scores = np.full(len(vectors) // patches, -np.inf, dtype=np.float32)
        similarity = 1.0 - found["_distance"].to_numpy()  # its dot distance is 1 - product
        np.maximum.at(scores, found["image"].to_numpy(), similarity.astype(np.float32))
        return scores[rows]

    return run
