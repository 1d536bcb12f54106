from __future__ import annotations

import signal

import httpx
import pytest

from command_line import run
from patchrerank.testing.made_galleries import made_gallery
from served import served_process

PATIENT = """
from patchrerank.serving import running
running.DRAIN = 600
from patchrerank.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return made_gallery(tmp_path_factory.mktemp("made") / "g").folder


def test_the_page_is_served_to_this_machine_until_it_is_stopped(gallery):
    how = {"name": "explore", "begun": ("-c", PATIENT)}  # it waits for nobody when nobody is there
    with served_process(gallery, "--no-browser", **how) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert "<title>patchrerank explorer</title>" in httpx.get(address).text
        told = httpx.get(f"{address}explorer/about").json()
        assert told["images"] == 5 and told["crop"] == "box"
        assert "imported" in told["why"], "pictures cannot be encoded, and it says why"
        asked = {"query": {"id": told["sample"][0]}}
        found = httpx.post(f"{address}explorer/query", json=asked).json()
        assert found["ids"][0] == told["sample"][0]
        other = httpx.get(f"{address}explorer/about", headers={"Host": "evil.example"})
        assert other.status_code == 421
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)


def test_the_service_has_it_too_behind_its_token(gallery):
    with served_process(gallery, "--token", "secret", "--lazy") as (_, address):
        assert "<title>patchrerank explorer</title>" in httpx.get(f"{address}/").text
        assert httpx.get(f"{address}/explorer/fusion.js").status_code == 200
        assert httpx.get(f"{address}/explorer/about").status_code == 401
        known = {"Authorization": "Bearer secret"}
        assert httpx.get(f"{address}/explorer/about", headers=known).status_code == 200


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--candidates", "0"], "candidates"),
        (["--stages", "nobody"], "nobody"),
        (["--port", "99999999"], "port"),
        (["--rescore", "5"], "finer rows"),
    ],
)
def test_bad_words_are_explained(gallery, words, why):
    done = run("explore", gallery, "--no-browser", *words, code=2)
    assert why in done.stderr and len(done.stderr.splitlines()) == 1
