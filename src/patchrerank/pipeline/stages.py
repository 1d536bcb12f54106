"""Stages as text, and the cascade that the text names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from patchrerank.calibration import Calibration
from patchrerank.errors import SettingError
from patchrerank.fusion import Fusion
from patchrerank.gallery import Gallery
from patchrerank.images import ImageSource
from patchrerank.pipeline.cascade import Cascade, Stage
from patchrerank.rerankers import Evidence, RefineBoxes, Reranker, StageParts, find_reranker
from patchrerank.types import QueryCrop

if TYPE_CHECKING:
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.pipeline.query_encoders import QueryEncoders

REFINEMENTS: Mapping[str, Evidence] = {"+refine": "auto", "+refine-patches": "patches"}
"""What stands behind a reranker's name if its boxes are refined, and by what evidence."""

CHECKPOINT = "@"
"""Between the name of a learned reranker and the file of its weights."""


@dataclass(frozen=True)
class StageSpec:
    """One stage as plain data: what it is called, and how its scores are fused.

    Its text (``str``, undone by :func:`parse_stages`) is ``reranker:K:lam:gamma``; in JSON it is
    an object of these four keys.

    Attributes:
        reranker: its name, with ``+refine`` behind it if its boxes are refined (by the best
            evidence that the gallery has), or ``+refine-patches`` (by patches alone).
        lam: λ in [0, 1].
        gamma: γ ≥ 0.
        shortlist_size: how many candidates it rescores; None: all, 0: the stage does nothing.

    Raises:
        SettingError: λ, γ or size out of range; see :class:`patchrerank.fusion.Fusion`.
    """

    reranker: str
    lam: float
    gamma: float
    shortlist_size: int | None

    def __post_init__(self) -> None:
        self.fusion  # noqa: B018  # checked here, made once

    @classmethod
    def of(cls, reranker: str, fusion: Fusion) -> StageSpec:
        """Return the stage of a reranker's name and a fusion."""
        return cls(reranker, float(fusion.lam), float(fusion.gamma), fusion.shortlist_size)

    @cached_property
    def fusion(self) -> Fusion:
        """How its scores are fused."""
        return Fusion(self.lam, self.gamma, self.shortlist_size)

    @property
    def used(self) -> bool:
        """Whether it does anything: not with a shortlist size of 0."""
        return self.shortlist_size != 0

    def __str__(self) -> str:
        size = "all" if self.shortlist_size is None else self.shortlist_size
        return f"{self.reranker}:{size}:{self.lam}:{self.gamma}"


def stages_text(stages: Iterable[StageSpec]) -> str:
    """Return stages as :func:`parse_stages` reads them, without rounding."""
    return ",".join(map(str, stages))


def parse_stages(text: str) -> list[StageSpec]:
    """Parse ``patchify:400,chamfer:100:0.5:2``: stages ``name[:K[:lam[:gamma]]]``.

    K is a number of candidates or ``all`` (the default); λ is 0 and γ is 1 unless given. A
    learned reranker has its file of weights behind the name, ``ames@weights.pt:100:0.55:0.3``;
    the file's path holds neither colon nor comma.

    Raises:
        SettingError: a malformed stage, or settings out of range. Whether a reranker of that
            name exists is for whoever makes it to say.
    """
    return [_parse_stage(part.strip()) for part in text.split(",")]


def _parse_stage(text: str) -> StageSpec:
    name, *numbers = text.split(":")
    try:
        size = None if not numbers or numbers[0] == "all" else int(numbers[0])
        lam, gamma = (float(value) for value in [*numbers[1:], *("0", "1")[len(numbers[1:]) :]])
    except ValueError:
        raise SettingError(
            f"stage {text!r} is malformed; use name[:K[:lam[:gamma]]], as in patchify:400:0.3:4"
        ) from None
    if not name:
        raise SettingError(f"stage {text!r} names no reranker")
    return StageSpec(name, lam, gamma, size)


def check_reranker(name: str) -> None:
    """Refuse a stage's name that no reranker has; a refinement may stand behind it.

    Raises:
        SettingError: near matches are listed; or a file of weights for one that has none.
    """
    plain, checkpoint, _ = _parts(name)
    if checkpoint and not find_reranker(plain).takes_checkpoint:
        raise SettingError(f"stage {name!r}: {plain} has no weights; leave out @{checkpoint}")
    find_reranker(plain)


def check_stages(stages: Sequence[StageSpec]) -> None:
    """Refuse no stages, and a stage whose reranker there is none of; names its place.

    Raises:
        SettingError: see :func:`check_reranker`.
    """
    if not stages:
        raise SettingError("stages: a cascade needs at least one stage")
    for number, stage in enumerate(stages):
        try:
            check_reranker(stage.reranker)
        except SettingError as error:
            raise SettingError(f"stages[{number}]: {error}") from error


def needs_local(stages: str) -> bool:
    """Tell whether stages compare local descriptors, or refine boxes by them.

    Raises:
        SettingError: malformed stages, or an unknown reranker.
    """
    made = [_parts(spec.reranker) for spec in parse_stages(stages)]
    return any(by == "auto" or "local" in find_reranker(plain).reads for plain, _, by in made)


def make_cascade(
    stages: str | Sequence[StageSpec],
    gallery: Gallery,
    encoder: Encoder | None = None,
    dense_encoder: DenseEncoder | None = None,
    query_crop: QueryCrop = "none",
    images: Mapping[str, ImageSource] | None = None,
    calibration: Calibration | None = None,
    encoders: QueryEncoders | None = None,
) -> Cascade:
    """Make a cascade from text such as ``patchify:400,chamfer+refine:100:0.5:2``.

    Args:
        stages: text (see :func:`parse_stages`), or what it is parsed to. ``+refine`` behind a
            name refines that stage's boxes, ``+refine-patches`` does so by patches alone.
        gallery: where the candidates' local evidence lies.
        encoder: encodes query pictures; not needed for ready vectors.
        dense_encoder: makes the local descriptors of query pictures, for stages that use them.
        query_crop: what is done with a query's box before its global vector is encoded.
        images: ``{gallery id: picture}``, for rerankers that look at the pictures again; None:
            the files the gallery was built from.
        calibration: fitted behind these very stages; None: hits get no probability.
        encoders: load both encoders when a picture comes, in place of those two.

    Raises:
        SettingError: an unknown reranker (near matches are listed) or a malformed stage.
    """
    specs = parse_stages(stages) if isinstance(stages, str) else stages
    parts = StageParts(gallery, encoder, dense_encoder, query_crop, images)
    made = [Stage(make_reranker(spec.reranker, parts), spec.fusion) for spec in specs]
    return Cascade(made, calibration, encoders)


def make_reranker(name: str, parts: StageParts) -> Reranker:
    """Make the reranker of a stage's name, such as ``chamfer+refine`` or ``ames@weights.pt``.

    Raises:
        SettingError: an unknown reranker, or a file of weights missing or too many.
        GalleryError: there is nothing to refine boxes by.
    """
    check_reranker(name)
    plain, checkpoint, evidence = _parts(name)
    reranker = find_reranker(plain).from_stage(replace(parts, checkpoint=checkpoint))
    if evidence is None:
        return reranker
    return RefineBoxes(reranker, evidence=evidence, dense_encoder=parts.dense_encoder)


def _parts(name: str) -> tuple[str, str, Evidence | None]:
    """Return a stage's reranker, its file of weights (or nothing), and what refines its boxes."""
    suffix = next((found for found in REFINEMENTS if name.endswith(found)), "")
    plain, _, checkpoint = name.removesuffix(suffix).partition(CHECKPOINT)
    return plain, checkpoint, REFINEMENTS.get(suffix)
