"""One worker's share of a score table, where several machines build it together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from patchrerank.errors import SettingError
from patchrerank.tuning.tables._table_begun import (
    begin,
    blocks,
    eager_names,
    plan_of,
    relevance_in,
)
from patchrerank.tuning.tables._table_parts import scored
from patchrerank.tuning.tables.build_table import TableOptions
from patchrerank.tuning.tables.table_folder import MANIFEST, PARTS, locked, make_folder
from patchrerank.types import Shortlist

if TYPE_CHECKING:
    from patchrerank.tuning.tables.pair_scorer import PairScorer


@dataclass(frozen=True)
class Share:
    """Which part of the work is one's own.

    Attributes:
        number: 1 … ``of``.
        of: how many share it.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise SettingError(f"share {self.number}/{self.of}: write 1/4, 2/4, 3/4, 4/4")

    @classmethod
    def parse(cls, text: str) -> Share:
        """Return the share that ``2/4`` means.

        Raises:
            SettingError: it means none.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if found is None:
            raise SettingError(f"share {text!r}: write 1/4, 2/4, 3/4, 4/4")
        return cls(int(found[1]), int(found[2]))


def score_share(
    folder: str | Path,
    scorer: PairScorer,
    shortlist: Shortlist,
    share: Share,
    options: TableOptions | None = None,
) -> int:
    """Score one's share of a table's blocks; several may do so at once, in a folder all can write.

    :func:`~.build_table.build_table`, called afterwards with the same arguments, makes the table of
    all shares; whatever one of them has left undone it scores itself.

    Args:
        folder, scorer, shortlist, options: as for ``build_table``.
        share: every ``of``-th block of queries is scored, from the ``number``-th on.

    Returns:
        How many queries' scores are there now, of this share; 0 where the table is finished.

    Raises:
        TableError, SettingError, PatchRerankError: as ``build_table``.
    """
    options = options or TableOptions()
    eager = eager_names(scorer, options.eager)
    where = Path(folder)
    make_folder(where)
    plan = plan_of(scorer, shortlist)
    with locked(where):
        if (where / MANIFEST).exists():
            return 0
        begin(where, plan)
    relevant = relevance_in(scorer, shortlist).relevant
    own = list(blocks(len(shortlist), options.block))[share.number - 1 :: share.of]
    work = [(name, part) for name in eager for part in own]
    for name, part in tqdm(work, desc="scoring", unit="block", disable=not options.progress):
        scored(where / PARTS, scorer, name, part, shortlist, relevant)
    return sum(part.stop - part.start for part in own)
