"""The examples of docs/stores.md, run against the real packages."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.helpers.command_line import run
from tests.helpers.postgres import postgres

from patchrerank.datasets.shipped_photos import copy_shipped_photos

PAGE = Path(__file__).parents[3] / "docs" / "stores.md"
PACKAGES = {
    "Qdrant": "qdrant_client",
    "Qdrant Edge": "qdrant_edge",
    "LanceDB": "lancedb",
    "pgvector": "pgvector",
    "Milvus": "milvus_lite",
    "Chroma": "chromadb",
    "Other rerankers": "qdrant_client",
}


def parts():
    """What stands before the first heading, and the text under each heading with an example."""
    first, *rest = PAGE.read_text(encoding="utf-8").split("\n## ")
    return first, {part.partition("\n")[0]: part for part in rest if "```python" in part}


def code(text):
    return text.split("```python\n")[1].partition("```")[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a gallery of the demo's photographs, and one of them as query.jpg."""
    root = tmp_path_factory.mktemp("page")
    photos, _ = copy_shipped_photos(root / "photos")
    run("index", photos, root / "gallery", "--image-size", "64", "--regions", "grid:1", "--quiet")
    names = sorted(path.name for path in (root / "photos/objects").iterdir())
    (root / "query.jpg").write_bytes((root / "photos/objects" / names[3]).read_bytes())
    return root, names[3]


def test_every_store_has_an_example():
    assert set(parts()[1]) == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_runs(place, name):
    pytest.importorskip(PACKAGES[name])
    root, asked = place
    first, examples = parts()
    server = postgres(root / "server") if name == "pgvector" else nullcontext("")
    with server as uri:
        done = subprocess.run(
            [sys.executable, "-c", f"uri = {uri!r}\n" + code(first) + code(examples[name])],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert asked in lines[0]
