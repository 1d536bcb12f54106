"""Revisited Oxford and Paris: set-ups with their junk, and pickles that run nothing."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.synthetic import NamedGallery

from patchrerank.analysis.measuring import measure
from patchrerank.analysis.relevance import relevance_of
from patchrerank.datasets import load_dataset
from patchrerank.errors import DatasetError, SettingError
from patchrerank.metrics import evaluate_revisited, parse_convention
from patchrerank.types import Ranking

REFERENCE = Path(__file__).parents[1] / "reference" / "e2e"
SETUPS = {
    "easy": ([[0, 3], [], [6]], [[4, 5, 9], [1, 2], [7]]),
    "medium": ([[0, 3, 4], [1, 2], [6]], [[5, 9], [], [7]]),
    "hard": ([[4], [1, 2], []], [[0, 3, 5, 9], [], [6, 7]]),
}


@pytest.fixture
def tree(tmp_path, miniatures):
    return miniatures.revisited(tmp_path / "roxford5k")


@pytest.mark.parametrize("setup", SETUPS)
def test_each_setup_has_its_positives_and_junk(tree, miniatures, setup):
    data = load_dataset(f"{tree}:setup={setup}")
    assert ([rows.tolist() for rows in data.positives], [r.tolist() for r in data.junk]) == SETUPS[
        setup
    ]
    assert data.name == f"roxford5k ({setup})"
    assert (data.convention, data.query_crop) == ("revisited", "box")
    assert [query.id for query in data.queries] == miniatures.REVISITED_QUERIES
    assert [image.id for image in data.images] == miniatures.REVISITED_IMAGES
    assert data.images[3].file == tree / "jpg/oxford_000003.jpg"
    assert np.allclose(data.queries[0].box, [10.5 / 80, 5 / 60, 60 / 80, 55.2 / 60])
    assert data.fingerprint == load_dataset(tree).fingerprint, "one gallery serves all set-ups"


def test_medium_is_the_default(tree):
    assert load_dataset(tree).name == "roxford5k (medium)"


@pytest.mark.parametrize("setup", SETUPS)
def test_metrics_of_the_data_set_are_those_of_the_protocol(tree, miniatures, setup):
    data = load_dataset(tree, setup=setup)
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(10) for _ in range(3)]).astype(np.int64)
    scores = np.tile(np.linspace(1, 0, 10, dtype=np.float32), (3, 1))
    ranking = Ranking(rows, scores, scores, scores, np.zeros((3, 10, 4), np.float32))
    gallery = NamedGallery([image.id for image in data.images])
    relevance = relevance_of(ranking, gallery, data)
    assert relevance.junk.sum() == sum(len(junk) for junk in SETUPS[setup][1])
    metrics, values = measure(relevance, ranking, parse_convention(data.convention))
    expected = evaluate_revisited(rows, miniatures.REVISITED_TRUTH, setup)
    assert np.allclose(values, expected.average_precisions, equal_nan=True)
    assert np.isnan(values).any() == (setup != "medium")
    assert metrics["mAP"] == pytest.approx(100 * expected.mean_average_precision)


def test_plain_truth(tmp_path, miniatures):
    truth = [{"ok": [1, 2], "bbx": [0, 0, 9, 9]}, {"ok": [3], "junk": [4]}, {"ok": []}]
    tree = miniatures.revisited(tmp_path / "set", truth)
    data = load_dataset(tree)
    assert (data.convention, data.name) == ("full", "roxford5k (plain)")
    assert [rows.tolist() for rows in data.junk] == [[], [4], []]
    assert data.queries[1].box is None
    with pytest.raises(DatasetError, match=r"gnd_roxford5k.pkl: ground truth of query 0: no entry"):
        load_dataset(tree, setup="hard")


def test_arrays_and_any_protocol_of_pickle(tmp_path, miniatures):
    truth = [
        {key: np.array(value) for key, value in entry.items()}
        for entry in miniatures.REVISITED_TRUTH
    ]
    for protocol in range(6):
        tree = miniatures.revisited(tmp_path / str(protocol), truth)
        path = tree / "gnd_roxford5k.pkl"
        path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()), protocol))
        assert [rows.tolist() for rows in load_dataset(tree).junk] == SETUPS["medium"][1]


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return subprocess.check_call, (["touch", str(self.path)],)


def test_a_pickle_with_code_in_it_runs_nothing(tmp_path, tree, miniatures):
    trap = [{**miniatures.REVISITED_TRUTH[0], "junk": Runs(tmp_path / "ran")}]
    miniatures.revisited(tree, trap)
    with pytest.raises(
        DatasetError, match=r"gnd_roxford5k.pkl: not a pickle of plain .*check_call"
    ):
        load_dataset(tree)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imlist": None}, r"no list 'imlist'.*; the file should hold imlist, qimlist and gnd"),
        ({"qimlist": ["a"]}, r"1 names in qimlist, 3 in gnd"),
        ({"imlist": ["../a"]}, r"imlist\[0\] is '../a', no name of a picture"),
        ({"imlist": ["a", "a"]}, r"imlist: 'a' stands there twice"),
        (
            {"imlist": ["a"]},
            r"gnd\[0\] \('all_souls_000013'\): easy holds 3; expected rows of imli",
        ),
        ({"truth": [3, 4, 5]}, r"gnd\[0\] .*: expected bbx and lists of rows, got int"),
        ({"truth": [{"easy": [0.5]}] * 3}, r"easy holds 0.5; expected rows of imlist, 0 to 9"),
        ({"truth": [{"easy": 1}] * 3}, r"easy holds None"),
        ({"truth": [{"easy": [-1]}] * 3}, r"easy holds -1"),
        ({"truth": [{"easy": [0], "hard": [], "bbx": [1, 2, 3]}] * 3}, r"bbx is \[1, 2, 3\]; expe"),
        ({"truth": [{"easy": [0], "hard": [], "bbx": [90, 0, 99, 9]}] * 3}, r"nothing in the pict"),
        (
            {"truth": [{"easy": [0], "hard": [], "junk": [0]}] * 3},
            r"'oxford_000000' is both a posit",
        ),
    ],
)
def test_damaged_truths_are_named(tmp_path, miniatures, changes, message):
    with pytest.raises(DatasetError, match=message):
        load_dataset(miniatures.revisited(tmp_path / "roxford5k", **changes))


def test_missing_files_are_named(tmp_path, tree):
    (tree / "jpg/oxford_000004.jpg").unlink()
    with pytest.raises(
        DatasetError, match=r"gnd_roxford5k.pkl: 1 of its .* \(jpg/oxford_000004.jpg"
    ):
        load_dataset(tree)
    (tree / "jpg/bodleian_000107.jpg").unlink()
    with pytest.raises(DatasetError, match=r"missing \(jpg/bodleian_000107.jpg\)"):
        load_dataset(tree)
    with pytest.raises(SettingError, match=r"setup: .*'hrad' is unknown; did you mean hard"):
        load_dataset(tree, setup="hrad")
    (tree / "gnd_rparis6k.pkl").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"found gnd_roxford5k.pkl, gnd_rparis6k.pkl; say which"):
        load_dataset(tree)
    with pytest.raises(DatasetError, match=r"gnd_rparis6k.pkl: not a pickle"):
        load_dataset(tree, file="gnd_rparis6k.pkl")
    with pytest.raises(DatasetError, match=r"gnd_x.pkl: no such file"):
        load_dataset(tree, file="gnd_x.pkl")


def test_a_file_with_descriptors_numbers_alone_says_what_it_lacks():
    with pytest.raises(DatasetError, match=r"gnd_roxford5k.pkl: no list 'imlist'"):
        load_dataset(REFERENCE / "ames/data/roxford5k")
