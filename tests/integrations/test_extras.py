from __future__ import annotations

import importlib
import sys

import pytest

from patchrerank.errors import MissingExtraError
from patchrerank.integrations.extras import of_extra
from patchrerank.integrations.stores.pgvector import PgVectorStore
from patchrerank.integrations.stores.qdrant import QdrantStore
from patchrerank.integrations.stores.qdrant_edge import QdrantEdgeStore
from prepared import python


class Absent:
    """Finds none of some packages."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize(
    ("package", "extra", "make"),
    [
        ("qdrant_client", "qdrant", lambda: QdrantStore(None, "a")),
        ("qdrant_edge", "qdrant-edge", lambda: QdrantEdgeStore("a")),
        ("psycopg", "pgvector", lambda: PgVectorStore(None, "a")),
    ],
)
def test_a_missing_package_names_its_extra(monkeypatch, package, extra, make):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(package), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=rf"patchrerank\[{extra}\]"):
        make()


FRAMEWORKS = [
    ("langchain_core", "langchain", "langchain"),
    ("llama_index", "llama-index", "llama_index"),
    ("haystack", "haystack", "haystack"),
    ("pyterrier", "pyterrier", "pyterrier"),
    ("pandas", "pyterrier", "pyterrier"),
    ("rerankers", "rerankers", "rerankers"),
    ("lancedb", "lancedb", "lancedb"),
    ("pyarrow", "lancedb", "lancedb"),
]


@pytest.mark.parametrize(("package", "extra", "module"), FRAMEWORKS)
def test_a_missing_framework_names_its_extra(monkeypatch, package, extra, module):
    path = f"patchrerank.integrations.frameworks.{module}"
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, path, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(package), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=rf"needs {package}: .*patchrerank\[{extra}\]"):
        importlib.import_module(path)


def test_nothing_else_imports_any_of_them():
    """Neither the library nor its command line, nor any adapter of a store before it is made."""
    code = """
import importlib, pkgutil, sys
import patchrerank
apart = ("patchrerank.integrations.frameworks.", "patchrerank.testing.")
for found in pkgutil.walk_packages(patchrerank.__path__, "patchrerank."):
    if not found.name.startswith(apart):
        importlib.import_module(found.name)
packages = {*sys.argv[1:]} & set(sys.modules)
print(sorted(packages))
"""
    stores = ("qdrant_client", "qdrant_edge", "pymilvus", "milvus_lite", "psycopg", "pgvector")
    frameworks = (*(package for package, _, _ in FRAMEWORKS[:4]), "rerankers", "lancedb")
    given = [*stores, *frameworks, "chromadb", "sentence_transformers"]
    done = python("-c", code, *given)
    assert done.stdout == "[]\n", done.stderr[-2000:]


def test_a_broken_install_shows_its_own_error():
    with pytest.raises(ModuleNotFoundError, match="something_else"), of_extra("a", "a"):
        import something_else  # noqa: F401
