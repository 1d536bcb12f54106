"""Methods of a report as text: stages, and how the patch vectors that they read are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from patchrerank.analysis import StoreSettings
from patchrerank.errors import SettingError, near_matches
from patchrerank.pipeline.stages import check_reranker, parse_stages

if TYPE_CHECKING:
    from patchrerank.pipeline import Tuned

GLOBAL = "global"
"""The first stage alone."""

WORDS: Mapping[str, type] = {"store": str, "whiten": int, "m": int, "nbits": int, "train-on": str}
"""What may follow the stages, as ``word=value``: fields of :class:`StoreSettings`."""
QUANTISER = ("m", "nbits", "train-on")


@dataclass(frozen=True)
class Method:
    """One column of a report.

    Attributes:
        label: what the report calls it.
        stages: a cascade as text (see :func:`patchrerank.pipeline.make_cascade`), or ``global``.
        store: how the patch vectors of the gallery are stored that it looks at.
        tuned: the tuned cascade that the stages come from; its own query crop and number of
            first-stage candidates are used. None: the stages are as given.

    Raises:
        SettingError: an unknown reranker, or malformed stages.
    """

    label: str
    stages: str
    store: StoreSettings = field(default_factory=StoreSettings)
    tuned: Tuned | None = None

    def __post_init__(self) -> None:
        if not self.is_global:
            for stage in parse_stages(self.stages):
                check_reranker(stage.name)

    @property
    def is_global(self) -> bool:
        """Whether it is the first stage alone."""
        return self.stages == GLOBAL

    def described(self, dataset: str) -> str:
        """Return stages, store, and how far to trust a tuned cascade.

        Args:
            dataset: fingerprint of the data set that it runs on.
        """
        text = self.stages
        if self.store != StoreSettings():
            text += f" on {self.store.label}"
        if self.tuned is not None:
            same = self.tuned.tuned_on.dataset == dataset
            text += f" (tuned on {'this data set: optimistic' if same else 'another data set'})"
        return text


def parse_method(text: str) -> Method:
    """Parse ``STAGES [store=…] [whiten=…] [m=…] [nbits=…] [train-on=…] [label=…]``.

    ``patchify:400`` reads the gallery as it was built, ``patchify store=pq train-on=boxes`` a copy
    with quantised patches. Words are set apart by spaces; ``label`` is the last and takes the
    rest of the text. Without it the label is the text itself.

    Raises:
        SettingError: an unknown word or reranker, a malformed value, or malformed stages.
    """
    plain = " ".join(text.split())
    body, _, label = plain.partition(" label=")
    stages, *words = re.split(r" (?=[^ =]*=)", body)
    given = dict(_word(text, *word.split("=", 1)) for word in words)
    if given.get("store") != "pq":
        for name in QUANTISER:
            if name in given:
                raise SettingError(f"method {text!r}: {name} is for store=pq; add that or leave it")
    settings = {name.replace("-", "_"): value for name, value in given.items()}
    if "store" in settings:
        settings["name"] = settings.pop("store")
    return Method(label or plain, stages, StoreSettings(**settings))


def _word(text: str, name: str, value: str) -> tuple[str, Any]:
    if name not in WORDS:
        raise SettingError(
            f"method {text!r}: {name!r} is unknown{near_matches(name, WORDS)}; behind the stages "
            f"stand {', '.join(f'{word}=' for word in WORDS)} and, last, label="
        )
    if WORDS[name] is int and not value.isdigit():
        raise SettingError(f"method {text!r}: {name} is {value!r}, not a whole number")
    return name, WORDS[name](value)


def check_labels(methods: Sequence[Method]) -> None:
    """Refuse a report without methods, and two methods of one name.

    Raises:
        SettingError: says which.
    """
    labels = [method.label for method in methods]
    if not labels:
        raise SettingError("a report needs at least one method, such as patchify")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise SettingError(f"two methods are called {twice!r}; name one of them with label=")
