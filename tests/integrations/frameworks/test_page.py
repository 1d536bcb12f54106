"""The examples of docs/frameworks.md, run against the real packages."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.page_examples import examples_of, photographs_in, printed_by

PAGE = Path(__file__).parents[3] / "docs" / "frameworks.md"
PACKAGES = {
    "LangChain": "langchain_core",
    "LlamaIndex": "llama_index.core",
    "Haystack": "haystack",
    "PyTerrier": "pyterrier",
    "rerankers": "rerankers",
    "sentence-transformers": "numpy",
    "LanceDB": "lancedb",
}


BEFORE = """
import shutil
from pathlib import Path
from patchrerank import Gallery
names = list(Gallery("gallery/").ids)
shutil.copy(Path("photos/objects") / names[3], "query.jpg")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a gallery of the demo's photographs, and one of them as query.jpg."""
    root = tmp_path_factory.mktemp("page")
    photographs_in(root)
    return root


def test_every_framework_has_an_example():
    assert set(examples_of(PAGE)[1]) == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_runs(place, name, monkeypatch):
    pytest.importorskip(PACKAGES[name])
    lines = printed_by(BEFORE + examples_of(PAGE)[1][name], place, monkeypatch)
    asked = sorted(path.name for path in (place / "photos/objects").iterdir())[3]
    assert asked in lines[1 if name == "PyTerrier" else 0]
