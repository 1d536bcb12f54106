from __future__ import annotations

import sys

import pytest

from patchrerank.errors import MissingExtraError
from patchrerank.integrations.stores.extras import of_extra
from patchrerank.integrations.stores.pgvector import PgVectorStore
from patchrerank.integrations.stores.qdrant import QdrantStore
from patchrerank.integrations.stores.qdrant_edge import QdrantEdgeStore


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


def test_a_broken_install_shows_its_own_error():
    with pytest.raises(ModuleNotFoundError, match="something_else"), of_extra("a", "a"):
        import something_else  # noqa: F401
