from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrerank.errors import ShortlistError
from patchrerank.runs import parse_shortlist, read_shortlist, write_run

IDS, SCORES = ["a.png", "b, c.png"], [0.9, 0.5]

SCORED = {
    "pairs": '[["a.png", 0.9], ["b, c.png", 0.5]]',
    "objects": '[{"id": "a.png", "score": 0.9, "payload": {}}, {"score": 0.5, "id": "b, c.png"}]',
    "mapping": '{"a.png": 0.9, "b, c.png": 0.5}',
    "JSON lines": '{"id": "a.png", "score": 0.9}\n\n{"id": "b, c.png", "score": 0.5}\n',
    "pairs as lines": '["a.png", 0.9]\r\n["b, c.png", 0.5]\r\n',
    "tabs": "a.png\t0.9\nb, c.png\t0.5\n",
    "tabs, header": "id\tscore\na.png\t0.9\nb, c.png\t0.5\n",
    "CSV": 'a.png,0.9\n"b, c.png",0.5\n',
    "CSV, header": 'id,score\na.png,0.9\n"b, c.png",0.5\n',
    "CSV of Windows": 'image,similarity\r\na.png,9e-1\r\n"b, c.png",0.5\r\n',
    "ranx": '{"q1": {"a.png": 0.9, "b, c.png": 0.5}}',
}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("form", SCORED)
def test_forms_with_scores(form, mark):
    found = parse_shortlist(mark + SCORED[form], "s")
    assert (found.ids, found.scores) == (IDS, SCORES)
    assert found.query_id == ("q1" if form == "ranx" else None)


@pytest.mark.parametrize(
    "text",
    [
        '["a.png", "b, c.png"]', '[["a.png"], ["b, c.png"]]', '[{"id": "a.png"}, "b, c.png"]',
        "a.png\nb, c.png\n", '"a.png"\n'.replace('"', "") + "b, c.png",
        '{"id": "a.png"}\n{"id": "b, c.png"}',
    ],
)  # fmt: skip
def test_forms_without_scores(text):
    found = parse_shortlist(text, "s")
    assert (found.ids, found.scores) == (IDS, None)


def test_a_trec_run():
    text = "q1 Q0 a.png 1 0.9 tag\nq1\tQ0\tb.png\t2\t0.5\ttag\n"
    found = parse_shortlist(text, "s")
    assert (found.ids, found.scores, found.query_id) == (["a.png", "b.png"], SCORES, "q1")
    text += "q22 0 c.png 1 0.4 tag\n"
    with pytest.raises(ShortlistError, match=r"2 queries \('q1', 'q22', …\); .*query_id='q1'"):
        parse_shortlist(text, "s")
    assert parse_shortlist(text, "s", query_id="q22").ids == ["c.png"]
    with pytest.raises(ShortlistError, match="holds no list of query 'q2'; did you mean q"):
        parse_shortlist(text, "s", query_id="q2")
    with pytest.raises(ShortlistError, match=r"s: line 4: 3 fields, expected 6: query Q0"):
        parse_shortlist(text + "q1 Q0 d.png\n", "s", query_id="q1")


def test_runs_that_we_write_are_read(tmp_path):
    run = {"q1": {"a.png": 0.5, "b.png": 0.25}, "q2": {"c.png": 0.125}}
    for name in ("run.txt", "run.json"):
        write_run(tmp_path / name, run)
        for query, row in run.items():
            found = read_shortlist(tmp_path / name, query_id=query)
            assert dict(zip(found.ids, found.scores, strict=True)) == row


def test_distances_are_read_where_it_is_said_what_they_are():
    for text in (
        '[{"id": "a", "distance": 0.53}, {"id": "b", "distance": 0.58}]',
        '{"id": "a", "_distance": 0.53}\n{"id": "b", "_distance": 0.58}',
        '{"id": "a", "distance": 0.53}',
        "id,distance\na,0.53\nb,0.58\n",
        "id\tL2_dist\na\t0.53\nb\t0.58\n",
    ):
        with pytest.raises(ShortlistError, match=r"dist.*metric='cosine-distance'"):
            parse_shortlist(text, "s")
        assert parse_shortlist(text, "s", said=True).scores[0] == 0.53


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": "a", "scor": 1}]', "s: entry 0 has the keys 'id', 'scor', but no 'score'"),
        (
            '{"id": "a", "score": 1}\n{"id": "b", "skore": 1}',
            "s: line 2 has the keys 'id', 'skore'",
        ),
        ('[{"name": "a", "score": 1}]', "entry 0 has the keys 'name', 'score', but no 'id'"),
        ('{"hits": [], "query": "q"}', "an object with the keys 'hits', 'query'; expected"),
        ('[["a", 1], ["b"]]', "entry 1 has no score, others have"),
        ('["a", ["b", 1]]', "entry 0 has no score"),
        ('[["a", 1, 2]]', r"entry 0 is \['a', 1, 2\]; use \[id, score\] or id"),
        ('[["a", null]]', "entry 0: the score None is not a number"),
        ('[["a", true]]', "the score True is not a number"),
        ('[["a", {}]]', "the score {} is not a number"),
        ('[["a", 1' + "0" * 400 + "]]", "is not a number"),
        ("[null]", "entry 0: the id None is a NoneType"),
        ("[[1.5, 0.5]]", "the id 1.5 is a float"),
        ("[true]", "the id True is a bool"),
        ("[1, 2", "not valid JSON"),
        ('["a", 1]\n["b", 2\n', "neither valid JSON nor JSON lines: line 2"),
        ("[" * 100_000, "not valid JSON"),
        ("a\t0.5\nb\tx\n", "line 2: the score 'x' is not a number"),
        ("a,0.5\nb\n", "line 2 has no score, others have"),
        ("a,0.5,1\nb,0.4,2\n", "line 1 has 3 columns; expected id,score"),
        ('[{"id": "a", "distance": 1, "score": 2}]', ""),
        ("a.png;0.9\nb.png;0.8\n", r"line 1: id and score stand between semicolons \(';'\)"),
        ("id;score\na.png;0,9\nb.png;0,85\n", "line 2: id and score stand between semicolons"),
        ("a b.png 0.9\nb.png 0.8\n", r"between spaces \(' '\); put a tab or a comma"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    if not message:
        with pytest.raises(ShortlistError, match="both score and distance; leave one"):
            parse_shortlist(text, "s", said=True)
        return
    with pytest.raises(ShortlistError, match=message) as caught:
        parse_shortlist(text, "s")
    assert len(str(caught.value)) < 600


def test_an_id_that_stands_twice_in_an_object_is_not_dropped_in_silence():
    with pytest.raises(ShortlistError, match=r"the key 'a.png' stands twice"):
        parse_shortlist('{"a.png": 0.9, "a.png": 0.5}', "s")
    with pytest.raises(ShortlistError, match=r"s: line 2: the key 'id' stands twice"):
        parse_shortlist('{"id": "a", "score": 2}\n{"id": "b", "id": "c", "score": 1}\n', "s")


def test_ids_that_begin_as_json_does():
    found = parse_shortlist("[2020] trip.jpg\t0.9\n{x}.png\t0.5\n", "s")
    assert (found.ids, found.scores) == (["[2020] trip.jpg", "{x}.png"], SCORES)
    assert parse_shortlist("[2020] a.jpg\nb.png\n", "s").ids == ["[2020] a.jpg", "b.png"]


def test_ids_that_hold_what_separates_elsewhere():
    for text in ("IMG 12\nIMG 13\n", "a;1\nb;2\n", "a; b.png\n", "0.5\n0.4\n", "a 0.5\nb.png\nc\n"):
        found = parse_shortlist(text, "s")
        assert (found.ids, found.scores) == (text.split("\n")[:-1], None)
    assert parse_shortlist("a; b.png, 0.9\nc d.png, 0.8\n", "s").ids == ["a; b.png", "c d.png"]


def test_files(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(SCORED["objects"], encoding="utf-8-sig")
    assert read_shortlist(path).ids == IDS
    path.write_text(SCORED["CSV, header"], encoding="utf-16")  # as PowerShell redirects
    assert read_shortlist(path).ids == IDS
    path.write_bytes(b"\xff\xd8\xff\xe0")
    for wrong in (path, tmp_path / "absent", tmp_path):
        with pytest.raises(ShortlistError, match="cannot be read"):
            read_shortlist(wrong)
    path.write_text("[]")
    assert read_shortlist(path).ids == []
    for nothing in ("", "\n"):
        path.write_text(nothing)
        with pytest.raises(ShortlistError, match=r"s\.json: is empty"):
            read_shortlist(path)


names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\t"), min_size=1
).filter(lambda name: name.strip())


@given(st.dictionaries(names, st.floats(0, 1, allow_subnormal=False), min_size=1))
def test_any_id_survives_json_and_tabs(table):
    for text in (
        json.dumps(table),
        json.dumps(list(table.items())),
        "\n".join(f"{name}\t{score!r}" for name, score in table.items()),
    ):
        if text.lstrip()[:1] in "[{" and "\t" in text:
            continue  # an id that begins as JSON does
        found = parse_shortlist(text, "s")
        assert found.ids == list(table) and found.scores == list(table.values())
