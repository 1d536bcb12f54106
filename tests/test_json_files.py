"""JSON that anybody may have written: bounded, and every refusal names the file."""

from __future__ import annotations

import json

import pytest

from patchrerank.errors import GalleryError, SettingError
from patchrerank.json_files import DEEPEST, nested, parse_json, read_json


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested too deeply"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested too deeply"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"b": {"a": 1, "c": 2, "a": 1}}', "the key 'a' stands twice"),
        (b'{"a": \n x}', "line 2, column 2: not valid JSON"),
        (b"", "line 1, column 1: not valid JSON"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b'"\\ud800"', "half a character"),
        (b'"\\uD800 \\n"', "half a character"),
    ],
)
def test_refusals_name_the_file(tmp_path, content, why):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(GalleryError) as caught:
        read_json(path, GalleryError)
    assert str(caught.value).startswith(str(path)) and why in str(caught.value)
    assert len(str(caught.value)) < 300


def test_absent_files(tmp_path):
    with pytest.raises(SettingError, match="cannot be read"):
        read_json(tmp_path / "none")
    with pytest.raises(SettingError, match="cannot be read"):
        read_json(tmp_path)
    with pytest.raises(SettingError, match="cannot be read"):
        read_json("a\0b")


def test_a_file_beyond_the_memory_is_named(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text("[1, 2]")
    monkeypatch.setattr("patchrerank.file_bounds.free_memory", lambda: 10)
    with pytest.raises(SettingError, match=r"x\.json: needs 24 bytes of memory, 10 are free"):
        read_json(path)


def test_numbers_are_left_to_whoever_asks_for_the_key():
    huge = parse_json(b'{"a": 1e999, "b": %s, "c": NaN, "d": -12, "e": 1.5}' % (b"9" * 5000), "x")
    assert huge["a"] == huge["b"] == float("inf")
    assert huge["c"] != huge["c"]
    assert (huge["d"], huge["e"]) == (-12, 1.5)
    assert parse_json(b"9" * 60, "x") == int("9" * 60)


def test_marks_are_accepted_and_brackets_in_text_do_not_count():
    assert parse_json(b'\xef\xbb\xbf{"a": 1}', "x") == {"a": 1}
    text = {"a[{": '[[[["\\[[[{{' * 50, "b": [[{"c": []}]], "\\": "\\"}
    content = json.dumps(text).encode()
    assert parse_json(content, "x") == text
    assert nested(content) == 5
    assert nested(b"[" * DEEPEST + b"]" * DEEPEST) == DEEPEST
    assert nested(b'[1, "]]]]", [2]]') == 2
    assert parse_json('{"a": "\\udcff"}', "x") == {"a": "\udcff"}, "a file name in no encoding"
