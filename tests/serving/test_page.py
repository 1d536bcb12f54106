"""The examples of docs/serving.md, run against a service of the demo's photographs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from page_examples import examples_of, photographs_in
from prepared import python
from served import served_process

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
NEEDS = {
    "Any HTTP client": "httpx",
    "Cohere's client": "cohere",
    "In your own process": "starlette",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a gallery, and the address of its service."""
    root = tmp_path_factory.mktemp("page")
    names = photographs_in(root)
    with served_process(root / "gallery", "--lazy") as (_, address):
        yield root, names, address


def test_every_example_is_run():
    assert set(examples_of(PAGE)[1]) == set(NEEDS)


SLOW = pytest.param("Cohere's client", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [SLOW if "Cohere" in name else name for name in NEEDS])
def test_the_example_runs(place, name):
    pytest.importorskip(NEEDS[name])
    root, names, address = place
    code = examples_of(PAGE)[1][name]
    code = f"names = {names!r}\n" + code.replace("http://127.0.0.1:8080", address)
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    done = python("-c", code, cwd=root, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert names[0] in done.stdout


def test_limits_are_those_that_it_names():
    from patchrerank.serving.settings import MEGABYTE, ServiceSettings

    usual, text = ServiceSettings(), PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(--[a-z-]+)`[^|]*\| ([0-9]+)", text, flags=re.M))
    assert int(rows["--max-body"]) * MEGABYTE == usual.max_body
    assert int(rows["--max-documents"]) == usual.max_documents
    assert int(rows["--max-pixels"]) * 10**6 == usual.max_pixels
    assert int(rows["--max-queue"]) == usual.max_queue
