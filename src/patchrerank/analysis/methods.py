"""Methods as text: stages, and how the patch vectors that they read are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from patchrerank.analysis.galleries import StoreSettings
from patchrerank.errors import SettingError, near_matches
from patchrerank.gallery.stores import split_store
from patchrerank.gallery.whiten_choice import AUTO
from patchrerank.pipeline.stages import check_reranker, needs_local, parse_stages
from patchrerank.types import QueryViews

if TYPE_CHECKING:
    from patchrerank.pipeline import Tuned

GLOBAL = "global"
"""The first stage alone."""

WORDS: Mapping[str, type] = {
    "store": str,
    "whiten": str,
    "m": int,
    "nbits": int,
    "train-on": str,
    "rescore": int,
    "views": str,
}
"""What may follow the stages, as ``word=value``: fields of :class:`StoreSettings`, and views."""
QUANTISER = ("m", "nbits", "train-on")


@dataclass(frozen=True)
class Method:
    """What is measured: the first stage alone, stages as text, or a tuned cascade.

    Attributes:
        stages: a cascade as text (see :func:`patchrerank.pipeline.make_cascade`), or ``global``.
        store: how the patch vectors of the gallery are stored that it looks at.
        tuned: the tuned cascade that the stages come from; its own query crop and number of
            first-stage candidates are used. None: the stages are as given.
        views: how query objects are composed on backgrounds; None: as the settings of the
            evaluation say.
        label: what tables call it; the stages if it has none.

    Raises:
        SettingError: an unknown reranker, or malformed stages.
    """

    stages: str
    store: StoreSettings = field(default_factory=StoreSettings)
    tuned: Tuned | None = None
    label: str = ""
    views: QueryViews | None = None

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.stages)
        if not self.is_global:
            for stage in parse_stages(self.stages):
                check_reranker(stage.reranker)

    @classmethod
    def of(cls, tuned: Tuned) -> Method:
        """Return a tuned cascade as a method, on a gallery stored and whitened as its own was."""
        store = StoreSettings(tuned.tuned_on.store, tuned.tuned_on.whiten)
        return cls(str(tuned), store, tuned, f"tuned: {tuned}")

    @property
    def is_global(self) -> bool:
        """Whether it is the first stage alone."""
        return self.stages == GLOBAL

    @property
    def needs_local(self) -> bool:
        """Whether it compares local descriptors."""
        if self.is_global:
            return False
        if self.tuned is not None and self.tuned.tuned_on.local is not None:
            return True
        return needs_local(self.stages)

    @property
    def candidates(self) -> int | None:
        """How many candidates of the first stage it takes; None: all."""
        return None if self.tuned is None else self.tuned.tuned_on.candidates

    def described(self, dataset: str) -> str:
        """Return stages, store, and how far to trust a tuned cascade.

        Args:
            dataset: fingerprint of the data set that it runs on.
        """
        text = self.stages
        if self.store != StoreSettings():
            text += f" on {self.store.label}"
        if self.views is not None:
            text += f", query views {self.views}"
        if self.tuned is not None:
            same = self.tuned.tuned_on.dataset == dataset
            text += f" (tuned on {'this data set: optimistic' if same else 'another data set'})"
        return text

    def record(self, dataset: str) -> dict[str, str]:
        """Return its settings by name, for records: in parts, and as one text ``method``.

        Args:
            dataset: fingerprint of the data set that it runs on.
        """
        return {**self._parts(dataset), "method": self.described(dataset)}

    def _parts(self, dataset: str) -> dict[str, str]:
        if self.is_global:
            return {}
        if self.tuned is not None:
            same = self.tuned.tuned_on.dataset == dataset
            where = "this data set (optimistic figures)" if same else "another data set"
            return {"stages": self.stages, "tuned_on": where}
        first, *others = (stage.fusion for stage in parse_stages(self.stages))
        if others:
            return {"stages": self.stages}
        size = "all" if first.shortlist_size is None else str(first.shortlist_size)
        return {"lam": str(first.lam), "gamma": str(first.gamma), "shortlist_size": size}


FIRST_STAGE = Method(GLOBAL)


def parse_method(text: str) -> Method:
    """Parse ``STAGES [store=…] [whiten=N|auto] [m=…] [nbits=…] [train-on=…] [rescore=…]
    [views=…] [label=…]``.

    ``patchify:400`` reads the gallery as it was built, ``patchify store=pq train-on=boxes`` a copy
    with quantised patches, ``patchify views=8:20`` asks queries in views. Words are set apart by
    spaces; ``label`` is the last and takes the rest of the text. Without it the label is the text
    itself.

    Raises:
        SettingError: an unknown word or reranker, a malformed value, or malformed stages.
    """
    plain = " ".join(text.split())
    body, _, label = plain.partition(" label=")
    stages, *words = re.split(r" (?=[^ =]*=)", body)
    given = dict(_word(text, *word.split("=", 1)) for word in words)
    if split_store(str(given.get("store")))[0] != "pq":
        for name in QUANTISER:
            if name in given:
                raise SettingError(f"method {text!r}: {name} is for store=pq; add that or leave it")
    settings = {name.replace("-", "_"): value for name, value in given.items()}
    if "whiten" in settings and settings["whiten"] != AUTO:
        settings["whiten"] = _number(text, "whiten", settings["whiten"])
    views = QueryViews.parse(settings.pop("views")) if "views" in settings else None
    if "store" in settings:
        settings["name"] = settings.pop("store")
    return Method(stages, StoreSettings(**settings), label=label or plain, views=views)


def _word(text: str, name: str, value: str) -> tuple[str, Any]:
    if name not in WORDS:
        raise SettingError(
            f"method {text!r}: {name!r} is unknown{near_matches(name, WORDS)}; behind the stages "
            f"stand {', '.join(f'{word}=' for word in WORDS)} and, last, label="
        )
    return name, _number(text, name, value) if WORDS[name] is int else value


def _number(text: str, name: str, value: str) -> int:
    if not value.isdigit():
        raise SettingError(f"method {text!r}: {name} is {value!r}, not a whole number")
    return int(value)


def check_labels(methods: Sequence[Method]) -> None:
    """Refuse a report without methods, and two methods of one label.

    Raises:
        SettingError: says which.
    """
    labels = [method.label for method in methods]
    if not labels:
        raise SettingError("a report needs at least one method, such as patchify")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise SettingError(f"two methods are called {twice!r}; name one of them with label=")
