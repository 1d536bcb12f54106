"""What the page is told: of the gallery, of a query's candidates, of one hit."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patchrerank.errors import PatchRerankError, shown
from patchrerank.fusion import Fusion, narrowed
from patchrerank.gallery import Gallery
from patchrerank.pipeline import Cascade
from patchrerank.serving.engine import Engine
from patchrerank.serving.explorer.asked import Asked, AskedQueries, SentPictures
from patchrerank.serving.explorer.components import StageScores, components, scores_alone
from patchrerank.serving.explorer.evidence import evidence
from patchrerank.serving.loaded import Loaded
from patchrerank.serving.refusals import RequestError, own_pictures, public_words
from patchrerank.serving.settings import ServiceSettings
from patchrerank.types import Floats, Rows, Shortlist

SAMPLES = 24
"""Images of the gallery that are offered as queries."""

AT_ONCE = 2
"""Questions that are worked on; others wait."""


class Answers:
    """Answers the page's questions; safe under threads.

    Attributes:
        pictures: that were sent.

    Args:
        engine: whose gallery and stages they are about.
        settings: limits.
        candidates: that are scored for a query.
    """

    def __init__(self, engine: Engine, settings: ServiceSettings, candidates: int) -> None:
        self._engine, self._candidates = engine, min(candidates, settings.max_candidates)
        self.pictures = SentPictures(settings.max_pixels)
        self._queries = AskedQueries(self.pictures)
        self._busy = threading.BoundedSemaphore(AT_ONCE)

    def about(self) -> dict[str, Any]:
        """Say what is explored, and how queries may be asked; loads the encoder."""
        now = self._engine.current
        gallery, reranker = now.gallery, now.reranker
        with self._busy:
            text, why = _takes(reranker, self._engine)
        return {
            "name": gallery.folder.resolve().name,
            "images": gallery.live_count,
            "patches": gallery.manifest.patches,
            "regions": gallery.manifest.regions,
            "encoder": str(gallery.manifest.encoder.get("spec")),
            "text": text,
            "why": why,
            "crop": reranker.query_crop,
            "identity": gallery.manifest.identity[:16],
            "stages": [_stage(stage) for stage in reranker.stages],
            "sample": [str(name) for name in gallery.ids.at(_spread(gallery.live))],
            "pictures": _holds_pictures(gallery),
        }

    def query(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Score a query's candidates: the first stage's score, and each stage's.

        Args:
            body: ``query`` (:class:`Asked`), and ``settings``, ``{lam, gamma, size}`` a stage.
        """
        now, asked = self._engine.current, Asked.read(body.get("query"))
        fusions = _fusions(body.get("settings"), now.reranker)
        with self._busy:
            queries = self._queries.encode(asked, now)
            found = now.search(queries, min(self._candidates, now.gallery.live_count))
            filled = int((found.rows[0] >= 0).sum())
            head = Shortlist(found.rows[:, :filled], found.scores[:, :filled])
            scored = components(now.reranker, fusions, queries, head)
        return {
            "ids": [str(name) for name in now.gallery.ids.at(head.rows[0])],
            "global": _encoded(head.scores[0]),
            "crop": queries.crops[0],
            "views": queries.views[0] if queries.views else "none",
            "stages": [_scores(stage) for stage in scored],
        }

    def pair(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what speaks for one image: ``query``, and ``id`` of the gallery."""
        now, asked = self._engine.current, Asked.read(body.get("query"))
        row = _row(now, body.get("id"))
        with self._busy:
            queries = self._queries.with_local(asked, now)
            found = evidence(now.reranker, queries, row)
        return {
            "scores": _encoded(found.scores),
            "boxes": _encoded(found.boxes),
            "maps": [
                {"name": each.name, "grid": each.values.shape, "values": _encoded(each.values)}
                for each in found.maps
            ],
        }

    def picture(self, asked: Asked) -> Path | bytes:
        """Return the picture of a query, or of an image of the gallery.

        Raises:
            PatchRerankError: it is not there.
        """
        if asked.picture is not None:
            return self.pictures[asked.picture]
        now = self._engine.current
        with own_pictures():
            return now.gallery.pictures[_row(now, asked.id)]

    @property
    def record(self) -> dict[str, Any]:
        """How judgements came about, for the record."""
        now = self._engine.current
        return {
            "made_by": "patchrerank explore",
            "gallery": now.gallery.folder.resolve().name,
            "encoder": str(now.gallery.manifest.encoder.get("spec")),
            "stages": [_stage(stage) for stage in now.reranker.stages],
        }


def _takes(reranker: Cascade, engine: Engine) -> tuple[bool, str]:
    """Return whether words can be encoded, and why pictures cannot; empty: they can."""
    try:
        encoder = reranker.query_encoder()
    except PatchRerankError as error:
        return False, public_words(error, engine.files)
    return encoder is not None and encoder.text is not None, ""


def _holds_pictures(gallery: Gallery) -> bool:
    """Return whether the first picture is where the gallery says that it is."""
    try:
        return not len(gallery.live) or gallery.pictures[int(gallery.live[0])] is not None
    except PatchRerankError:
        return False


def _stage(stage: Any) -> dict[str, Any]:
    fusion = stage.fusion
    return {
        "name": stage.reranker.name,
        "lam": float(fusion.lam),
        "gamma": float(fusion.gamma),
        "size": fusion.shortlist_size,
        "alone": scores_alone(stage.reranker),
    }


def _scores(stage: StageScores) -> dict[str, Any]:
    return {
        "scores": _encoded(stage.scores),
        "boxes": _encoded(stage.boxes),
        "head": None if stage.head is None else stage.head.tolist(),
        "failed": stage.failed,
    }


def _encoded(values: Floats) -> str:
    """Return float32 numbers as base64, which is short, exact, and knows NaN and −inf."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def _spread(rows: Rows) -> Rows:
    """Return some rows, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(np.int64)
    return rows[places]


def _row(now: Loaded, image_id: Any) -> int:
    if not isinstance(image_id, str):
        raise RequestError(f"id is {shown(image_id)}; expected text")
    return now.row_of(image_id)


def _fusions(settings: object, reranker: Cascade) -> list[Fusion]:
    """Return the fusion of each stage; without settings the stages' own.

    Raises:
        RequestError: settings of other stages.
        SettingError: λ, γ or a size out of range.
    """
    if settings is None:
        return [stage.fusion for stage in reranker.stages]
    if not isinstance(settings, list) or len(settings) != len(reranker.stages):
        raise RequestError(
            f"settings must be a list of {len(reranker.stages)}, one a stage; if the stages of the "
            "service have changed, load the page again"
        )
    limit, made = float("inf"), []
    for number, given in enumerate(settings):
        if not isinstance(given, Mapping) or not {"lam", "gamma", "size"} <= given.keys():
            raise RequestError(f"settings[{number}] needs lam, gamma and size")
        fusion = Fusion(given["lam"], given["gamma"], given["size"])
        limit = narrowed(limit, number, fusion.shortlist_size)
        made.append(fusion)
    return made
