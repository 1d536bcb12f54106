"""The examples of docs/stores.md, run against the real packages."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from tests.helpers.page_examples import examples_of, photographs_in, printed_by
from tests.helpers.postgres import postgres

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


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a gallery of the demo's photographs, and one of them as query.jpg."""
    root = tmp_path_factory.mktemp("page")
    names = photographs_in(root)
    (root / "query.jpg").write_bytes((root / "photos/objects" / names[3]).read_bytes())
    return root, names[3]


def test_every_store_has_an_example():
    assert set(examples_of(PAGE)[1]) == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_runs(place, name, monkeypatch):
    pytest.importorskip(PACKAGES[name])
    root, asked = place
    first, examples = examples_of(PAGE)
    with postgres() if name == "pgvector" else nullcontext("") as uri:
        lines = printed_by(first + examples[name], root, monkeypatch, uri=uri)
    assert len(lines) == 3
    assert asked in lines[0]
