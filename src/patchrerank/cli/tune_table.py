"""The score table of ``patchrerank tune``: opened, built, or a share of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.cli import printing
from patchrerank.errors import SettingError

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder
    from patchrerank.tuning import ScoreTable
    from patchrerank.tuning.study_file import StudyFile


def score_share(
    plan: StudyFile,
    share: str,
    table: Path | None,
    cache: Path | None,
    device: str,
    random_weights: bool,
    quiet: bool,
) -> None:
    """Score a part of a table that several machines build."""
    from patchrerank.datasets import load_dataset
    from patchrerank.tuning.study_table import study_share
    from patchrerank.tuning.tables.table_share import Share

    own = Share.parse(share)
    if table is not None or cache is None or not plan.scores.dataset:
        raise SettingError(
            "--share builds a part of a data set's table; give --dataset and --cache"
        )
    data = load_dataset(plan.scores.dataset)
    encoder = _encoder(plan, device, random_weights)
    count = study_share(plan, data, encoder, cache, own, progress=not quiet)
    printing.print_line(f"share {share}: {count} queries scored" if count else "the table is built")


def scores_of(
    plan: StudyFile,
    table: Path | None,
    cache: Path,
    device: str,
    random_weights: bool,
    quiet: bool,
    pictured: bool,
) -> tuple[ScoreTable, Dataset | None, dict[str, str]]:
    """Return the table, opened or built, the data set if one was named, and what it is made of."""
    from patchrerank.datasets import load_dataset
    from patchrerank.tuning import load_table
    from patchrerank.tuning.study_table import check_kept, made_of, study_table

    data = load_dataset(plan.scores.dataset) if plan.scores.dataset else None
    if data is not None and pictured:
        data.check_pictured("--report")
    if table is not None:
        return load_table(table), data, {}
    if data is None:
        raise SettingError("nothing to tune on; name a data set (--dataset) or a table (--table)")
    encoder = _encoder(plan, device, random_weights)
    made = made_of(plan, data, encoder)
    check_kept(plan, made)  # before the expensive part
    return study_table(plan, data, encoder, cache, progress=not quiet), data, made


def _encoder(plan: StudyFile, device: str, random_weights: bool) -> Encoder:
    from patchrerank.encoders import load_encoder

    return load_encoder(
        plan.scores.encoder,
        image_size=plan.scores.image_size,
        device=device,
        pretrained=not random_weights,
    )
