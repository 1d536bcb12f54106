"""patchrerank: rescore an image-search shortlist with local evidence, with a box on every hit.

The front door; everything here is loaded when it is first asked for, and everything else is
found by its room (``patchrerank.rerankers``, ``patchrerank.metrics``, …)::

    import patchrerank

    patchrerank.build_gallery("gallery/", "photos/", "open_clip:ViT-B-32/laion2b_s34b_b79k")
    reranker = patchrerank.load_reranker("gallery/")
    for hit in reranker.rank("query.jpg", ids, scores, top_k=10):
        print(hit.rank, hit.id, hit.score, hit.box)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchrerank.encoders import load_encoder
    from patchrerank.errors import PatchRerankError
    from patchrerank.fusion import Fusion
    from patchrerank.gallery import Gallery, build_gallery
    from patchrerank.pipeline import Cascade, Stage, load_reranker
    from patchrerank.types import Hit, Text
    from patchrerank.version import __version__

__all__ = [
    "Cascade",
    "Fusion",
    "Gallery",
    "Hit",
    "PatchRerankError",
    "Stage",
    "Text",
    "__version__",
    "build_gallery",
    "load_encoder",
    "load_reranker",
]

_ROOMS = {
    "Cascade": "pipeline",
    "Fusion": "fusion",
    "Gallery": "gallery",
    "Hit": "types",
    "PatchRerankError": "errors",
    "Stage": "pipeline",
    "Text": "types",
    "__version__": "version",
    "build_gallery": "gallery",
    "load_encoder": "encoders",
    "load_reranker": "pipeline",
}
"""Name → module that defines it (PEP 562)."""


def __getattr__(name: str) -> object:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module 'patchrerank' has no attribute {name!r}")
    value: object = getattr(import_module(f"patchrerank.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
