"""What an adapter of a framework must do.

Subclass :class:`FrameworkConformance` in a test, say how the framework is called, and run it with
pytest::

    class TestMine(FrameworkConformance):
        def rerank(self, reranking, query, candidates, top_k=None):
            …
            return [Answer(id, score, known), …]
"""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from patchrerank.gallery import Gallery
from patchrerank.integrations.frameworks.reranking import Reranking
from patchrerank.rerankers import Patchify
from patchrerank.testing.colours import BOXES, COLOURS, IDS, colour_encoder, colour_gallery

SCORES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)


@dataclass(frozen=True)
class Candidate:
    """A document of the framework.

    Attributes:
        id: of the gallery; None: it has none.
        score: the first stage's; None: unknown.
        body: what else the document holds.
    """

    id: Any
    score: float | None = None
    body: str = "something"


@dataclass(frozen=True)
class Answer:
    """A document that came back: its id, its score, and what the framework keeps beside it."""

    id: Any
    score: float
    known: dict[str, Any] = field(default_factory=dict)


def ranked(names: Sequence[Any]) -> list[Candidate]:
    """Return candidates in this order, with falling scores."""
    return [Candidate(name, score) for name, score in zip(names, SCORES, strict=False)]


class FrameworkConformance(ABC):
    """Tests that hold for every adapter."""

    keeps_details: ClassVar[bool] = True
    """Whether the framework has a place for boxes and component scores."""

    @pytest.fixture(scope="class")
    def gallery(self, tmp_path_factory: Any) -> Gallery:
        """The gallery that all tests search."""
        return colour_gallery(tmp_path_factory.mktemp("colours"))

    @pytest.fixture(scope="class")
    def reranking(self, gallery: Gallery) -> Reranking:
        """A reranker with words."""
        return Reranking(Patchify(gallery, colour_encoder()))

    @abstractmethod
    def rerank(
        self,
        reranking: Reranking,
        query: str,
        candidates: Sequence[Candidate],
        top_k: int | None = None,
    ) -> list[Answer]:
        """Send candidates through the framework and return what came back, in its order."""

    @pytest.mark.parametrize("colour", COLOURS)
    def test_the_right_one_comes_first(self, reranking: Reranking, colour: str) -> None:
        """The order is that of the reranker, and scores say so."""
        found = self.rerank(reranking, colour, ranked(IDS))
        assert found[0].id == f"{colour}.png"
        assert sorted(answer.id for answer in found) == sorted(IDS)

    def test_scores_fall_strictly(self, reranking: Reranking) -> None:
        """Frameworks sort again, so no two scores are equal; they are plain floats."""
        found = self.rerank(reranking, "nothing", ranked(IDS))
        scores = [answer.score for answer in found]
        assert all(a > b for a, b in pairwise(scores))
        assert all(isinstance(score, float) for score in scores)

    def test_what_is_known_comes_along(self, reranking: Reranking) -> None:
        """Component scores and the box stand in the framework's own place."""
        if not self.keeps_details:
            pytest.skip("the framework has no place for it")
        first = self.rerank(reranking, "red", ranked(IDS))[0].known
        assert first["box"] == pytest.approx(BOXES["red"])
        assert first["local_score"] > 0.99
        assert first["status"] == "rescored"

    def test_the_cut(self, reranking: Reranking) -> None:
        """Only so many come back, the best."""
        found = self.rerank(reranking, "blue", ranked(IDS), top_k=2)
        assert len(found) == 2
        assert found[0].id == "blue.png"

    def test_nothing_in_nothing_out(self, reranking: Reranking) -> None:
        """An empty list is no error."""
        assert self.rerank(reranking, "red", []) == []

    def test_scores_that_are_not_known(self, reranking: Reranking) -> None:
        """Without scores, or with gaps in them, only the order counts."""
        some = [Candidate(name, None if n % 2 else 0.5) for n, name in enumerate(IDS)]
        none = [Candidate(name) for name in IDS]
        for candidates in (some, none):
            assert self.rerank(reranking, "green", candidates)[0].id == "green.png"

    def test_strangers_keep_their_places(self, reranking: Reranking) -> None:
        """What the gallery does not hold, newer ids for one, stays where it was."""
        names = ["new.png", "grey0.png", "red.png", "newer.png", "grey1.png"]
        found = [answer.id for answer in self.rerank(reranking, "red", ranked(names))]
        assert found[0] == "new.png"
        assert found[3] == "newer.png"
        assert found[1] == "red.png"

    def test_all_strangers(self, reranking: Reranking) -> None:
        """If it holds none of them, the order that came in goes out."""
        names = ["x.png", "y.png", "z.png"]
        assert [a.id for a in self.rerank(reranking, "red", ranked(names))] == names

    def test_one_picture_twice(self, reranking: Reranking) -> None:
        """Several documents of one picture stay together, in their order."""
        candidates = [
            Candidate("grey0.png", 0.9, "first"),
            Candidate("red.png", 0.8, "second"),
            Candidate("grey1.png", 0.7, "third"),
            Candidate("red.png", 0.6, "fourth"),
        ]
        found = [a.id for a in self.rerank(reranking, "red", candidates)]
        assert found[:2] in (["red.png", "red.png"], ["red.png", "grey0.png"])  # or counted once

    def test_nothing_that_is_passed_in_changes(self, reranking: Reranking) -> None:
        """Neither the list nor what it holds."""
        candidates = ranked(IDS)
        before = copy.deepcopy(candidates)
        self.rerank(reranking, "red", candidates)
        assert candidates == before

    def test_the_same_twice(self, reranking: Reranking) -> None:
        """Same input, same output."""
        first = self.rerank(reranking, "red", ranked(IDS))
        assert self.rerank(reranking, "red", ranked(IDS)) == first

    def test_several_threads(self, reranking: Reranking) -> None:
        """Threads do not disturb each other."""
        alone = {name: self.rerank(reranking, name, ranked(IDS)) for name in COLOURS}
        found: dict[str, list[Answer]] = {}

        def ask(name: str) -> None:
            for _ in range(3):
                found[name] = self.rerank(reranking, name, ranked(IDS))

        threads = [threading.Thread(target=ask, args=(name,)) for name in COLOURS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == alone
