"""What a build has finished so far, so that a killed one goes on where it stopped.

``building.jsonl`` begins with the settings; every further line records a finished picture. Lines
are appended after the picture has been renamed into place. A last line that was torn by a kill is
cut off, and its picture is made again.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from patchrerank import json_files
from patchrerank.datasets._entries import INDEX, parse_json
from patchrerank.errors import DatasetError, shown
from patchrerank.files import writing

JOURNAL = "building.jsonl"
MOST_TOLD, LONGEST = 5, 80
"""Settings named in a message, and characters of each."""
Record = dict[str, Any]


class Journal:
    """The records of one build; ``records`` maps a picture's relative path to its record."""

    def __init__(self, out: Path, settings: Record) -> None:
        """Open the journal of ``out``, or begin one.

        Raises:
            DatasetError: ``out`` holds something else, or a build with other settings.
        """
        self.out = out
        self.path = out / JOURNAL
        lines = self._read()
        if lines:
            self._check_settings(lines[0], settings)
        records = lines[1:]
        self.records: dict[str, Record] = {record["file"]: record for record in records}
        if not lines:
            self._append(settings)

    def finished(self, file: str) -> Record | None:
        """Return the record of a picture, or None where it is not there in full."""
        record = self.records.get(file)
        if record is None:
            return None
        sizes = record["sizes"]
        paths = {self.out / name: size for name, size in sizes.items()}
        whole = all(path.is_file() and path.stat().st_size == paths[path] for path in paths)
        return record if whole else None

    def add(self, record: Record) -> None:
        """Record a finished picture."""
        self._append(record)
        self.records[record["file"]] = record

    def close(self) -> None:
        """Remove the journal of a finished data set."""
        self.path.unlink(missing_ok=True)

    def _append(self, record: Record) -> None:
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")

    def _read(self) -> list[Record]:
        """Return the whole lines, after cutting off a torn one."""
        if not self.path.exists():
            _check_empty(self.out)
            return []
        lines: list[Record] = []
        length = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                record = json_files.parse_json(line, str(self.path), DatasetError)
            except DatasetError:
                break
            if not isinstance(record, dict):
                break
            lines.append(record)
            length += len(line)
        self._check_ours(lines)
        with writing(self.path), self.path.open("r+b") as file:
            file.truncate(length)
        return lines

    def _check_ours(self, lines: list[Any]) -> None:
        """Refuse a file that a build of ours did not begin, before anything is cut off it."""
        begun = lines[0] if lines else None
        ours = isinstance(begun, dict) and {"seed", "inputs"} <= begun.keys()
        keys = {"file", "sizes"}
        records = (isinstance(line, dict) and keys <= line.keys() for line in lines[1:])
        if not (ours and all(records)) and self.path.stat().st_size:
            raise DatasetError(
                f"{self.path} was not written by this builder, or is damaged; choose a new folder, "
                "or delete this one"
            )

    def _check_settings(self, begun: Record, settings: Record) -> None:
        if begun != settings:
            raise DatasetError(
                f"{self.out} holds an unfinished data set with other settings "
                f"({differences(begun, settings)}); repeat it with those, delete the folder, or "
                "choose another one"
            )


def is_finished(out: Path, settings: Record) -> bool:
    """Return whether ``out`` holds the finished data set of these settings.

    Raises:
        DatasetError: it holds a finished one of other settings.
    """
    path = out / INDEX
    if not path.is_file():
        return False
    args = parse_json(path.read_bytes(), path).get("args")
    built = args if isinstance(args, dict) else {}
    if built != settings:
        raise DatasetError(
            f"{out} holds a finished data set made with other settings "
            f"({differences(built, settings)}); delete the folder or choose another one"
        )
    return True


def differences(before: Record, after: Record) -> str:
    """Return ``"seed is 0, asked for 1; …"`` for the keys whose values differ."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    told = (f"{key} is {_brief(before, key)}, asked for {_brief(after, key)}" for key in keys)
    return "; ".join(islice(told, MOST_TOLD))


def _brief(settings: Record, key: str) -> str:
    value = settings.get(key)
    return value if isinstance(value, str) and len(value) < LONGEST else shown(value)


def _check_empty(out: Path) -> None:
    if any(out.iterdir()):
        raise DatasetError(
            f"{out} is not empty and holds no data set of this builder; choose a new folder"
        )
