"""A study that goes on is refused before its table is built, where it would tune something else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from patchrerank.errors import SettingError
from patchrerank.tuning.study_file import Scores, StudyFile
from patchrerank.tuning.study_table import check_kept, table_folder
from patchrerank.tuning.tune import default_space, tune
from signal_tables import signal_table

MADE = {"data set": "d1", "encoder": "e1", "query crop": "none", "whitening": "None"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A study with a trial in its journal."""
    storage = tmp_path_factory.mktemp("kept") / "journal.log"
    study = StudyFile(stages="a", trials=2, folds=0, seed=3, storage=str(storage))
    how = study.settings(progress=False, made_of=MADE)
    table = signal_table(names=("a",))
    tune(table, default_space(table), how.objective, how.budget, how.options)
    return study


def test_the_same_study_goes_on(kept):
    check_kept(kept, MADE)
    check_kept(replace(kept, trials=50, seed=4, sampler="random"), MADE)
    check_kept(kept, {**MADE, "first stage": "global"})  # of which the study says nothing


@pytest.mark.parametrize("name", MADE)
def test_a_table_that_is_made_of_something_else_is_refused(kept, name):
    message = f"study 'patchrerank' in this storage was made for another {name}"
    with pytest.raises(SettingError, match=message):
        check_kept(kept, {**MADE, name: "other"})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"objective": ("LocScore",)}, "objective"),
        ({"objective": ("mAP", "ms")}, "objective"),
        ({"constraints": ("ms<=4",)}, "constraints"),
    ],
)
def test_other_settings_are_refused(kept, change, what):
    with pytest.raises(SettingError, match=f"was made for another {what}"):
        check_kept(replace(kept, **change), MADE)


def test_each_gallery_has_a_table_of_its_own(tiny_gallery, tmp_path):
    plain = StudyFile(stages="patchify")
    others = [Scores(whiten=8), Scores(whiten=6), Scores(whiten="auto"), Scores(store="int8")]
    studies = [plain, *(replace(plain, scores=scores) for scores in others)]
    folders = [table_folder(tmp_path, tiny_gallery, study) for study in studies]
    assert len(set(folders)) == len(folders)
    assert folders[0].name == "g-table-4fb267d7", "as it was before galleries could be whitened"


def test_where_nothing_is_kept_nothing_is_refused(kept, tmp_path):
    other = {**MADE, "encoder": "e2"}
    for nothing in ("", str(tmp_path / "absent.log")):
        check_kept(replace(kept, storage=nothing), other)
    assert not (tmp_path / "absent.log").exists()
    check_kept(replace(kept, study_name="another"), other)
