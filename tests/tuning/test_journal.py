"""Journals: what is none is left alone, what is damaged is named."""

from __future__ import annotations

import os

import numpy as np
import optuna
import pytest

from killing_studies import TABLE
from patchrerank.errors import PatchRerankError, SettingError
from patchrerank.tuning.trials import journal as journal_module
from patchrerank.tuning.trials.make_space import search_space
from patchrerank.tuning.trials.objective import goals_of
from patchrerank.tuning.trials.search import search_of
from patchrerank.tuning.trials.search_options import TuneOptions
from patchrerank.tuning.trials.studies import open_storage
from patchrerank.tuning.tune import tune

FOREIGN = {
    "one line without an end": b"my notes",
    "two lines": b"my notes\nand more",
    "JSON lines of others": b'{"id": 1}\n{"id": 2}\n',
    "a JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\n" + bytes(range(256)) * 4,
    "a brace": b"{",
    "line breaks": b"\n\n\n",
    "JSON of one line": b'{"op_code": "x"}\n',
}


def search(storage, trials=6):
    options = TuneOptions(storage=storage, progress=False, seed=7)
    return tune(TABLE, search_space(TABLE), "mAP", trials, options)


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "j.log"
    search(path)
    text = path.read_bytes()
    dead = text.replace(f":{os.getpid()}:".encode(), b":999999999:")  # as if it had been killed
    return dead.splitlines(keepends=True)


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_journal_is_left_byte_for_byte(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=r"notes\.txt: is there already and is no journal"):
        open_storage(path)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["notes.txt"]  # no lock files beside it


def test_a_folder_and_a_device_are_no_journals(tmp_path):
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(SettingError, match=r"folder|regular"):
            open_storage(path)


def test_an_empty_file_and_a_torn_last_line_go_on(tmp_path, lines):
    empty, torn = tmp_path / "empty", tmp_path / "torn"
    empty.touch()
    torn.write_bytes(b"".join(lines[:-1]) + lines[-1][:7])
    first = tmp_path / "first"
    first.write_bytes(lines[0][:30])
    for path in (empty, torn, first):
        assert len(search(path).finished) == 6


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line.replace(b"{", b"[", 1),
        lambda line: line.replace(b"op_code", b"op_cole", 1),
        lambda line: b"\xff" + line[1:],
        lambda line: line.replace(b'"trial_id":', b'"trial_ie":', 1),
        lambda line: line.replace(b'"trial_id":', b'"trial_id":9', 1),
        lambda line: line[:20] + line[-1:],
    ],
    ids=["no JSON", "no operation", "no text", "a key that lacks", "a trial beyond", "cut"],
)
def test_a_damaged_line_is_named_with_a_remedy(tmp_path, lines, damage):
    middle = next(n for n in range(len(lines) // 2, len(lines)) if b'"trial_id":' in lines[n])
    content = b"".join([*lines[:middle], damage(lines[middle]), *lines[middle + 1 :]])
    path = tmp_path / "j.log"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=rf"j\.log: line {middle + 1} of the journal is damaged"):
        open_storage(path)
    assert path.read_bytes() == content
    path.write_bytes(b"".join(lines[:middle]))  # as the message says
    assert len(search(path).finished) == 6


def test_a_trial_whose_stages_lack_is_no_trial_without_stages(tmp_path, lines):
    path = tmp_path / "j.log"
    path.write_bytes(b"".join(lines).replace(b'"user_attr":{"stages"', b'"user_attr":{"stcges"'))
    with pytest.raises(SettingError, match=r"trial 0 .* no stages; the storage is damaged"):
        search(path)


def test_whatever_bit_flips_no_traceback_comes_and_no_byte_is_lost(tmp_path, lines):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(b"".join(lines), dtype=np.uint8)
    path = tmp_path / "j.log"
    for _ in range(60):
        content = whole.copy()
        content[rng.integers(len(content))] ^= np.uint8(1 << rng.integers(8))
        path.write_bytes(content.tobytes())
        try:
            study = optuna.load_study(study_name="patchrerank", storage=open_storage(path))
            search_of(study, goals_of("mAP"), "refine", 0)
        except PatchRerankError:
            pass
        except KeyError:  # the study's own name: tuning begins another
            assert b'"patchrerank"' not in path.read_bytes().splitlines()[0]
        assert path.read_bytes() in content.tobytes()


def test_a_full_disk_names_the_journal_and_leaves_whole_lines(tmp_path, lines, monkeypatch):
    path = tmp_path / "j.log"
    path.write_bytes(b"".join(lines))
    storage = open_storage(path)
    monkeypatch.setattr(journal_module.os, "fsync", _full)
    with pytest.raises(SettingError, match=r"j\.log: cannot be written .*make room"):
        optuna.create_study(storage=storage, study_name="another")
    assert path.read_bytes() == b"".join(lines)


def _full(_):
    raise OSError(28, "No space left on device")
