"""ILIAS' result files: JSON, or a pickle that is read without running anything from it."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrerank.datasets._plain_pickle import read_plain_pickle
from patchrerank.errors import DatasetError, near_matches
from patchrerank.files import write_whole
from patchrerank.hit_scores import falling_scores
from patchrerank.json_files import read_json
from patchrerank.metrics.submissions import Similarities
from patchrerank.types import EMPTY, Ranking, Shortlist

KEYS = ("query_ids", "db_ids", "sims", "ranks")
PICKLES = (".pkl", ".pickle")
PathLike = str | os.PathLike[str]
Table = dict[str, dict[str, float]]


def read_similarities(path: PathLike) -> Table:
    """Return ``{query id: {database id: similarity}}``, in the file's order (best first).

    ``.json`` holds just that; ``.pkl`` holds ``query_ids`` (Q), ``db_ids`` (ids that occur),
    ``sims`` (Q, k) and ``ranks`` (Q, k), positions in ``db_ids``.

    Raises:
        DatasetError: the file is missing, damaged, asks for code to be run, lacks a key, or
            holds something else than finite numbers; the message names file and entry.
    """
    where = Path(path)
    if where.suffix in PICKLES:
        return _from_arrays(read_plain_pickle(where), where)
    if where.suffix != ".json":
        raise DatasetError(f"{where}: similarities are read from .json or .pkl files")
    return _checked(_json(where), where)


def write_similarities(
    path: PathLike, similarities: Similarities, database: Sequence[str] | None = None
) -> None:
    """Write similarities as JSON (``.json``) or pickle (``.pkl``), by the path's suffix.

    Args:
        path: the file; one that is there is replaced when the new one is complete.
        similarities: ``{query id: {database id: similarity}}``, best first.
        database: all database ids in order, which ``db_ids`` of a pickle follows; None: the
            order of first appearance.

    Raises:
        DatasetError: another suffix; for a pickle also lists of different lengths, or ids that
            ``database`` does not hold.
    """
    where = Path(path)
    if where.suffix == ".json":
        plain = {q: {d: float(s) for d, s in row.items()} for q, row in similarities.items()}
        content = json.dumps(plain, indent=4).encode()
    elif where.suffix in PICKLES:
        content = pickle.dumps(_as_arrays(similarities, database, where), protocol=4)
    else:
        raise DatasetError(f"{where}: similarities are written to .json or .pkl files")
    write_whole(where, content)


def similarities_of(
    query_ids: Sequence[str], database: Sequence[str], result: Shortlist | Ranking
) -> Table:
    """Return the similarities of a shortlist or ranking, without empty slots.

    They fall strictly (see :meth:`patchrerank.types.Ranking.hit_scores`), so that whoever sorts
    by them finds the order of the result.

    Args:
        query_ids: one id a query.
        database: the id of each gallery row.
        result: rows and scores ``(Q, K)``.

    Raises:
        DatasetError: another number of ids than of queries.
    """
    if len(query_ids) != len(result):
        raise DatasetError(f"{len(query_ids)} query ids but results of {len(result)} queries")
    falling = falling_scores(result.scores, result.rows != EMPTY)
    return {
        query: {
            database[row]: float(score)
            for row, score in zip(rows.tolist(), scores, strict=True)
            if row != EMPTY
        }
        for query, rows, scores in zip(query_ids, result.rows, falling, strict=True)
    }


def _json(path: Path) -> Any:
    if not path.exists():
        raise DatasetError(f"{path}: no such file")
    return read_json(path, DatasetError)


def _checked(content: Any, path: Path) -> Table:
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected an object of queries, got {type(content).__name__}")
    for query, row in content.items():
        if not isinstance(row, dict):
            raise DatasetError(
                f"{path}: query {query!r}: expected an object from database id to similarity"
            )
        for name, value in row.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise DatasetError(
                    f"{path}: query {query!r}: the similarity of {name!r} is {value!r}, not a "
                    "finite number"
                )
    return {query: {n: float(v) for n, v in row.items()} for query, row in content.items()}


def _from_arrays(content: Any, path: Path) -> Table:
    held = content if isinstance(content, dict) else {}
    for key in KEYS:
        if key not in held:
            near = near_matches(key, map(str, held))
            raise DatasetError(
                f"{path}: the key {key!r} is missing{near}; a result file holds {', '.join(KEYS)}"
            )
    queries, names = (_ids(_listed(held, key, path), key, path) for key in KEYS[:2])
    sims, ranks = (_listed(held, key, path) for key in KEYS[2:])
    if not len(queries) == len(sims) == len(ranks):
        raise DatasetError(
            f"{path}: {len(queries)} query_ids, but {len(sims)} rows of sims and {len(ranks)} of "
            "ranks"
        )
    rows = {
        query: _row(values, places, names, f"{path}: query {query!r}")
        for query, values, places in zip(queries, sims, ranks, strict=True)
    }
    return _checked(rows, path)


def _row(sims: Any, ranks: Any, names: list[str], where: str) -> dict[str, float]:
    try:
        values, places = np.asarray(sims, dtype=np.float64), np.asarray(ranks)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: sims must be numbers ({error})") from error
    if values.ndim != 1 or values.shape != places.shape:
        raise DatasetError(f"{where}: sims {values.shape} and ranks {places.shape} do not fit")
    if len(places) and (places.dtype.kind not in "iu" or places.min() < 0):
        raise DatasetError(f"{where}: ranks must be positions in db_ids, from 0")
    if len(places) and places.max() >= len(names):
        raise DatasetError(f"{where}: rank {places.max()} is beyond the {len(names)} db_ids")
    row = {names[place]: float(value) for place, value in zip(places, values, strict=True)}
    if len(row) != len(places):
        raise DatasetError(f"{where}: a database id stands twice in its list")
    return row


def _listed(held: dict[str, Any], key: str, path: Path) -> list[Any]:
    values = held[key]
    if not isinstance(values, list) and np.ndim(values) == 0:
        raise DatasetError(f"{path}: {key} is a {type(values).__name__}, not a list or array")
    return list(values)


def _ids(values: list[Any], key: str, path: Path) -> list[str]:
    ids = [str(value) if isinstance(value, str) else value for value in values]
    for position, name in enumerate(ids):
        if not isinstance(name, str):
            raise DatasetError(f"{path}: {key}[{position}] is {name!r}, not text")
    if len(set(ids)) != len(ids):
        raise DatasetError(f"{path}: {key} holds an id twice")
    return ids


def _as_arrays(
    similarities: Similarities, database: Sequence[str] | None, path: Path
) -> dict[str, npt.NDArray[Any]]:
    lengths = {len(row) for row in similarities.values()}
    if len(lengths) > 1:
        raise DatasetError(
            f"{path}: a pickle holds equally long lists, these have {min(lengths)} to "
            f"{max(lengths)} entries; write JSON"
        )
    used = dict.fromkeys(name for row in similarities.values() for name in row)
    ordered = list(used) if database is None else [name for name in database if name in used]
    if len(ordered) != len(used):
        missing = next(name for name in used if name not in set(ordered))
        raise DatasetError(f"{path}: database does not hold {missing!r}")
    place = {name: position for position, name in enumerate(ordered)}
    shape = (len(similarities), max(lengths, default=0))
    sims = [value for row in similarities.values() for value in row.values()]
    ranks = [place[name] for row in similarities.values() for name in row]
    return {
        "query_ids": np.array(list(similarities), dtype=np.str_),
        "db_ids": np.array(ordered, dtype=np.str_),
        "sims": np.array(sims, dtype=np.float32).reshape(shape),
        "ranks": np.array(ranks, dtype=np.int64).reshape(shape),
    }
