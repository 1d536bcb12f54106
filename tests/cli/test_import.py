"""``import`` and ``export``: vectors in and out by the command line, and rerank on what is made."""

from __future__ import annotations

import json
from uuid import UUID

import faiss
import numpy as np
import pytest

from command_line import run
from patchrerank.cli.wording import as_options
from patchrerank.gallery import Gallery, verify

N, D = 12, 8
IDS = {
    "text": [f"a {number}.jpg" for number in range(N)],
    "int": [number * 7 - 3 for number in range(N)],
    "uuid": [UUID(int=number << 64) for number in range(N)],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    for name, shape in (("globals", (N, D)), ("patches", (N, 5, D)), ("query", (D,))):
        drawn = rng.standard_normal(shape).astype(np.float32)
        np.save(folder / f"{name}.npy", drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))
        np.save(folder / f"long {name}.npy", drawn)
    for kind, ids in IDS.items():
        (folder / f"{kind}.txt").write_text("".join(f"{item}\n" for item in ids))
    return folder


def words(files, kind, **changes):
    given = {"globals": files / "globals.npy", "patches": files / "patches.npy", **changes}
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    return ["--ids", files / f"{kind}.txt", "--id-type", kind, *options, "--encoder", "ours"]


@pytest.fixture(scope="module")
def galleries(files, tmp_path_factory):
    root = tmp_path_factory.mktemp("galleries")
    for kind in IDS:
        how = words(files, kind, regions="grid:1", store="float32")
        told = run("import", root / kind, *how, "--json", "--quiet").stdout
        assert json.loads(told)["id_type"] == kind
    return root


FORMATS = {"npy": "out", "hdf5": "out.h5", "parquet": "out.parquet"}


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("form", FORMATS)
def test_export_and_import_keep_every_bit(galleries, tmp_path, form, kind):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    made, out, again = galleries / kind, tmp_path / FORMATS[form], tmp_path / "again"
    run("export", made, out, "--format", form, "--quiet")
    run("import", again, "--from", out, "--store", "float32", "--quiet")
    first, second = Gallery(made), Gallery(again)
    assert list(second.ids) == list(first.ids) == IDS[kind] and verify(second) == []
    for name in ("ids", "id_ends", "globals", "patches", "patch_ends", "boxes"):
        assert first.manifest.arrays[name] == second.manifest.arrays[name]
    for key in ("encoder", "identity", "regions", "id_type"):
        assert getattr(first.manifest, key) == getattr(second.manifest, key)
    refused = run("export", made, out, "--quiet", code=2).stderr
    assert "is there already; choose another name" in refused


@pytest.mark.parametrize("kind", IDS)
def test_rerank_takes_ids_as_files_have_them_and_gives_them_back(galleries, files, tmp_path, kind):
    listed = [str(item) for item in IDS[kind]]
    query, gallery = files / "query.npy", galleries / kind
    whole = np.load(files / "patches.npy") @ np.load(query)
    order = [IDS[kind][row] for row in np.argsort(-whole.max(axis=1))]
    for shortlist in ("\n".join(listed), json.dumps(IDS[kind] if kind == "int" else listed)):
        command = ["rerank", gallery, query, "-", "--lam", 0]
        hits = json.loads(run(*command, "--json", stdin=shortlist).stdout)["hits"]
        assert [hit["id"] for hit in hits] == (
            order if kind == "int" else [str(item) for item in order]
        )
    run(*command, "--run", tmp_path / "run.json", stdin=shortlist)
    (held,) = json.loads((tmp_path / "run.json").read_text()).values()
    assert list(held) == [str(item) for item in order]
    found = json.loads(run("search", gallery, query, "--json").stdout)["hits"]
    assert found[0]["id"] == (order[0] if kind == "int" else str(order[0]))
    table = run("search", gallery, query, "--top-k", 1).stdout
    assert str(order[0]) in table


def test_ids_of_another_kind_are_refused(galleries, files):
    for kind, words in (("int", "whole numbers"), ("uuid", "UUIDs")):
        told = run("rerank", galleries / kind, files / "query.npy", "-", code=2, stdin="1.5\n")
        assert f"id '1.5' (position 0) cannot be one of the gallery's, which are {words}" in (
            told.stderr
        )


def test_a_picture_is_no_query_of_an_import(galleries, tmp_path):
    told = run("search", galleries / "text", tmp_path / "q.jpg", code=2).stderr
    assert "was imported, with vectors of 'ours'" in told
    np.save(tmp_path / "q.npy", np.zeros((2, D)))
    told = run("search", galleries / "text", tmp_path / "q.npy", code=2).stderr
    assert "a query is floats (d,)" in told


def test_info_of_an_import(galleries):
    assert "encoder: ours" in run("info", galleries / "uuid", "--verify").stdout
    held = json.loads(run("info", galleries / "int", "--json").stdout)
    assert held["regions"] == "grid:1" and held["encoder"]["architecture"] == "imported"


def test_what_is_missing_or_wrong_is_one_sentence(files, tmp_path):
    out, ids = tmp_path / "g", files / "text.txt"
    how = words(files, "text")
    for command, message in (
        ([], "needs --ids, --globals and --patches, or --from"),
        (how[:-2], "say what made the vectors with --encoder"),
        ([*how, "--counts", 4], "--counts 4"),
        (words(files, "text", globals=files / "long globals.npy"), "have it done with --normalise"),
        (words(files, "text", patches=tmp_path / "no.npy"), "no.npy: cannot be read"),
        (words(files, "text", counts="9" * 30), "no image has so many patches"),
        (["--from", tmp_path, "--ids", ids], "no ids (ids.json, ids.npy, ids.txt)"),
        (["--from", ids], "is no folder"),
    ):
        if message == "--counts 4":  # of five, four count
            run("import", tmp_path / "four", *command, "--quiet")
            assert Gallery(tmp_path / "four").manifest.patches == 4 * N
            continue
        told = run("import", out, *command, "--quiet", code=2).stderr
        assert message in told and told.count("\n") == 1 and not out.exists()
    run("import", out, *words(files, "text", globals=files / "long globals.npy"), "--normalise")


def test_the_folder_of_an_export_is_whole_or_refused(galleries, tmp_path):
    out = tmp_path / "out"
    run("export", galleries / "text", out, "--quiet")
    (out / "patchrerank.json").write_text('{"encoder": 3}')
    again = ["import", tmp_path / "g", "--from", out, "--quiet"]
    assert "the record of an export is damaged" in run(*again, code=2).stderr
    (out / "patchrerank.json").unlink()
    assert "say what made the vectors" in run(*again, code=2).stderr
    (out / "globals.npy").unlink()
    assert "holds no globals.npy" in run(*again, code=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_other_stores_are_exported_as_floats(galleries, tmp_path):
    run("compress", galleries / "text", tmp_path / "small", "--store", "int8", "--quiet")
    run("export", tmp_path / "small", tmp_path / "out", "--quiet")
    small = Gallery(tmp_path / "small")
    held = np.load(tmp_path / "out" / "patches.npy")
    np.testing.assert_array_equal(held, small.patch_store.decode(np.arange(5 * N)))


def test_an_index_file_a_table_and_what_only_some_take(files, tmp_path):
    index = faiss.IndexFlatIP(D)
    index.add(np.load(files / "globals.npy"))
    faiss.write_index(index, str(tmp_path / "i.faiss"))
    how = ["--globals", tmp_path / "i.faiss", "--encoder", "ours", "--quiet"]
    told = run("import", tmp_path / "a", *how, code=2).stderr
    assert "nothing to rerank by: say --patches, --local, or the --root" in told
    run("import", tmp_path / "a", *how, "--patches", files / "patches.npy")
    assert list(Gallery(tmp_path / "a").ids) == list(range(N))
    run("import", tmp_path / "b", *words(files, "text", globals=tmp_path / "i.faiss"), "--quiet")
    assert list(Gallery(tmp_path / "b").ids) == IDS["text"]
    for option in ("--columns=ids=a", "--lance-version=1"):
        told = run("import", tmp_path / "c", *how, option, code=2).stderr
        assert "is for what --from names" in told
    told = run("import", tmp_path / "c", "--from", tmp_path, "--columns", "ids", code=2).stderr
    assert "use such as ids=sku,globals=vector" in told


def test_a_table(galleries, tmp_path):
    lancedb = pytest.importorskip("lancedb")
    parquet = pytest.importorskip("pyarrow.parquet")
    run("export", galleries / "uuid", tmp_path / "v.parquet", "--format", "parquet", "--quiet")
    table = parquet.read_table(tmp_path / "v.parquet").rename_columns({"globals": "vector"})
    lancedb.connect(tmp_path / "db").create_table("t", table)
    how = ["--from", tmp_path / "db" / "t.lance", "--lance-version", 1, "--store", "float32"]
    how += ["--columns", "globals=vector,boxes=boxes", "--encoder", "x", "--quiet"]
    run("import", tmp_path / "g", *how)
    first, second = Gallery(galleries / "uuid"), Gallery(tmp_path / "g")
    assert second.manifest.arrays == first.manifest.arrays


def test_local_descriptors_and_sizes(galleries, files, tmp_path):
    local = tmp_path / "local"
    local.mkdir()
    np.save(local / "vectors.npy", np.load(files / "patches.npy"))
    np.save(local / "places.npy", np.full((N, 5, 2), 30.0))
    np.save(tmp_path / "sizes.npy", np.full((N, 2), 60))
    how = ["--local", local, "--local-store", "float32", "--sizes", tmp_path / "sizes.npy"]
    how += ["--local-encoder", "net", "--local-pixels", *words(files, "int"), "--quiet"]
    run("import", tmp_path / "g", *how)
    made = Gallery(tmp_path / "g")
    assert (made.local.positions == 0.5).all() and made.local.identity == "net"
    run("export", tmp_path / "g", tmp_path / "out", "--quiet")
    run("export", tmp_path / "g", tmp_path / "bare", "--no-local", "--quiet")
    assert (tmp_path / "out" / "local").is_dir() and not (tmp_path / "bare" / "local").exists()
    again = ["--from", tmp_path / "out", "--local-store", "float32", "--quiet"]
    run("import", tmp_path / "h", *again)
    arrays = Gallery(tmp_path / "h").local.manifest.arrays
    assert arrays == made.local.manifest.arrays and verify(Gallery(tmp_path / "h")) == []
    bare = ["--from", tmp_path / "bare", "--local", tmp_path / "out" / "local", "--quiet"]
    run("import", tmp_path / "i", *bare)
    assert Gallery(tmp_path / "i").has_local


@pytest.mark.parametrize("name", ["absent", "absent.h5", "absent.parquet"])
def test_what_is_not_there_is_said_to_be_absent(tmp_path, name):
    told = run("import", tmp_path / "g", "--from", tmp_path / name, code=2).stderr
    assert told.endswith(f"{name}: no such file or folder\n") and not (tmp_path / "g").exists()


def test_an_option_is_named_once():
    told = as_options("use normalise=True (--normalise), or missing='drop', or normalise=True")
    assert told == "use --normalise, or --missing drop, or --normalise"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"globals": "no.faiss"}, "no.faiss: cannot be read (No such file or directory)"),
        ({"globals": "empty.faiss"}, "is neither an array (.npy) nor a faiss index"),
        ({"globals": "text.index"}, "is neither an array (.npy) nor a faiss index"),
        ({"local": "no"}, "no: there is no such file or folder of local descriptors"),
        ({"from": "no.lance"}, "no.lance: there is no such folder"),
    ],
)
@pytest.mark.parametrize("ids", [True, False])
def test_a_file_that_is_not_there_is_what_is_complained_of(files, tmp_path, change, message, ids):
    if "from" in change:
        pytest.importorskip("lancedb")
    (tmp_path / "empty.faiss").write_bytes(b"")
    (tmp_path / "text.index").write_text("hello, this is no index")
    given = {name: tmp_path / value for name, value in change.items()}
    options = words(files, "text", **given)[0 if ids or "local" in change else 4 :]
    error = run("import", tmp_path / "g", *options, "--quiet", code=2).stderr
    assert message in error and not (tmp_path / "g").exists()
