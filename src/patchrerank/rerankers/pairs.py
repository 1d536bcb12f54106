"""Other people's rerankers as a stage: a score of two pictures, from an object or an endpoint."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, get_args, runtime_checkable

import numpy as np
from PIL import Image

from patchrerank.errors import QueryError, RerankerError, SettingError, check_kind, short_reason
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.images import ImageSource, read_image
from patchrerank.rerankers.base import Reranker
from patchrerank.rerankers.http_scorer import HttpScorer
from patchrerank.rerankers.http_shapes import Asked, Scale
from patchrerank.rerankers.stage_parts import StageParts
from patchrerank.types import Floats, LocalScores, Queries, QueryCrop, Shortlist

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder

SURE = 1e-6
"""A probability is taken to be at least so far from 0 and 1, since certainty has no logit."""

TIMEOUT = 10.0
DEFAULT_FUSION = Fusion(lam=0.0, gamma=1.0, shortlist_size=20)


@runtime_checkable
class Predicts(Protocol):
    """Anything that scores pairs, as sentence-transformers' ``CrossEncoder`` does."""

    def predict(self, sentences: Sequence[tuple[Any, Any]]) -> Any:
        """Return one number a pair, higher is better."""
        ...


class Pairs(Reranker):
    """A candidate's score is what somebody else's model says of the pair of pictures.

    Such models are slow and strong (a vision-language model asked whether two pictures show the
    same object, arXiv 2604.13268, is the strongest known without training), so they belong behind
    other stages, on the last few candidates. A probability is turned into its logit, so that
    σ(1 · score) is the probability again; other scores are passed on as they are.

    A query whose candidates could not all be scored in time keeps the order that came in, and says
    so: :attr:`LocalScores.failed`, ``Hit.status == "fallback"``, and a warning in the log.

    Args:
        gallery: whose pictures are looked at.
        scorer: an endpoint (:class:`HttpScorer`), or an object with ``predict(pairs)``, which gets
            ``(query, picture)`` tuples of PIL pictures (the query may be a string).
        encoder: encodes query pictures for the drop-in call.
        fusion: default the score alone, on the first 20 candidates.
        query_crop: what is done with a query's box, before it is encoded and before it is shown to
            the model.
        scale: what an object's scores are; an endpoint has its own.
        timeout: seconds for one query; None: an endpoint's own, else 10.
        images: ``{gallery id: picture}``; None takes the files the gallery was built from.

    Raises:
        SettingError: something else in their places, or a timeout that is not positive.
    """

    name = "pairs"
    reads = frozenset({"pictures"})
    takes_checkpoint = True

    def __init__(
        self,
        gallery: Gallery,
        scorer: HttpScorer | Predicts,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        query_crop: QueryCrop = "none",
        *,
        scale: Scale = "logit",
        timeout: float | None = None,
        images: Mapping[Any, ImageSource] | None = None,
    ) -> None:
        super().__init__(gallery, encoder, fusion or DEFAULT_FUSION, query_crop)
        check_kind("images", images, Mapping, "a mapping, {gallery id: picture}")
        if not isinstance(scorer, HttpScorer | Predicts):
            raise SettingError(f"the scorer is {scorer!r}; use HttpScorer(…) or give it predict")
        own = (scorer.scale, scorer.timeout) if isinstance(scorer, HttpScorer) else (scale, TIMEOUT)
        self.scale, self.timeout = own[0], own[1] if timeout is None else timeout
        if self.scale not in get_args(Scale):
            raise SettingError(f"scale is {self.scale!r}; use {', '.join(get_args(Scale))}")
        if not 0 < self.timeout < math.inf:
            raise SettingError(f"timeout must be a positive number of seconds, got {timeout!r}")
        self.scorer, self.images = scorer, images

    @classmethod
    def from_stage(cls, parts: StageParts) -> Reranker:
        """Make one of a stage's text, ``pairs@endpoint.json``; see the base class."""
        if not parts.checkpoint:
            raise SettingError("pairs needs an endpoint; name the file that says which: pairs@FILE")
        scorer = HttpScorer.load(parts.checkpoint)
        crop, images = parts.query_crop, parts.images
        return cls(parts.gallery, scorer, parts.encoder, query_crop=crop, images=images)

    def score(self, queries: Queries, shortlist: Shortlist) -> LocalScores:
        """Return what the model says of each pair; see the class and the base class.

        Raises:
            QueryError: the queries are ready vectors, without pictures or words.
            ImageError: a picture cannot be read; it is named.
            SettingError: an endpoint's token is not there.
        """
        if len(queries) and queries.images is None and queries.texts is None:
            raise QueryError(
                "pairs are compared by their pictures, but these queries are vectors alone; ask "
                "with pictures or words, or set Queries.images"
            )
        scores = np.full(shortlist.rows.shape, -np.inf, dtype=np.float32)
        failed = [""] * len(queries)
        for number, rows in enumerate(shortlist.rows):
            slots = np.flatnonzero(rows >= 0)
            try:
                scores[number, slots] = self._scored(queries, number, rows[slots].tolist())
            except RerankerError as error:
                failed[number] = str(error)
        return LocalScores(scores, failed=tuple(failed) if any(failed) else ())

    def _scored(self, queries: Queries, number: int, rows: Sequence[int]) -> Floats:
        if not rows:
            return np.empty(0, dtype=np.float32)
        deadline = time.monotonic() + self.timeout
        asked, pictures = self._asked(queries, number), [self._picture(row) for row in rows]
        found = within(deadline, lambda: self._judged(asked, pictures, deadline))
        return _checked(found, len(rows), self.scale)

    def _judged(self, asked: Asked, pictures: Sequence[Image.Image], deadline: float) -> Any:
        if isinstance(self.scorer, HttpScorer):
            return self.scorer(asked, pictures, deadline)
        return self.scorer.predict([(asked, picture) for picture in pictures])

    def _asked(self, queries: Queries, number: int) -> Asked:
        if queries.texts is not None:
            return queries.texts[number].words
        picture = read_image((queries.images or ())[number])
        if queries.crops[number] == "box" and queries.boxes is not None:
            x0, y0, x1, y1 = queries.boxes[number].tolist()
            width, height = picture.size
            corner = (int(x0 * width), int(y0 * height))
            picture = picture.crop((*corner, math.ceil(x1 * width), math.ceil(y1 * height)))
        return self._small(picture)

    def _picture(self, row: int) -> Image.Image:
        name = self.gallery.ids[row]
        given = None if self.images is None else self.images.get(name)
        return self._small(read_image(self.gallery.pictures[row] if given is None else given))

    def _small(self, picture: Image.Image) -> Image.Image:
        if isinstance(self.scorer, HttpScorer):
            picture.thumbnail((self.scorer.max_side, self.scorer.max_side))
        return picture


def within(deadline: float, work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, if that is before the deadline; what is late is left alone.

    Raises:
        RerankerError: it took too long, or raised something.
        SettingError: it raised one.
    """
    answers: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        found, error = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise RerankerError("there was no answer in time") from None
    if isinstance(error, RerankerError | SettingError):
        raise error
    if error is not None:
        raise RerankerError(f"the model failed: {short_reason(error)}") from error
    return found


def _checked(found: Any, count: int, scale: str) -> Floats:
    """Return a model's scores as local scores.

    Raises:
        RerankerError: another number of them, NaN or infinite ones, or no probabilities.
    """
    try:
        scores = np.asarray(found, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise RerankerError(f"the model returned no numbers: {short_reason(error)}") from error
    if len(scores) != count:
        raise RerankerError(f"the model returned {len(scores)} scores for {count} pairs")
    if not np.isfinite(scores).all():
        raise RerankerError("the model returned a score that is NaN or infinite")
    if scale == "probability":
        if scores.min() < 0 or scores.max() > 1:
            raise RerankerError(
                f"the model returned scores between {scores.min():.4g} and {scores.max():.4g}, "
                "which are no probabilities; say what they are (scale)"
            )
        sure = np.clip(scores, SURE, 1 - SURE)
        scores = np.log(sure) - np.log1p(-sure)
    return scores.astype(np.float32)
