"""The score table that a study is about: found again beside its gallery, or built."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.analysis import EvaluationSettings, LocalSettings, Method
from patchrerank.analysis.methods import FIRST_STAGE
from patchrerank.analysis.workbench import Workbench
from patchrerank.errors import SettingError
from patchrerank.gallery import BuildOptions, Gallery
from patchrerank.pipeline import TunedOn, parse_stages
from patchrerank.regions import parse_regions
from patchrerank.tuning.study_file import Scores, StudyFile
from patchrerank.tuning.tables.build_table import TableOptions, build_table
from patchrerank.tuning.tables.pair_scorer import PairScorer, rerankers_of
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.tables.table_share import Share, score_share
from patchrerank.tuning.trials.objective import goals_of
from patchrerank.tuning.trials.studies import check_study
from patchrerank.tuning.trials.workers import asked
from patchrerank.tuning.write_tuned import GLOBAL, about_tuned_on

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import Encoder
    from patchrerank.types import Shortlist


def study_table(
    study: StudyFile,
    dataset: Dataset,
    encoder: Encoder,
    cache: str | Path,
    *,
    progress: bool = True,
) -> ScoreTable:
    """Return the table of a study's stages behind the global first stage.

    Args:
        study: its ``scores`` and ``stages``.
        dataset: whose queries are asked.
        encoder: of global vectors and patches.
        cache: galleries are kept below it, and the table beside its gallery.
        progress: show progress bars.

    Raises:
        SettingError: the study names no stages, or an unknown one.
        PatchRerankError: whatever is wrong with pictures, gallery or table.
    """
    return build_table(*_asked(study, dataset, encoder, Path(cache), progress=progress))


def study_share(
    study: StudyFile,
    dataset: Dataset,
    encoder: Encoder,
    cache: str | Path,
    share: Share,
    *,
    progress: bool = True,
) -> int:
    """Score one's share of a study's table; :func:`study_table` then makes it of all shares.

    The gallery must be in the cache, which all who share the work can write to: two cannot build it
    at once.

    Args:
        study, dataset, encoder, cache, progress: as for :func:`study_table`.
        share: see :func:`~.tables.table_share.score_share`.

    Returns:
        How many queries are scored; 0 where the table is finished.
    """
    asked_of = _asked(study, dataset, encoder, Path(cache), progress=progress)
    folder, scorer, shortlist, options = asked_of
    return score_share(folder, scorer, shortlist, share, options)


def _asked(
    study: StudyFile, dataset: Dataset, encoder: Encoder, cache: Path, *, progress: bool
) -> tuple[Path, PairScorer, Shortlist, TableOptions]:
    how, text = study.scores, ",".join(names_of(study))
    method = Method(text, how.stored)
    bench = Workbench(dataset, encoder, [method], _settings(study, progress=progress), cache)
    gallery, dense = bench.gallery(method), bench.query_dense(method)
    queries, _ = bench.queries(method)
    shortlist, _ = bench.shortlist(method, how.candidates)
    found = rerankers_of(text, gallery, encoder, dense, how.query_crop, bench.files)
    rerankers = {name: item.with_query_views(how.views) for name, item in found.items()}
    candidates = int(shortlist.rows.shape[1])
    made_on = max(candidates, 1), how.query_crop, dense, how.views
    made = TunedOn.of(gallery, dataset.fingerprint, *made_on)
    before = 0.0 if how.views is None else views_ms(bench, method)
    options = TableOptions(about=about_tuned_on(made), ms_before_stages=before, progress=progress)
    folder = table_folder(bench.cache, gallery, study)
    return folder, PairScorer(dataset, gallery, rerankers, queries), shortlist, options


def views_ms(bench: Workbench, method: Method) -> float:
    """Return the milliseconds that a query's views take, beside those of its plain vector."""
    plain = Workbench(
        bench.dataset,
        bench.encoder,
        [method],
        replace(bench.settings, query_views=None),
        bench.cache,
    )
    first = replace(method, stages=FIRST_STAGE.stages)
    return max(0.0, bench.queries(first)[1] - plain.queries(first)[1])


def made_of(study: StudyFile, dataset: Dataset, encoder: Encoder) -> dict[str, str]:
    """Return what surely makes another table, by the name that messages use.

    Raises:
        SettingError: the study names no stages, or impossible regions.
    """
    how, images = study.scores, len(dataset.images)
    return {
        "data set": dataset.fingerprint,
        "encoder": encoder.fingerprint,
        "choice of regions": encoder.recorded_regions(parse_regions(how.regions).spec),
        "whitening": str(how.whiten),
        "store": how.store,
        "query crop": how.query_crop,
        **({"query views": str(how.views)} if how.views else {}),
        "first stage": how.behind,
        "choice of rerankers": ",".join(names_of(study)),
        "number of candidates": str(min(how.candidates or images, images)),
    }


def check_kept(study: StudyFile, made_of: Mapping[str, str]) -> None:
    """Refuse to go on with a study in its storage that tunes something else.

    Raises:
        SettingError: names what differs.
    """
    settings = study.settings(made_of=made_of)
    record = asked(goals_of(settings.objective), settings.options)
    check_study(settings.options.storage, settings.options.study_name, record)


def names_of(study: StudyFile) -> list[str]:
    """Return the rerankers that the table must hold: of the first stage, then of the others.

    Raises:
        SettingError: no stages.
    """
    if not study.rerankers:
        raise SettingError('the study names no stages; say stages = "patchify", or --stages')
    first = study.scores.behind
    before = [] if first == GLOBAL else [spec.reranker for spec in parse_stages(first)]
    return list(dict.fromkeys([*before, *study.rerankers]))


def table_folder(cache: Path, gallery: Gallery, study: StudyFile) -> Path:
    """Return where the table of a study is kept."""
    how = {**asdict(study.scores), "dataset": "", "behind": "", "names": names_of(study)}
    usual = {name for name in ("whiten", "store") if how[name] == getattr(Scores, name)}
    how = {name: value for name, value in how.items() if name not in usual}
    digest = hashlib.sha256(repr(sorted(how.items())).encode()).hexdigest()[:8]
    return cache / f"{gallery.folder.name}-table-{digest}"


def _settings(study: StudyFile, *, progress: bool) -> EvaluationSettings:
    how = study.scores
    return EvaluationSettings(
        parse_regions(how.regions),
        how.query_crop,
        query_views=how.views,
        local=LocalSettings(how.local_image_size, how.query_image_size, how.query_part),
        build=BuildOptions(progress=progress),
    )
