"""What a checkpoint of ``patchrerank train`` says of itself beside its weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from patchrerank.encoders.checkpoints import read_content
from patchrerank.errors import EncoderError, SettingError

if TYPE_CHECKING:
    from patchrerank.rerankers._learned import Limits

    Limited = TypeVar("Limited", bound=Limits)

Config = TypeVar("Config")

TRAINING = "training"
"""The key behind the authors' ``state``, ``optim`` and ``epoch``; their loaders ignore it."""


@dataclass(frozen=True)
class Trained:
    """What was recorded; nothing of it in the authors' checkpoints.

    Attributes:
        config: the architecture, by field of its class; empty: not recorded.
        most: the largest numbers of descriptors seen of a query and of a gallery picture.
    """

    config: Mapping[str, Any]
    most: tuple[int, int] | None = None

    def architecture(self, kind: type[Config], origin: str) -> Config | None:
        """Return the architecture, of which shapes do not tell all; None: not recorded.

        Raises:
            EncoderError: it is none of this kind.
        """
        if not self.config:
            return None
        try:
            return kind(**self.config)
        except (TypeError, SettingError) as error:
            raise EncoderError(
                f"{origin}: its training was of another network than {kind.__name__} ({error})"
            ) from error


def read_trained(checkpoint: str | os.PathLike[str]) -> Trained:
    """Return what a checkpoint says of its training.

    Raises:
        EncoderError: the file cannot be read safely, or the record is damaged.
    """
    content = read_content(checkpoint)
    record = content.get(TRAINING) if isinstance(content, Mapping) else None
    if not isinstance(record, Mapping) or "config" not in record:
        return Trained({})
    config, most = record["config"], record.get("most_descriptors")
    plain = isinstance(config, Mapping) and all(
        isinstance(value, int | float | str) for value in config.values()
    )
    counted = most is None or (
        isinstance(most, list) and len(most) == 2 and all(type(n) is int and n > 0 for n in most)
    )
    if not plain or not counted:
        raise EncoderError(f"{os.fspath(checkpoint)}: its entry {TRAINING!r} is damaged")
    return Trained(dict(config), None if most is None else tuple(most))


def limited(settings: Limited, checkpoint: str | os.PathLike[str] | None) -> Limited:
    """Return settings with no more descriptors than a checkpoint was trained with.

    Raises:
        EncoderError: see :func:`read_trained`.
    """
    most = None if checkpoint is None else read_trained(checkpoint).most
    if most is None:
        return settings
    given = settings.query_descriptors, settings.gallery_descriptors
    query, gallery = (
        seen if number is None else min(seen, number)
        for seen, number in zip(most, given, strict=True)
    )
    return replace(settings, query_descriptors=query, gallery_descriptors=gallery)
