"""AMES or ELViS with given weights, tuned on one half of the objects and measured on the other.

With ``--codes`` the gallery's side is the method's own store in place of the local descriptors:
16 bits a dimension, or one bit for a binarised network. ``--whiten``, ``--store`` and
``--query-views`` are of the patches and of global search, which the method stands behind.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from patchrerank.analysis.galleries import (
    StoreSettings,
    dataset_gallery,
    stored_gallery,
    with_local_descriptors,
)
from patchrerank.analysis.workbench import encode_dataset_queries
from patchrerank.datasets import Dataset, load_dataset
from patchrerank.encoders import Selection, load_dense_encoder, load_encoder
from patchrerank.first_stage import GlobalSearch
from patchrerank.gallery import BuildOptions, Gallery
from patchrerank.regions import GridPyramid
from patchrerank.rerankers import (
    AMES,
    AmesSettings,
    ELViS,
    ElvisSettings,
    Patchify,
    compact_local,
)
from patchrerank.rerankers.trained import limited
from patchrerank.tuning import Budget, PairScorer, RunSettings, build_table, run_tuning
from patchrerank.tuning.result_record import result_record
from patchrerank.tuning.write_tuned import behind
from patchrerank.types import Queries, QueryViews, Shortlist

METHODS: dict[str, Any] = {"ames": (AMES, AmesSettings), "elvis": (ELViS, ElvisSettings)}


def main(
    method: Annotated[str, typer.Argument(help="ames or elvis.")],
    checkpoint: Annotated[Path, typer.Argument(help="The authors', or of patchrerank train.")],
    dataset: Path,
    encoder: Annotated[str, typer.Option()] = "efficientnet_lite0",
    image_size: Annotated[int, typer.Option(help="Of patches and global vectors.")] = 224,
    local_image_size: Annotated[int, typer.Option(help="Of the gallery's pictures.")] = 448,
    query_image_size: Annotated[int, typer.Option(help="Of queries.")] = 224,
    query_part: Annotated[str, typer.Option()] = "foreground",
    descriptors: Annotated[
        int | None,
        typer.Option(help="Of a gallery picture; default: the method's."),
    ] = None,
    codes: Annotated[
        bool, typer.Option("--codes", help="Compare codes in the method's own store.")
    ] = False,
    whiten: Annotated[int | None, typer.Option(help="Dimensions of patches that are kept.")] = None,
    store: Annotated[str, typer.Option(help="Of patches.")] = "float32",
    query_views: Annotated[str | None, typer.Option(help="Such as 8:20.")] = None,
    candidates: Annotated[
        int | None, typer.Option(help="Patchify's first so many alone; default: all images.")
    ] = None,
    trials: Annotated[int, typer.Option()] = 100,
    cache: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Print what tuning finds behind the global search, and behind Patchify as the retriever."""
    kept = StoreSettings(store, whiten)
    views = None if query_views is None else QueryViews.parse(query_views)
    data, model = load_dataset(dataset), load_encoder(encoder, image_size=image_size)
    part = Selection(query_part=query_part)  # type: ignore[arg-type]
    asked = load_dense_encoder(model, image_size=query_image_size, selection=part)
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        place = cache or Path(scratch)
        built = _gallery(data, model, local_image_size, place)
        gallery = stored_gallery(built, data, model, kept, progress=True)
        reranker = _reranker(method, gallery, asked, checkpoint, descriptors, codes)
        queries = encode_dataset_queries(data, model, gallery, "none", views=views)
        scorer = PairScorer(
            data, gallery, {"patchify": Patchify(gallery), method: reranker}, queries
        )
        kind = f"{method}-codes" if codes else method
        asked_for = f"{query_views or 'plain'}-{candidates or 'all'}".replace(":", "-")
        folder = place / f"{gallery.folder.name}-{kind}-{_name(reranker)}-{asked_for}"
        table = build_table(folder, scorer, _listed(gallery, queries, candidates))
        how = RunSettings((method,), folds=2, budget=Budget(trials))
        before = ("global", "patchify") if candidates is None else ("patchify",)
        found = {first: _tuned(table, first, how) for first in before}
        sizes = {name: size / len(gallery) for name, size in reranker.local.nbytes().items()}
    print(json.dumps({"bytes_per_image": sizes, "behind": found}, indent=1))


def _reranker(
    method: str,
    gallery: Gallery,
    asked: Any,
    checkpoint: Path,
    descriptors: int | None,
    codes: bool,
) -> Any:
    made, settings = METHODS[method]
    chosen = limited(settings(), checkpoint)
    if descriptors is not None:
        chosen = replace(chosen, gallery_descriptors=descriptors)
    given = {"dense_encoder": asked, "checkpoint": checkpoint, "settings": chosen}
    reranker = made(gallery, **given)
    if not codes:
        return reranker
    folder = gallery.folder / f"codes-{_name(reranker)}"
    most = reranker.settings.gallery_descriptors
    return made(
        gallery, **given, local=compact_local(gallery, reranker.network, folder, count=most)
    )


def _name(reranker: Any) -> str:
    counts = reranker.settings.query_descriptors, reranker.settings.gallery_descriptors
    return "-".join([reranker.fingerprint[:12], *(str(count or "all") for count in counts)])


def _gallery(data: Dataset, model: Any, local_image_size: int, place: Path) -> Gallery:
    gallery, _ = dataset_gallery(data, model, GridPyramid(3), place, BuildOptions())
    dense = load_dense_encoder(model, image_size=local_image_size)
    return with_local_descriptors(gallery, data, dense, progress=True)


def _listed(gallery: Gallery, queries: Queries, candidates: int | None) -> Shortlist:
    """Return all images by global search, or of these the first so many by their patches."""
    found = GlobalSearch(gallery).search(queries)
    if candidates is None:
        return found
    scores = Patchify(gallery).score(queries, found).scores
    slots = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :candidates], axis=1)
    rows = np.take_along_axis(found.rows, slots, axis=1)
    return Shortlist(rows, np.take_along_axis(found.scores, slots, axis=1))


def _tuned(table: Any, first: str, settings: RunSettings) -> dict[str, Any]:
    seen = behind(table, first)
    return result_record(run_tuning(seen, settings), seen)


if __name__ == "__main__":
    typer.run(main)
