"""``patchrerank plan``."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from patchrerank.cli.main import app
from patchrerank.errors import PatchRerankError

SMALL = {
    "patchrerank.planning.machine.SAMPLE": 1 << 23,
    "patchrerank.planning.rates.STORE_MIB": 4,
}


def run(*words):
    return CliRunner().invoke(app, ["plan", *map(str, words)])


def test_a_whole_plan(tmp_path, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(name, value)
    words = ["--images", "2.5M", "--dim", 64, "--rate", 20, "--workers", 4, "--price", 3]
    done = run(*words, "--disk", tmp_path, "--json")
    assert done.exit_code == 0, done.exception
    plan = json.loads(done.stdout)
    assert plan["workload"]["images"] == 2_500_000
    assert plan["arrays"]["patches"] == 2_500_000 * 30 * 64
    assert plan["steps"][0]["hours"] == pytest.approx(2_500_000 / 20 / 3600)
    assert plan["price"]["4"] == pytest.approx(3 * plan["total_hours"])
    assert plan["rates"]["warm_ms"] > 0
    both = run(*words, "--disk", tmp_path, "--json", "--store", "rabitq2+int8", "--rescore", 9)
    assert both.exit_code == 0, both.exception
    plan = json.loads(both.stdout)
    assert plan["arrays"]["exact_patches"] == 2_500_000 * 30 * 64
    assert plan["workload"]["rescore"] == 9
    shown = run(*words, "--disk", tmp_path).stdout
    assert "where one machine ends" in shown
    assert "assumed:" in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--images", "many", "--dim", "8"], "'many' is no number"),
        (["--images", "10"], "give --dim, or --encoder"),
        (["--images", "10", "--dim", "8", "--rate", "2", "--encoder", "x"], "give one of them"),
        (["--images", "10", "--dim", "8", "--rate", "0"], "--rate"),
        (["--images", "10", "--dim", "8", "--disk", "nowhere"], "no such folder"),
        (["--images", "10", "--dim", "8", "--store", "int9"], "int9"),
        (["--images", "10", "--dim", "8", "--level", "-1"], "level"),
        (["--images", "10", "--dim", "8", "--rescore", "9"], "has none beside it"),
    ],
)
def test_one_sentence_says_what_is_wrong(words, told):
    done = run(*words)
    assert isinstance(done.exception, PatchRerankError)
    assert told in str(done.exception)
