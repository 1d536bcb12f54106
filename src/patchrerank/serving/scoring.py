"""The work of the two threads: queries encoded together, shortlists rescored together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from patchrerank.gallery import Gallery
from patchrerank.images import PictureBytes
from patchrerank.pipeline import Cascade
from patchrerank.serving.documents import PictureVectors
from patchrerank.serving.hit_lines import Lines, lines_of
from patchrerank.serving.loaded import Loaded
from patchrerank.serving.refusals import own_pictures
from patchrerank.types import Queries, Ranking, Shortlist

Found = TypeVar("Found")

LATE = "there was no time"


@dataclass(frozen=True, eq=False)
class Encoding:
    """A query that a network must look at.

    Attributes:
        loaded: whose encoder.
        value: a picture's source, or words.
        box: where the object is, or None.
    """

    loaded: Loaded
    value: Any
    box: Sequence[float] | None

    @property
    def key(self) -> object:
        """What two of them must share to be encoded together."""
        return id(self.loaded), type(self.value).__name__ == "Text"


@dataclass(frozen=True, eq=False)
class Documents:
    """Pictures that a network must look at.

    Attributes:
        loaded: whose encoder, regions and stages.
        pictures: by their digests.
        until: when there is no use in going on.
    """

    loaded: Loaded
    pictures: dict[str, PictureBytes]
    until: float

    @property
    def key(self) -> object:
        """Each on its own."""
        return id(self)


@dataclass(eq=False)
class Rescoring:
    """A shortlist that is to be made and rescored.

    Attributes:
        reranker: that rescores it.
        queries: one, encoded.
        first: makes the first stage's order, and tells whether it is that of the documents.
        top: hits that are wanted; None: all.
        shortlist: the first stage's order, once it is made.
        as_sent: whether each document has the slot of the place where it was sent.
    """

    reranker: Cascade
    queries: Queries
    first: Callable[[], tuple[Shortlist, bool]]
    top: int | None
    shortlist: Shortlist | None = None
    as_sent: bool = False

    @property
    def key(self) -> object:
        """What two of them must share to be rescored together."""
        return id(self.reranker), self.queries.kind

    def first_stage(self) -> Shortlist:
        """Return the first stage's order, made once.

        Raises:
            PatchRerankError: it cannot be made.
        """
        if self.shortlist is None:
            self.shortlist, self.as_sent = self.first()
        return self.shortlist

    def in_order(self) -> Lines:
        """Return the first stage's order as hits that nobody rescored."""
        ranking = Ranking.of(self.first_stage(), self.queries.crops, self.queries.views)
        return lines_of(replace(ranking, failed=(LATE,)), self.reranker.gallery, [self.top])[0]


def encode_all(
    jobs: Sequence[Encoding | Documents], vectors: PictureVectors
) -> list[Queries | Cascade | Exception]:
    """Encode queries, those of one kind together, and pictures that are documents."""

    def work(group: Sequence[Encoding | Documents]) -> list[Queries | Cascade]:
        first = group[0]
        if isinstance(first, Documents):
            return [vectors.cascade(first.loaded, first.pictures, first.until)]
        asked = [job for job in group if isinstance(job, Encoding)]
        boxes = [job.box for job in asked]
        some = boxes if any(box is not None for box in boxes) else None
        found = first.loaded.reranker.encode([job.value for job in asked], some)
        return [found.take([number]) for number in range(len(found))]

    return in_groups(jobs, work)


def rescore_all(jobs: Sequence[Rescoring]) -> list[Lines | Exception]:
    """Rescore shortlists, those of one reranker and one kind of queries together."""

    def work(group: Sequence[Rescoring]) -> list[Lines]:
        queries = Queries.joined([job.queries for job in group])
        shortlist = Shortlist.joined([job.first_stage() for job in group])
        reranker = group[0].reranker
        with own_pictures():  # what was sent is read by now
            ranking = reranker.rerank(queries, shortlist)
        tops = [job.top for job in group]
        sent = [job.first_stage().rows[0] if job.as_sent else None for job in group]
        return lines_of(ranking, reranker.gallery, tops, reranker.calibration, sent)

    return in_groups(jobs, work)


def in_groups(
    jobs: Sequence[Any], work: Callable[[Sequence[Any]], Sequence[Found]]
) -> list[Found | Exception]:
    """Work on jobs that share a key together; where that fails, on each alone."""
    groups: dict[object, list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault(job.key, []).append(number)
    found: dict[int, Found | Exception] = {}
    for numbers in groups.values():
        try:
            found.update(zip(numbers, work([jobs[n] for n in numbers]), strict=True))
        except Exception as error:
            if len(numbers) == 1:
                found[numbers[0]] = error
            else:
                found.update((n, in_groups([jobs[n]], work)[0]) for n in numbers)
    return [found[number] for number in range(len(jobs))]


def unscored(shortlist: Shortlist, gallery: Gallery, top: int | None) -> Lines:
    """Return the hits of one query's shortlist, in its order, rescored by nobody.

    Args:
        shortlist: of one query.
        gallery: whose rows it has.
        top: hits that are wanted; None: all.
    """
    return lines_of(replace(Ranking.of(shortlist), failed=(LATE,)), gallery, [top])[0]
