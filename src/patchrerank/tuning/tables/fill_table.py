"""Computing scores of a stored table only where a study asks for them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from patchrerank.errors import TableError
from patchrerank.metrics.lists import Bools
from patchrerank.tuning.tables.score_table import BY_RERANKER, ScoreTable
from patchrerank.tuning.tables.table_files import (
    load_table,
    read_manifest,
    write_array,
    write_manifest,
)
from patchrerank.tuning.tables.table_folder import locked
from patchrerank.types import EMPTY, Floats, Rows, Shortlist

if TYPE_CHECKING:
    from patchrerank.tuning.tables.pair_scorer import PairScorer


class TableFiller:
    """Fills in the local scores that a stored table lacks, each pair once for all.

    Pass it to :func:`~patchrerank.tuning.tables.cascades.evaluate_stages` as ``missing``; a table
    that was cut by ``take`` or ``within`` may be evaluated as well. Several processes may fill one
    folder: what one has written is never lost, at worst a pair is computed twice.

    A score that is filled in agrees with one computed in a whole list up to rounding (matrix
    products are not the same to the last bit for other sizes). Rerankers that look at the list
    (``ScoreTable.list_depths``) are only scored on whole lists.

    Args:
        folder: of the table.
        scorer: as it was when the table was built.
        block: queries scored together.
        save_every: seconds after which what was computed is written.
        progress: show a progress bar.

    Attributes:
        table: the table as it is now.

    Raises:
        TableError: no table, or one that was made of something else.
    """

    def __init__(
        self,
        folder: str | Path,
        scorer: PairScorer,
        *,
        block: int = 16,
        save_every: float = 30.0,
        progress: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.table = load_table(self.folder)
        if scorer.fingerprint(self.table.size) != self.table.fingerprint:
            raise TableError(
                f"{self.folder}: this table was made of another data set, gallery, query crop or "
                "choice of rerankers; use the same as when it was built"
            )
        self._scorer = scorer
        self._block = block
        self._save_every = save_every
        self._progress = progress
        self._lock = threading.Lock()

    def __call__(self, table: ScoreTable, reranker: str, wanted: Bools) -> ScoreTable:
        """Return ``table``, whole or cut, with the scores of the slots ``wanted`` ``(Q, K)``."""
        place = {name: number for number, name in enumerate(self.table.query_ids)}
        numbers = np.array([place[name] for name in table.query_ids], dtype=np.int64)
        whole = np.zeros(self.table.rows.shape, dtype=np.bool_)
        whole[numbers] = wanted
        self.fill(reranker, whole)
        new: dict[str, Any] = {
            field: {
                **getattr(table, field),
                reranker: getattr(self.table, field)[reranker][numbers],
            }
            for field in BY_RERANKER
        }
        return replace(table, **new)

    def fill(self, reranker: str, wanted: Bools | int | None = None) -> int:
        """Compute and store what lacks, and return how many pairs that were.

        Args:
            reranker: by its name in the table.
            wanted: bool ``(Q, K)``, which slots; or so many first ones of each list; None: all.

        Raises:
            SettingError: no such reranker.
            TableError: only some slots of a reranker that looks at the list.
        """
        with self._lock:
            lacking = self._lacking(self.table.reranker(reranker), wanted)
            if lacking.any():
                self._compute(reranker, lacking)
                self.table = load_table(self.folder, verify=False)
            return int(lacking.sum())

    def _lacking(self, reranker: str, wanted: Bools | int | None) -> Bools:
        size = wanted if isinstance(wanted, int) else None
        lacking = self.table.missing(reranker, size)
        chosen = lacking & wanted if isinstance(wanted, np.ndarray) else lacking
        if reranker in self.table.list_depths and chosen.any():
            if (chosen != self.table.missing(reranker)).any():
                raise TableError(
                    f"{reranker!r} looks at the list, so only whole lists can be scored; call "
                    f"fill({reranker!r}) once, without saying which slots"
                )
            return np.asarray(self.table.valid)
        return chosen

    def _compute(self, reranker: str, wanted: Bools) -> None:
        scores, overlaps = (np.full(wanted.shape, np.nan, np.float32) for _ in range(2))
        numbers, saved = np.flatnonzero(wanted.any(axis=1)), time.monotonic()
        total = int(wanted.sum())
        with tqdm(total=total, desc=reranker, unit="pair", disable=not self._progress) as bar:
            for start in range(0, len(numbers), self._block):
                some = numbers[start : start + self._block]
                self._score(reranker, some, wanted, scores, overlaps)
                bar.update(int(wanted[some].sum()))
                if time.monotonic() - saved > self._save_every:
                    self._save(reranker, scores, overlaps)
                    saved = time.monotonic()
        self._save(reranker, scores, overlaps)

    def _score(
        self, reranker: str, numbers: Rows, wanted: Bools, scores: Floats, overlaps: Floats
    ) -> None:
        """Score the slots wanted of some queries as short lists of their own."""
        slots = gathered(wanted[numbers])
        filled, table = slots != EMPTY, self.table
        rows = np.where(filled, np.take_along_axis(table.rows[numbers], slots, axis=1), EMPTY)
        ranked = np.take_along_axis(table.global_scores[numbers], slots, axis=1)
        relevant = np.take_along_axis(table.relevant[numbers], slots, axis=1) & filled
        found = self._scorer.score(reranker, numbers, Shortlist(rows, ranked), relevant)
        query, place = np.nonzero(filled)
        for target, values in zip((scores, overlaps), found, strict=True):
            target[numbers[query], slots[query, place]] = values[query, place]

    def _save(self, reranker: str, scores: Floats, overlaps: Floats) -> None:
        """Add new values to the files; those that are there already stay."""
        with locked(self.folder):
            manifest, now = read_manifest(self.folder), load_table(self.folder, verify=False)
            known = ~np.isnan(now.local_scores[reranker])
            for field, new in zip(BY_RERANKER, (scores, overlaps), strict=True):
                merged = np.where(known, getattr(now, field)[reranker], new)
                key = f"{field}-{manifest[field].index(reranker)}"
                manifest["files"][key] = write_array(self.folder, key, merged)
            write_manifest(self.folder, manifest)


def gathered(wanted: Bools) -> Rows:
    """Return the marked columns of each row ``(q, K)``, ascending, padded with −1: ``(q, k)``."""
    width = int(wanted.sum(axis=1).max(initial=0))
    order = np.argsort(~wanted, axis=1, kind="stable")[:, :width]
    return np.where(np.take_along_axis(wanted, order, axis=1), order, EMPTY)
