from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from command_line import run
from drawn_shards import draw_shards
from patchrerank.gallery import Gallery


@pytest.fixture
def parts(tmp_path):
    return [str(part) for part in draw_shards(tmp_path)]


def test_shards_are_joined_described_verified_and_added_to(tmp_path, parts):
    out = str(tmp_path / "all")
    assert "20 images" in run("merge", out, *parts[:3]).stdout
    told = json.loads(run("merge", out, parts[3], "--append", "--json").stdout)
    assert told["images"] == 25 and told["shards"] == [f"../part-{n}" for n in range(4)]
    shown = run("info", out, "--verify").stdout
    assert "4 shards" in shown and "all is well" in shown
    told = json.loads(run("info", out, "--json").stdout)
    assert told["images"] == 25 and told["bytes"]["globals"] == 25 * 64


def test_shards_are_copied_into_one_folder(tmp_path, parts):
    out = str(tmp_path / "one")
    told = json.loads(run("merge", out, *parts, "--copy", "--json", "--quiet").stdout)
    assert told["images"] == 25 and told["shards"] == []
    for part in parts:
        shutil.rmtree(part)
    assert "all is well" in run("info", out, "--verify").stdout


def test_images_are_removed_found_reranked_and_exported(tmp_path, parts):
    out = str(tmp_path / "all")
    run("merge", out, *parts)
    run("remove", out, "2/3.jpg")
    gallery = Gallery(out)
    np.save(tmp_path / "query.npy", gallery.global_vectors[0])
    query = str(tmp_path / "query.npy")
    found = json.loads(run("search", out, query, "--top-k", "30", "--json").stdout)
    assert len(found["hits"]) == 24
    (tmp_path / "list.json").write_text(json.dumps([["0/1.jpg", 0.5], ["3/4.jpg", 0.4]]))
    found = json.loads(run("rerank", out, query, str(tmp_path / "list.json"), "--json").stdout)
    assert {hit["id"] for hit in found["hits"]} == {"0/1.jpg", "3/4.jpg"}
    run("export", out, str(tmp_path / "vectors"), "--quiet")
    assert len(json.loads((tmp_path / "vectors/ids.json").read_text())) == 24


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["merge", "OUT"], "there are no galleries to join"),
        (["merge", "OUT", "PART", "--append"], "no such file"),
        (["merge", "OUT", "PART", "--append", "--copy"], "(--append) and copy=True (--copy)"),
        (["merge", "PART", "OTHER"], "there is a gallery already"),
        (["compact", "SET"], "patchrerank merge NEW"),
    ],
)
def test_bad_calls_end_in_one_sentence(tmp_path, parts, words, said):
    run("merge", str(tmp_path / "set"), *parts)
    known = {"OUT": tmp_path / "out", "PART": parts[0], "OTHER": parts[1], "SET": tmp_path / "set"}
    result = run(*(str(known.get(word, word)) for word in words), code=2)
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_shard_is_one_sentence_and_damage(tmp_path, parts):
    out = str(tmp_path / "set")
    run("merge", out, *parts)
    shutil.rmtree(parts[3])
    result = run("info", out, "--verify", code=1)
    assert "part-3 is missing" in result.stdout
