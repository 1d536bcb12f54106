"""Which queries a report shows, and what methods are as text."""

from __future__ import annotations

import pytest
from PIL import Image

from patchrerank.analysis import StoreSettings
from patchrerank.analysis.methods import Method, check_labels, parse_method
from patchrerank.errors import SettingError
from patchrerank.report import ReportColumn, ReportQuery
from patchrerank.report.comparison import gains_table
from patchrerank.report.selection import QueryChoice, by_gain, choose_queries, describe_choice

PICTURE = Image.new("RGB", (4, 4))


def queries(gains):
    made = []
    for number, gain in enumerate(gains):
        last = None if gain is None else 0.5 + gain
        columns = (ReportColumn("a", 0.5, ()), ReportColumn("b", last, ()))
        made.append(ReportQuery(f"q{number}", PICTURE, None, columns))
    return made


def picked(gains, **choice):
    chosen = choose_queries(queries(gains), QueryChoice(**choice))
    return {
        group: [int(q.id[1:]) for q in chosen if q.group == group]
        for group in ("gains", "losses", "sample")
    }


def test_largest_gains_and_losses_come_in_order():
    found = picked([0.1, -0.3, 0.4, 0.0, -0.1, 0.4], largest=2, smallest=1, sample=0)
    assert found == {"gains": [2, 5], "losses": [1], "sample": []}
    found = picked([0.1, -0.3, 0.4, 0.0, -0.1, 0.4], largest=9, smallest=9, sample=9)
    assert found == {"gains": [2, 5, 0], "losses": [1, 4], "sample": [3]}


def test_by_gain_the_largest_comes_first_and_the_unknown_last():
    made = queries([0.1, None, 0.4, -0.3, 0.0, 0.4])
    assert [query.id for query in by_gain(made)] == ["q2", "q5", "q0", "q4", "q3", "q1"]
    assert by_gain([]) == []


def test_gains_that_read_zero_are_neither():
    found = picked([0.0004, -0.0004, None], largest=5, smallest=5, sample=5)
    assert found == {"gains": [], "losses": [], "sample": [0, 1, 2]}


def test_the_sample_is_seeded_without_repeats_and_of_the_rest():
    gains = [0.4, -0.4] + [0.1] * 40
    one = picked(gains, largest=1, smallest=1, sample=7, seed=3)
    assert one == picked(gains, largest=1, smallest=1, sample=7, seed=3)
    drawn = one["sample"]
    assert len(set(drawn)) == 7 and drawn == sorted(drawn) and not {0, 1} & set(drawn)
    seeds = [picked(gains, largest=1, smallest=1, sample=7, seed=n)["sample"] for n in range(30)]
    assert len({tuple(s) for s in seeds}) > 20
    assert {n for s in seeds for n in s} == set(range(2, 42)), "each can be drawn"


def test_by_default_five_of_each_kind_are_shown():
    chosen = choose_queries(queries([0.1] * 9 + [-0.1] * 9 + [0.0] * 9), QueryChoice())
    assert [query.group for query in chosen] == ["gains"] * 5 + ["losses"] * 5 + ["sample"] * 5
    assert [query.id for query in chosen[:10]] == [f"q{n}" for n in (*range(5), *range(9, 14))]


def test_what_is_shown_is_said():
    made, choice = queries([0.1, 0.2, -0.1, 0.0]), QueryChoice(1, 1, 1, seed=4)
    said = describe_choice(choose_queries(made, choice), 4, choice)
    assert said == "3 of 4 queries: 1 largest gains, 1 largest losses, 1 random sample (seed 4)"
    assert describe_choice([], 4, QueryChoice(0, 0, 0)) == "none"


@pytest.mark.parametrize("name", ["largest", "smallest", "sample", "seed"])
def test_negative_numbers(name):
    with pytest.raises(SettingError, match=name):
        QueryChoice(**{name: -1})


def test_unknown_groups():
    with pytest.raises(SettingError, match="'best' is unknown"):
        ReportQuery("q", PICTURE, None, (), "best")


def test_gains_are_counted():
    table = gains_table(queries([0.1, -0.3, 0.0, 0.0004, None, 0.4]))
    assert table.headers == ("method", "gained", "lost", "same", "mean gain")
    assert table.rows == (("b", "2", "1", "2", "+4.0"),)
    assert gains_table(queries([None])).rows == (("b", "0", "0", "0", "–"),)
    assert gains_table([]) is None
    assert gains_table([ReportQuery("q", PICTURE, None, (ReportColumn("a", 0.5, ()),))]) is None


@pytest.mark.parametrize(
    ("text", "label", "stages", "store"),
    [
        ("global", "global", "global", StoreSettings()),
        ("patchify:4:0.3,chamfer:2", "patchify:4:0.3,chamfer:2", "patchify:4:0.3,chamfer:2", None),
        (
            "patchify  store=pq train-on=L2",
            "patchify store=pq train-on=L2",
            "patchify",
            StoreSettings("pq", train_on="L2"),
        ),
        (
            "patchify:9 store=pq m=8 nbits=4 whiten=16 train-on=boxes label=PQ, m=8",
            "PQ, m=8",
            "patchify:9",
            StoreSettings("pq", 16, 8, 4, "boxes"),
        ),
        ("patchify store=int8", "patchify store=int8", "patchify", StoreSettings("int8")),
        (
            "patchify:9 store=pq+int8 m=8 rescore=20 label=both",
            "both",
            "patchify:9",
            StoreSettings("pq+int8", m=8, rescore=20),
        ),
        ("ames@w=1.pt:3 label=AMES", "AMES", "ames@w=1.pt:3", StoreSettings()),
    ],
)
def test_methods_as_text(text, label, stages, store):
    method = parse_method(text)
    assert (method.label, method.stages) == (label, stages)
    assert method.store == (store or StoreSettings())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patchfy", "did you mean patchify"),
        ("patchify:x", "malformed"),
        ("", "names no reranker"),
        ("patchify store=pq8", "store"),
        ("patchify stor=pq", "did you mean store"),
        ("patchify store=pq m=x", "m is 'x', not a whole number"),
        ("patchify train-on=L2", "train-on is for store=pq"),
        ("patchify store=int8 m=4", "m is for store=pq"),
        ("patchify@x.pt", "no weights"),
    ],
)
def test_bad_methods(text, message):
    with pytest.raises(SettingError, match=message):
        parse_method(text)


def test_labels_differ():
    with pytest.raises(SettingError, match="two methods are called 'patchify'"):
        check_labels([parse_method("patchify"), parse_method("patchify")])
    with pytest.raises(SettingError, match="at least one"):
        check_labels([])
    check_labels([parse_method("patchify"), parse_method("patchify label=again")])


def test_a_method_says_what_it_is():
    assert Method("patchify", label="x").described("") == "patchify"
    text = parse_method("patchify store=pq train-on=L2 label=x").described("")
    assert text == "patchify on pq64x8-L2"
