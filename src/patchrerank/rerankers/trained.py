"""What a checkpoint of ``patchrerank train`` says of itself beside its weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from patchrerank.encoders.checkpoint_digests import content_digest
from patchrerank.encoders.checkpoints import read_content
from patchrerank.errors import EncoderError, SettingError

if TYPE_CHECKING:
    from patchrerank.rerankers.limits import Limits

    Limited = TypeVar("Limited", bound=Limits)

TRAINING = "training"
"""The key behind the authors' ``state``, ``optim`` and ``epoch``; their loaders ignore it."""

RUN, CONFIG, MOST = "run", "config", "most_descriptors"
"""What stands below it: identity of the run, the architecture, and :attr:`Trained.most`."""

DIGEST = "digest"
"""Also below it: of all that the file holds beside this entry. Older files have none."""


class Architecture(Protocol):
    """The configuration of a network, a dataclass; the shapes of weights do not show all of it."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    HIDDEN: ClassVar[tuple[str, ...]]


Config = TypeVar("Config", bound=Architecture)


@dataclass(frozen=True)
class Trained:
    """What was recorded.

    Attributes:
        origin: the file, for errors.
        config: the architecture, by field; None: the file is not one of ours.
        most: the largest numbers of descriptors of a query and of a gallery picture that
            training asked for; None: not recorded.
    """

    origin: str
    config: Mapping[str, Any] | None = None
    most: tuple[int, int] | None = None

    def complete(self, shown: Config) -> Config:
        """Return an architecture derived from shapes with what they do not show, if recorded.

        Raises:
            EncoderError: the record lacks it, or has values that cannot be.
        """
        if self.config is None:
            return shown
        hidden = {name: self.config.get(name) for name in shown.HIDDEN}
        kinds = {name: type(getattr(shown, name)) for name in hidden}
        if any(type(value) is not kinds[name] for name, value in hidden.items()):
            raise _damaged(self.origin)
        try:
            return replace(shown, **hidden)
        except SettingError as error:
            raise EncoderError(f"{self.origin}: recorded as {hidden}, but {error}") from error


def trained_in(content: Any, origin: str) -> Trained:
    """Return what the content of a checkpoint says of its training; of a foreign one nothing.

    Args:
        content: of :func:`~patchrerank.encoders.checkpoints.read_content`.
        origin: the file, for errors.

    Raises:
        EncoderError: the record is damaged, or the file does not hold what was written.
    """
    record = content.get(TRAINING) if isinstance(content, Mapping) else None
    if not isinstance(record, Mapping) or not record.keys() >= {RUN, CONFIG}:
        return Trained(origin)
    check_digest(content, origin)
    config, most = record[CONFIG], record.get(MOST)
    if not isinstance(config, Mapping) or not (most is None or _are_counts(most)):
        raise _damaged(origin)
    return Trained(origin, config, None if most is None else (most[0], most[1]))


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the digest of all that a checkpoint of ours holds beside the digest itself."""
    record = {key: value for key, value in content[TRAINING].items() if key != DIGEST}
    return content_digest({**content, TRAINING: record})


def check_digest(content: Mapping[str, Any], origin: str) -> None:
    """Refuse a checkpoint of ours that does not hold what was written; older ones are believed.

    Raises:
        EncoderError: its digest differs; names the file.
    """
    recorded = content[TRAINING].get(DIGEST)
    if recorded is not None and recorded != digest_of(content):
        raise EncoderError(
            f"{origin}: its digest differs from the one recorded when it was written; the file is "
            "damaged or edited: restore it, or train again"
        )


def limited(settings: Limited, checkpoint: str | os.PathLike[str] | None) -> Limited:
    """Return settings with no more descriptors than a checkpoint was trained with.

    Raises:
        EncoderError: the file cannot be read safely, or its record is damaged.
    """
    if checkpoint is None:
        return settings
    most = trained_in(read_content(checkpoint), os.fspath(checkpoint)).most
    if most is None:
        return settings
    given = settings.query_descriptors, settings.gallery_descriptors
    query, gallery = (
        seen if number is None else min(seen, number)
        for seen, number in zip(most, given, strict=True)
    )
    return replace(settings, query_descriptors=query, gallery_descriptors=gallery)


def _are_counts(most: Any) -> bool:
    pair = isinstance(most, list) and [type(number) for number in most] == [int, int]
    return pair and min(most) >= 1


def _damaged(origin: str) -> EncoderError:
    return EncoderError(
        f"{origin}: its entry {TRAINING!r} is damaged; keep its weights alone, below 'state', and "
        "pass config="
    )
