"""Building a score table of a data set, block by block, so that a killed build can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from patchrerank.analysis.measurable import described
from patchrerank.analysis.measuring import dataset_convention
from patchrerank.analysis.relevance import Relevance, positive_areas
from patchrerank.errors import SettingError, TableError
from patchrerank.metrics.convention import APConvention
from patchrerank.tuning.fused.query_scores import GLOBAL, Cost
from patchrerank.tuning.tables._reranker_records import pace_of
from patchrerank.tuning.tables._table_begun import (
    begin,
    blocks,
    eager_names,
    plan_of,
    relevance_in,
)
from patchrerank.tuning.tables._table_parts import scored
from patchrerank.tuning.tables.score_table import ScoreTable
from patchrerank.tuning.tables.table_files import load_table, save_table
from patchrerank.tuning.tables.table_folder import (
    MANIFEST,
    PARTS,
    locked,
    make_folder,
    tidy,
)
from patchrerank.types import Floats, Shortlist
from patchrerank.version import __version__

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.tuning.tables.pair_scorer import PairScorer


@dataclass(frozen=True)
class TableOptions:
    """How a table is built.

    Attributes:
        eager: the rerankers that score all pairs now; None: all. The others start empty, and
            :class:`~patchrerank.tuning.tables.fill_table.TableFiller` computes what is asked for.
        block: queries scored and written together.
        convention: of average precision; None takes the data set's own.
        about: further notes for ``ScoreTable.about``.
        timed: measure what each reranker costs.
        ms_before_stages: milliseconds a query that query views take.
        progress: show a progress bar.
    """

    eager: tuple[str, ...] | None = None
    block: int = 16
    convention: APConvention | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    timed: bool = True
    ms_before_stages: float = 0.0
    progress: bool = True

    def __post_init__(self) -> None:
        if self.block < 1:
            raise SettingError(f"block must be at least 1, got {self.block}")


def build_table(
    folder: str | Path,
    scorer: PairScorer,
    shortlist: Shortlist,
    options: TableOptions | None = None,
) -> ScoreTable:
    """Score a data set's shortlists and keep the result; what is there already is not made again.

    A build that was killed goes on where it was when it is called again with the same arguments;
    the arrays are then the same, bit for bit.

    Args:
        folder: where the table is kept; empty, or of an earlier call.
        scorer: data set, gallery, rerankers, queries.
        shortlist: ``(Q, K)``, the first stage's candidates of each query.
        options: see :class:`TableOptions`.

    Returns:
        The table, memory-mapped from the folder.

    Raises:
        TableError: the folder holds a table of something else, or other files.
        SettingError: ``eager`` names an unknown reranker.
        PatchRerankError: whatever a reranker raises.
    """
    options = options or TableOptions()
    eager = eager_names(scorer, options.eager)
    where = Path(folder)
    make_folder(where)
    plan = plan_of(scorer, shortlist)
    with locked(where):
        if (where / MANIFEST).exists():
            found = _found(where, plan)
            tidy(where)
            return found
        begin(where, plan)
        _build(where, scorer, shortlist, options, eager, plan["fingerprint"])
        tidy(where)
    return load_table(where, verify=False)


def _found(folder: Path, plan: Mapping[str, str]) -> ScoreTable:
    table = load_table(folder)
    if table.fingerprint != plan["fingerprint"]:
        raise TableError(
            f"{folder}: holds the table of another data set, gallery, query crop or choice of "
            "rerankers; choose another folder"
        )
    return table


def _build(
    folder: Path,
    scorer: PairScorer,
    shortlist: Shortlist,
    options: TableOptions,
    eager: tuple[str, ...],
    fingerprint: str,
) -> None:
    relevance = relevance_in(scorer, shortlist)
    shape = shortlist.rows.shape
    held = {
        name: (np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32))
        for name in scorer.rerankers
    }
    total = len(eager) * len(shortlist)
    with tqdm(total=total, desc="scoring", unit="query", disable=not options.progress) as bar:
        for name in eager:
            for part in blocks(len(shortlist), options.block):
                found = scored(folder / PARTS, scorer, name, part, shortlist, relevance.relevant)
                held[name][0][part], held[name][1][part] = found
                bar.update(part.stop - part.start)
    table = _assemble(scorer, shortlist, relevance, held, options, fingerprint)
    save_table(table, folder)


def _assemble(
    scorer: PairScorer,
    shortlist: Shortlist,
    relevance: Relevance,
    held: Mapping[str, tuple[Floats, Floats]],
    options: TableOptions,
    fingerprint: str,
) -> ScoreTable:
    dataset = scorer.dataset
    return ScoreTable(
        rows=shortlist.rows,
        global_scores=shortlist.scores,
        local_scores={name: both[0] for name, both in held.items()},
        overlaps={GLOBAL: relevance.iou, **{name: both[1] for name, both in held.items()}},
        relevant=relevance.relevant,
        junk=relevance.junk,
        areas=relevance.area,
        positive_areas=_padded(positive_areas(dataset)),
        n_positives=relevance.n_positives,
        query_ids=tuple(query.id for query in dataset.queries),
        gallery_ids=scorer.gallery_ids(),
        groups=dataset.query_objects,
        costs=_costs(scorer, shortlist, options) if options.timed else {},
        list_depths=scorer.list_depths,
        convention=options.convention or dataset_convention(dataset),
        fingerprint=fingerprint,
        about={**_about(scorer), **options.about},
    )


def _padded(lists: list[Floats]) -> Floats:
    width = max((len(areas) for areas in lists), default=0)
    padded = np.full((len(lists), width), np.nan, dtype=np.float32)
    for number, areas in enumerate(lists):
        padded[number, : len(areas)] = areas
    return padded


def _costs(scorer: PairScorer, shortlist: Shortlist, options: TableOptions) -> dict[str, Cost]:
    before = {GLOBAL: Cost(0.0, options.ms_before_stages)} if options.ms_before_stages else {}
    return before | {
        name: Cost(*pace_of(reranker, scorer.queries, shortlist), scorer.reads(name))
        for name, reranker in scorer.rerankers.items()
    }


def _about(scorer: PairScorer) -> dict[str, str]:
    dataset: Dataset = scorer.dataset
    made = scorer.gallery.manifest
    return {
        "dataset": described(dataset),
        "encoder": str(made.encoder.get("spec", "")),
        "regions": made.regions,
        "store": made.store,
        **({"whitening": f"{made.dim} dimensions"} if made.whitened else {}),
        "query_crop": scorer.queries.crop,
        "patchrerank": __version__,
    }
