"""Composite benchmarks: cut-out objects pasted into photographs, with exact boxes.

No annotation is needed: whoever pastes an object knows where it is. The pictures are easier on
the eye of a model than real ones (sharp seams, foreign light), so numbers measured on them compare
methods; they do not predict the accuracy on photographs.
"""

from __future__ import annotations

from patchrerank.datasets.composite.build import build_composite
from patchrerank.datasets.composite.config import CompositeConfig

__all__ = ["CompositeConfig", "build_composite"]
