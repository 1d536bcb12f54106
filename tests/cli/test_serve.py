"""``patchrerank serve``: what it refuses before it listens."""

from __future__ import annotations

import socket

import httpx
import pytest

from command_line import run
from drawn_galleries import draw_gallery
from patchrerank.gallery import CompressOptions, compress
from patchrerank.testing.made_galleries import made_gallery
from served import served_process

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return made_gallery(tmp_path_factory.mktemp("serve") / "g").folder


def test_other_machines_need_a_token(gallery, monkeypatch):
    monkeypatch.delenv("PATCHRERANK_TOKEN", raising=False)
    done = run("serve", gallery, "--host", "0.0.0.0", code=2)
    assert "set a token (--token or PATCHRERANK_TOKEN)" in done.stderr


def test_a_port_that_is_taken(gallery):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", gallery, "--port", port, code=2)
    assert f"--port {port}: cannot be listened at" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--port", "-1"),
        ("--port", "9" * 30),
        ("--host", "no such host"),
        ("--poll", "nan"),
        ("--poll", "-1"),
        ("--timeout-ms", "0"),
        ("--timeout-ms", "inf"),
        ("--collect-ms", "nan"),
        ("--max-body", "0"),
        ("--max-documents", "-1"),
        ("--max-pixels", "0"),
        ("--max-queue", "0"),
        ("--cache", "0"),
        ("--missing", "no"),
        ("--stages", "nope"),
        ("--tuned", "nope.json"),
        ("--tuned", "nope.json", "--stages", "patchify"),
        ("--query-image-size", "0"),
        ("--token", "ä"),
        ("--first-stage", "x"),
        ("--device", "x"),
        ("--on-device", "x"),
        ("--device-memory", "-1"),
        ("--rescore", "5"),
    ],
)
def test_options_that_cannot_be(gallery, words):
    done = run("serve", gallery, *words, code=2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_no_gallery(tmp_path):
    assert "is this a gallery folder?" in run("serve", tmp_path / "g", code=2).stderr


@pytest.mark.slow
def test_codes_with_finer_rows_are_served(tmp_path):
    whole = draw_gallery(tmp_path / "g", [str(n) for n in range(30)], 3, 16, store="float32")
    for kind in ("rabitq1+int8", "int8"):
        compress(whole, tmp_path / kind, CompressOptions(kind, progress=False))
    body = {"query": {"vector": whole.global_vectors[3].tolist()}, "documents": list(whole.ids)}
    found = []
    for kind, *words in (
        ("int8",),
        ("rabitq1+int8", "--rescore", 30),
        ("rabitq1+int8", "--rescore", 0),
        ("rabitq1+int8", "--rescore", 0, "--on-device", "torch:cpu", "--device-memory", 0),
    ):
        with served_process(tmp_path / kind, "--lazy", *words) as (_, address):
            results = httpx.post(f"{address}/rerank", json=body).json()["results"]
            found.append([(hit["id"], hit["box"]) for hit in results])
    assert found[0] == found[1] == found[3] != found[2]
