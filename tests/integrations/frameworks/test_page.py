"""The examples of docs/frameworks.md, run against the real packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.command_line import run

from patchrerank.datasets.shipped_photos import copy_shipped_photos

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


def examples():
    """The example of each framework, by its heading."""
    parts = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    found = {part.partition("\n")[0]: part.split("```") for part in parts}
    return {
        name: pieces[1].removeprefix("python\n")
        for name, pieces in found.items()
        if len(pieces) > 1
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a gallery of the demo's photographs, and one of them as query.jpg."""
    root = tmp_path_factory.mktemp("page")
    photos, _ = copy_shipped_photos(root / "photos")
    run("index", photos, root / "gallery", "--image-size", "64", "--regions", "grid:1", "--quiet")
    return root


def test_every_framework_has_an_example():
    assert set(examples()) == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_example_runs(place, name):
    pytest.importorskip(PACKAGES[name])
    done = subprocess.run(
        [sys.executable, "-c", BEFORE + examples()[name]],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    best = done.stdout.splitlines()[1 if name == "PyTerrier" else 0]
    asked = sorted(path.name for path in (place / "photos/objects").iterdir())[3]
    assert asked in best
