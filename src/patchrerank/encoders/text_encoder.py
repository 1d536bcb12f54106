"""The text tower beside an image tower: words become vectors among those of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from patchrerank.encoders.normalise import normalise_rows
from patchrerank.encoders.pickling import Unchanging
from patchrerank.errors import EncoderError, short_reason
from patchrerank.types import Floats, Text

TextTower: TypeAlias = Callable[[Sequence[str]], npt.ArrayLike]
"""Prompts in, one vector ``(d,)`` each out."""

BATCH = 64
"""Prompts encoded at once."""


class TextEncoder(Unchanging):
    """A text tower that is loaded when the first words come.

    Args:
        load: returns the tower, whose vectors live in the space of the image tower.
    """

    def __init__(self, load: Callable[[], TextTower]) -> None:
        self._load = load

    @classmethod
    def of(cls, tower: TextTower) -> TextEncoder:
        """Return one whose tower is there already."""
        return cls(_Given(tower))

    @cached_property
    def tower(self) -> TextTower:
        """What makes vectors of prompts."""
        return self._load()

    def __getstate__(self) -> dict[str, object]:
        return {"_load": self._load}


class Worded(Protocol):
    """An encoder as far as words are concerned."""

    spec: str
    dim: int
    text: TextEncoder | None


class _Given:
    """Returns what it holds (a function that can be pickled)."""

    def __init__(self, tower: TextTower) -> None:
        self.tower = tower

    def __call__(self) -> TextTower:
        return self.tower


def encode_texts(encoder: Worded, texts: Sequence[Text]) -> Floats:
    """Encode words into the space of an encoder's pictures.

    Args:
        encoder: one with a text tower: those of open_clip, or one that was loaded from a module
            with ``text=``.
        texts: N queries; of several templates the unit vectors are averaged.

    Returns:
        float32 ``(N, dim)``, rows of L2 norm 1.

    Raises:
        EncoderError: there is no text tower, it cannot be loaded, or its vectors are of another
            length than those of pictures.
        VectorError: NaN or zero vectors.
    """
    if encoder.text is None:
        raise EncoderError(
            f"the encoder {encoder.spec} has no text tower, so it cannot take words; those of "
            "open_clip have one (open_clip:<model>/<tag or file>). Ask with a picture or a vector"
        )
    prompts = [prompt for text in texts for prompt in text.prompts]
    found = [np.empty((0, encoder.dim), dtype=np.float32)]
    for start in range(0, len(prompts), BATCH):
        found.append(_encoded(encoder, encoder.text.tower, prompts[start : start + BATCH]))
    vectors, ends = np.concatenate(found), np.cumsum([len(text.templates) for text in texts])
    parts = np.split(vectors, ends[:-1]) if len(texts) else []
    means = np.array([part.mean(axis=0) for part in parts], dtype=np.float32)
    return normalise_rows(means.reshape(len(texts), encoder.dim), f"text tower of {encoder.spec}")


def _encoded(encoder: Worded, tower: TextTower, prompts: Sequence[str]) -> Floats:
    try:
        vectors = np.asarray(tower(prompts), dtype=np.float32)
    except EncoderError:
        raise
    except Exception as error:
        raise EncoderError(
            f"the text tower of {encoder.spec} cannot encode {prompts[0]!r} ({short_reason(error)})"
        ) from error
    if vectors.shape != (len(prompts), encoder.dim):
        raise EncoderError(
            f"the text tower of {encoder.spec} returned {vectors.shape} for {len(prompts)} "
            f"prompts; pictures have {encoder.dim} dimensions, and words need as many"
        )
    return normalise_rows(vectors, f"text tower of {encoder.spec}")
