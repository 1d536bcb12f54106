"""The command line: what a user types, and what comes back.

Most calls run in this process, since each fresh one takes seconds to import torch; the ones that
are about the process itself (exit codes, Ctrl-C, start-up) run as subprocesses.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from command_line import fresh, run, run_process
from patchrerank.calibration import Calibration
from patchrerank.cli.main import GROUPS, command_name
from patchrerank.datasets import load_dataset
from patchrerank.encoders import load_dense_encoder, load_encoder
from patchrerank.gallery import Gallery
from patchrerank.gallery.writer import GalleryWriter
from patchrerank.pipeline import Tuned, TunedOn, Versions, parse_stages
from prepared import python, start

COMMANDS = [module for group in GROUPS.values() for module in group]
ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "64"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((120, 90)).save(folder / f"{number:02d}.jpg")
    return folder


@pytest.fixture(scope="module")
def gallery(photos):
    folder = photos.parent / "gallery"
    done = run("index", photos, folder, *ENCODER, "--regions", "grid:1", "--json", "--quiet")
    record = json.loads(done.stdout)
    assert (record["images"], record["patches"], record["skipped"]) == (12, 60, [])
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    photos = root / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for number in range(4):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(photos / f"{number}.png")
    done = run(
        "composite", photos, root / "data", "--cut-from", photos, "--distractors", 6,
        "--positives", 2, "--max-instances", 3, "--long-side", 128, "--json", "--quiet",
    )  # fmt: skip
    assert json.loads(done.stdout)["queries"] == 3
    return root / "data"


def test_info_and_verify(gallery, tmp_path):
    record = json.loads(run("info", gallery, "--verify", "--json", "--quiet").stdout)
    assert record["images"] == 12
    assert record["problems"] == []
    assert record["encoder"]["spec"].startswith("timm:test_resnet")
    assert "verified: all is well" in run("info", gallery, "--verify", "--quiet").stdout
    shutil.copytree(gallery, tmp_path / "g")
    data = bytearray((tmp_path / "g" / "boxes.bin").read_bytes())
    data[5] ^= 255
    (tmp_path / "g" / "boxes.bin").write_bytes(data)
    assert "DAMAGED boxes" in run("info", tmp_path / "g", "--verify", "--quiet", code=1).stdout


def test_search_finds_the_picture_itself(gallery, photos):
    record = json.loads(run("search", gallery, photos / "07.jpg", "--top-k", 3, "--json").stdout)
    assert record["query_crop"] == "none"
    assert [hit["rank"] for hit in record["hits"]] == [1, 2, 3]
    assert record["hits"][0]["id"] == "07.jpg"
    assert record["hits"][0]["box"] == [0, 0, 1, 1]
    table = run("search", gallery, photos / "07.jpg").stdout
    assert "07.jpg" in table


def test_search_takes_an_index_of_the_owner(gallery, photos, tmp_path):
    import faiss

    held = Gallery(gallery)
    order = np.arange(len(held))[::-1]
    index = faiss.index_factory(held.dim, "IVF2,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(np.asarray(held.global_vectors))
    index.add(np.asarray(held.global_vectors)[order])
    faiss.write_index(index, str(tmp_path / "i.faiss"))
    (tmp_path / "ids.txt").write_text("\n".join(held.ids[row] for row in order))
    query = [gallery, photos / "07.jpg"]
    own = [*query, "--index", tmp_path / "i.faiss"]
    given = ["--index-ids", tmp_path / "ids.txt", "--nprobe", 2, "--missing", "error"]
    found = json.loads(run("search", *own, *given, "--json").stdout)["hits"]
    expected = json.loads(run("search", *query, "--json").stdout)["hits"]
    assert [hit["id"] for hit in found] == [hit["id"] for hit in expected]
    np.testing.assert_allclose(
        [hit["score"] for hit in found], [hit["score"] for hit in expected], atol=1e-5
    )
    names = [*(held.ids[row] for row in order[:-1]), "new.jpg"]  # 00.jpg is called otherwise
    (tmp_path / "names.txt").write_text("\n".join(names))
    some = ["--index-ids", tmp_path / "names.txt", "--nprobe", 2, "--top-k", 12, "--lam", 1]
    assert "missing" in run("search", *own, *some, code=2).stderr
    kept = json.loads(run("search", *own, *some, "--missing", "keep", "--json").stdout)["hits"]
    whole = [*query, "--top-k", 12, "--lam", 1, "--json"]
    expected = [hit["id"] for hit in json.loads(run("search", *whole).stdout)["hits"]]
    assert [hit["id"].replace("new", "00") for hit in kept] == expected
    assert [hit["id"] for hit in kept if hit["status"] == "kept"] == ["new.jpg"]
    refused = {
        ("--index", photos / "07.jpg"): "no faiss index",
        ("--index", tmp_path / "i.faiss", "--first-stage", "Flat"): "leave --first-stage out",
        ("--nprobe", 3): "--nprobe says something of an index",
        ("--index-ids", tmp_path / "ids.txt"): "name it with --index FILE",
    }
    for words, message in refused.items():
        assert message in run("search", *query, *words, code=2).stderr


@pytest.mark.parametrize(
    "shortlist",
    [
        '[["03.jpg", 0.9], ["07.jpg", 0.8], ["01.jpg", 0.1]]',
        '["03.jpg", "07.jpg", "01.jpg"]',
        '{"03.jpg": 0.9, "07.jpg": 0.8, "01.jpg": 0.1}',
        '[{"id": "03.jpg", "score": 2}, {"id": "07.jpg", "score": 1}, {"id": "01.jpg"'
        ', "score": 0}]',
        "03.jpg\t0.9\n07.jpg\t0.8\n01.jpg\t0.1\n",
        "03.jpg\n07.jpg\n01.jpg\n",
    ],
)
def test_rerank_somebody_elses_shortlist(gallery, photos, shortlist):
    words = ["rerank", gallery, photos / "07.jpg", "-", "--json"]
    hits = json.loads(run(*words, "--lam", "0", stdin=shortlist).stdout)["hits"]
    assert hits[0]["id"] == "07.jpg"
    assert sorted(hit["id"] for hit in hits) == ["01.jpg", "03.jpg", "07.jpg"]


def test_evaluate(dataset, tmp_path):
    words = ["evaluate", dataset, *ENCODER, "--regions", "grid:1", "--cache", tmp_path, "--quiet"]
    record = json.loads(run(*words, "--json").stdout)
    assert record["settings"]["AP"] == "full"
    assert 0 <= record["metrics"]["LocScore"] <= record["metrics"]["mAP"] <= 100
    assert set(record["areas"]) == {"<10%", "10-25%", "25-70%"}
    assert record["milliseconds"]["index_per_image"] > 0
    again = json.loads(run(*words, "--json").stdout)
    assert again["metrics"] == record["metrics"]
    assert again["milliseconds"]["index_per_image"] is None
    first_only = json.loads(run(*words, "--json", "--shortlist-size", "0").stdout)
    lam_one = json.loads(run(*words, "--json", "--lam", "1").stdout)
    assert first_only["metrics"]["mAP"] == lam_one["metrics"]["mAP"]
    assert "AP convention @5" in run(*words, "--convention", "@5").stdout


def test_stages(dataset, photos, tmp_path):
    words = [photos, tmp_path / "g", *ENCODER, "--regions", "grid:1", "--quiet"]
    run("index", *words, "--local", "--local-image-size", 64)
    query = [tmp_path / "g", photos / "07.jpg"]
    stages = ["--stages", "patchify+refine:all,chamfer:3:0.5:2", "--query-image-size", 64, "--json"]
    hits = json.loads(run("search", *query, *stages).stdout)["hits"]
    assert hits[0]["id"] == "07.jpg"
    ids = json.dumps([f"{number:02d}.jpg" for number in range(12)])
    hits = json.loads(run("rerank", *query, "-", *stages, stdin=ids).stdout)["hits"]
    assert hits[0]["id"] == "07.jpg"
    assert len(hits) == 12
    assert "did you mean chamfer" in run("search", *query, "--stages", "chamber", code=2).stderr
    assert "malformed" in run("search", *query, "--stages", "chamfer:x", code=2).stderr


def write_tuned(path, gallery, stages, dense=None, **changes):
    """A tuned.json for a gallery, as if tuned on it."""
    values = {
        "stages": tuple(parse_stages(stages)),
        "tuned_on": TunedOn.of(gallery, "none", 5, "none", dense),
        "metric": "mAP", "convention": "full", "value": 0.5, "held_out": None, "folds": 0,
        "seed": 0, "sampler": "none", "versions": Versions.current(),
        "calibration": Calibration(2.0, 2.0, 0.0, nothing_below=0.6),
    }  # fmt: skip
    Tuned(**{**values, **changes}).save(path)
    return path


def test_tuned_search_and_rerank(gallery, photos, tmp_path):
    tuned = write_tuned(tmp_path / "t.json", Gallery(gallery), "patchify:3:0.25:2")
    words = [gallery, photos / "07.jpg", "--tuned", tuned]
    record = json.loads(run("search", *words, "--json").stdout)
    assert record["hits"][0]["id"] == "07.jpg"
    known = [hit["probability"] is not None for hit in record["hits"]]
    assert known == [True] * 3 + [False] * 2, "five candidates, of which three are rescored"
    assert record["nothing_found"] is False
    stages = [gallery, photos / "07.jpg", "--stages", "patchify:3:0.25:2", "--json"]
    plain = json.loads(run("search", *stages, "--shortlist-size", 5).stdout)
    assert "nothing_found" not in plain
    for hit, other in zip(record["hits"], plain["hits"], strict=True):
        assert other["probability"] is None
        assert {**hit, "probability": None} == other
    assert "probability" in run("search", *words).stdout
    assert "probability" not in run("search", *words[:2]).stdout
    shortlist = json.dumps([["03.jpg", 0.2], ["01.jpg", 0.1]])
    reranked = ["rerank", gallery, photos / "07.jpg", "-", "--tuned", tuned]
    record = json.loads(run(*reranked, "--json", stdin=shortlist).stdout)
    assert record["nothing_found"] is (max(h["score"] for h in record["hits"]) < 0.6)
    certain = Calibration(0.0, 0.0, 9.0, nothing_below=1.0)
    write_tuned(tuned, Gallery(gallery), "patchify", calibration=certain)
    assert "probably nothing was found" in run(*reranked, stdin=shortlist).stdout


def test_tuned_stands_alone(gallery, photos, dataset, tmp_path):
    tuned = write_tuned(tmp_path / "t.json", Gallery(gallery), "patchify")
    query = [gallery, photos / "07.jpg"]
    done = run("search", *query, "--tuned", tuned, "--lam", 0.0, "--stages", "patchify", code=2)
    assert "t.json decides what --stages, --lam would; leave them out" in done.stderr
    for name, option in [
        ("search", ["--shortlist-size", 3]),
        ("search", ["--query-crop", "none"]),
        ("rerank", ["--gamma", 1]),
        ("rerank", ["--query-image-size", 224]),
        ("evaluate", ["--lam", 0.5]),
        ("evaluate", ["--shortlist-size", "all"]),
    ]:
        given = {"search": query, "rerank": [*query, "-"], "evaluate": [dataset]}[name]
        done = run(name, *given, "--tuned", tuned, *option, code=2, stdin='["01.jpg"]')
        assert f"decides what {option[0]} would" in done.stderr
    assert "cannot be read" in run("search", *query, "--tuned", tmp_path / "no", code=2).stderr
    tuned.write_text(tuned.read_text().replace('"lam"', '"lamm"'))
    done = run("search", *query, "--tuned", tuned, code=2)
    assert "t.json: stages[0].lamm: unknown key; did you mean lam" in done.stderr


def test_tuned_for_another_encoder(gallery, photos, tmp_path):
    tuned = write_tuned(tmp_path / "t.json", Gallery(gallery), "patchify")
    other = [photos, tmp_path / "g", *ENCODER[:-1], "32", "--regions", "grid:1", "--quiet"]
    run("index", *other)
    done = run("search", tmp_path / "g", photos / "07.jpg", "--tuned", tuned, code=2)
    assert "tune again on this gallery" in done.stderr


def test_evaluate_tuned(dataset, tmp_path):
    words = [dataset, *ENCODER, "--cache", tmp_path, "--quiet", "--json"]
    plain = ["--regions", "grid:1", "--lam", 0.25, "--gamma", 2]
    expected = json.loads(run("evaluate", *words, *plain).stdout)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    on = TunedOn.of(Gallery(folder), load_dataset(dataset).fingerprint, 100)
    path = write_tuned(tmp_path / "t.json", Gallery(folder), "patchify:all:0.25:2", tuned_on=on)
    found = json.loads(run("evaluate", *words, "--tuned", path).stdout)
    assert found["metrics"] == expected["metrics"]
    assert found["per_query"] == expected["per_query"]
    assert found["settings"]["stages"] == "patchify:all:0.25:2.0"
    assert found["settings"]["regions"] == "grid:1", "those of the file"
    assert found["settings"]["tuned_on"] == "this data set (optimistic figures)"
    few = write_tuned(tmp_path / "few.json", Gallery(folder), "patchify")
    record = json.loads(run("evaluate", *words, "--tuned", few).stdout)
    assert record["settings"]["tuned_on"] == "another data set"
    assert "stages" in run("evaluate", *words[:-1], "--tuned", few).stdout
    held = found["reliability"]
    assert list(held) == ["first 5", "first 10"]
    assert all(0 <= value <= 1 for figures in held.values() for value in figures.values())
    shown = run("evaluate", *words[:-1], "--tuned", path).stdout
    assert "calibration error" in shown
    assert "calibration error" not in run("evaluate", *words[:-1]).stdout


@pytest.mark.slow
def test_evaluate_tuned_with_local_descriptors(dataset, tmp_path):
    words = [dataset, *ENCODER, "--regions", "grid:1", "--cache", tmp_path, "--quiet", "--json"]
    sizes = ["--local-image-size", 64, "--query-image-size", 96]
    stages = "patchify:all:0:1,chamfer+refine:5:0.5:2"
    rows = json.loads(run("compare", *words, *sizes, "--stages", stages).stdout)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    opened = Gallery(folder)
    model = load_encoder(ENCODER[1], image_size=64, pretrained=False)
    dense = load_dense_encoder(model, image_size=96)
    on = TunedOn.of(opened, "none", len(opened), "none", dense)
    path = write_tuned(tmp_path / "t.json", opened, stages, tuned_on=on)
    shutil.rmtree(folder / "local")
    found = json.loads(run("evaluate", *words, "--tuned", path).stdout)
    assert (folder / "local").is_dir(), "made again"
    for name, value in found["metrics"].items():
        assert value == rows[0]["metrics"][name]
    assert found["bytes_per_query"]["local_read"] > 0


def test_compare(dataset, tmp_path):
    words = ["compare", dataset, *ENCODER, "--regions", "grid:1", "--cache", tmp_path, "--quiet"]
    sizes = ["--local-image-size", 64, "--query-image-size", 64]
    rows = json.loads(run(*words, *sizes, "--json").stdout)
    assert [row["stages"] for row in rows] == [
        "global", "patchify", "patchify+refine", "chamfer", "dense_correlation"
    ]  # fmt: skip
    by_name = {row["stages"]: row for row in rows}
    assert by_name["patchify"]["metrics"]["mAP"] == by_name["patchify+refine"]["metrics"]["mAP"]
    assert all(0 <= row["metrics"]["LocScore"] <= row["metrics"]["mAP"] for row in rows)
    assert by_name["global"]["ms_per_query"] is None
    evaluated = ["evaluate", dataset, *ENCODER, "--regions", "grid:1", "--cache", tmp_path]
    record = json.loads(run(*evaluated, "--quiet", "--json").stdout)
    assert record["metrics"]["mAP"] == by_name["patchify"]["metrics"]["mAP"]
    shown = run(*words, *sizes, "--stages", "patchify,chamfer:2").stdout
    assert "patchify,chamfer:2" in shown
    assert "no box" not in shown
    assert "no box" in run(*words, "--stages", "query-expansion").stdout


def test_compress_and_storage(gallery, tmp_path):
    done = run("compress", gallery, tmp_path / "g", "--store", "int8", "--json", "--quiet")
    assert json.loads(done.stdout)["mean_cosine"] > 0.999
    assert Gallery(tmp_path / "g").manifest.store == "int8"
    record = json.loads(
        run("storage", "--images", 4885, "--dim", 1024, "--level", 0, "--json").stdout
    )
    assert record["float32"]["stored"] == 4885 * 4096
    assert record["ivfpq"]["stored"] == 18_210_280
    assert "518.42" in run("storage", "--table7").stdout
    assert "int8" in run("storage", tmp_path / "g", "--m", 8).stdout


def test_finer_rows_beside_codes(gallery, tmp_path):
    run("compress", gallery, tmp_path / "g", "--store", "rabitq1+int8", "--quiet")
    opened = Gallery(tmp_path / "g")
    assert "rabitq1+int8" in run("info", tmp_path / "g", "--verify").stdout
    np.save(tmp_path / "q.npy", opened.global_vectors[0])
    (tmp_path / "s.json").write_text(json.dumps(list(opened.ids)))
    words = ["rerank", tmp_path / "g", tmp_path / "q.npy", tmp_path / "s.json", "--json"]
    more = (["--rescore", 1], [], ["--rescore", 99])
    few, usual, all_ = (run(*words, *option).stdout for option in more)
    assert usual == all_ != few
    assert json.loads(usual)["hits"][0]["local_score"] == pytest.approx(1, abs=0.01)
    for folder, value, message in ((tmp_path / "g", -1, "at least 0"), (gallery, 5, "finer rows")):
        said = run("rerank", folder, *words[2:], "--rescore", value, code=2)
        assert message in said.stderr


def test_the_published_storage_table_in_a_unit_of_ones_own():
    rows = json.loads(run("storage", "--table7", "--json").stdout)["rows"]
    shown = run("storage", "--table7", "--unit", "GB").stdout
    for row in rows:
        raw, quantised = row["raw"] / 1e9, row["quantised"] / 1e9
        assert f"{raw:,.2f} │ " in shown and f"{quantised:,.2f} │ " in shown
        assert f"{raw / quantised:.2f} │ " in shown


def test_storage_shows_the_files_of_a_gallery_and_of_nothing_else(gallery):
    shown = run("storage", gallery, "--m", 8, "--unit", "B").stdout
    opened = Gallery(gallery)
    assert f"on disk, {opened.manifest.store}" in shown
    for name, size in opened.nbytes().items():
        assert any({name, f"{size:,.2f}"} <= set(line.split()) for line in shown.splitlines())
    planned = run("storage", "--images", 12, "--dim", 64).stdout
    assert "360 vectors" in planned and "on disk" not in planned


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("B", "12,000,000.00"),
        ("kB", "12,000.00"),
        ("MB", "12.00"),
        ("GB", "0.01"),
        ("KiB", "11,718.75"),
        ("MiB", "11.44"),
    ],
)
def test_units_of_storage(unit, shown):
    found = run("storage", "--images", 30_000, "--dim", 100, "--level", 0, "--unit", unit).stdout
    (line,) = (line for line in found.splitlines() if "float32 " in line and shown in line)
    assert line.split().count(shown) == 2, "float32 as such and as it is stored"
    assert "pq" not in found, "100 dimensions have no 64 parts"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["index", "/nowhere", "{tmp}/g", *ENCODER], "/nowhere: not a folder"),
        (["index", "{photos}", "{gallery}", *ENCODER, "--regions", "grid:2"], "--append"),
        (["index", "{photos}", "{tmp}/g", "--encoder", "timm:resnet5o"], "did you mean"),
        (["index", "{photos}", "{tmp}/g", "--regions", "gird:3"], "did you mean grid"),
        (["info", "{tmp}"], "is this a gallery folder"),
        (["search", "{gallery}", "{tmp}/no.jpg"], "no.jpg: no such file"),
        (["search", "{gallery}", "{gallery}/boxes.bin"], "not an image"),
        (["search", "{gallery}", "{photos}/01.jpg", "--lam", "1.5"], "lam must lie in [0, 1]"),
        (["search", "{gallery}", "{photos}/01.jpg", "--shortlist-size", "x"], "number or 'all'"),
        (["search", "{gallery}", "{photos}/01.jpg", "--box", "1,2"], "x0,y0,x1,y1"),
        (["rerank", "{gallery}", "{photos}/01.jpg", "{tmp}/none"], "cannot be read"),
        (["evaluate", "{tmp}"], "index.json"),
        (["search", "{gallery}", "{photos}/01.jpg", "--top-k", "-2"], "top_k"),
        (["search", "{gallery}", "{photos}/01.jpg", "--box", "nan,0,1,1"], "x0,y0,x1,y1"),
        (["storage", "--images", "5", "--dim", "8", "--m", "0"], "--m"),
        (["storage", "--images", "-5", "--dim", "8", "--m", "8"], "positive"),
        (["index", "{photos}", "/proc/none/g", *ENCODER], "cannot be made"),
        (["storage"], "--images and --dim"),
        (["storage", "--images", "5"], "--images and --dim"),
        (["storage", "--dim", "8"], "--images and --dim"),
        (["composite", "{photos}", "{tmp}/out"], "OBJECTS BACKGROUNDS OUT"),
    ],
)
def test_errors_are_one_sentence_with_exit_code_two(words, message, photos, gallery, tmp_path):
    filled = [str(w).format(tmp=tmp_path, photos=photos, gallery=gallery) for w in words]
    done = run(*filled, code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("shortlist", "message"),
    [
        ('["07.jgp"]', "did you mean 07.jpg"),
        ('["07.jpg", "07.jpg"]', "stands twice"),
        ('[["07.jpg", NaN]]', "is nan"),
        ('[["07.jpg", 0.1], ["01.jpg", 0.2]]', "say --sort"),
        ('[["07.jpg", 0.1], ["01.jpg"]]', "entry 1 has no score"),
        ('[["07.jpg", "x"]]', "not a number"),
        ("[1, 2", "not valid JSON"),
    ],
)
def test_bad_shortlists(gallery, photos, shortlist, message):
    done = run("rerank", gallery, photos / "07.jpg", "-", code=2, stdin=shortlist)
    assert message in done.stderr


def test_pq_at_build_time(photos, tmp_path):
    words = ["index", photos, tmp_path / "g", *ENCODER, "--store", "pq", "--m", 8, "--quiet"]
    assert "too few" in run(*words, "--regions", "grid:2", code=2).stderr
    assert "regions" in run(*words, "--regions", "grid:4", code=2).stderr, "settings changed"
    shutil.rmtree(tmp_path / "g.float32")
    run(*words, "--regions", "grid:4")
    assert Gallery(tmp_path / "g").manifest.store == "pq"


def test_broken_picture_stops_or_is_recorded(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "p")
    (tmp_path / "p" / "05.jpg").write_bytes((photos / "05.jpg").read_bytes()[:300])
    words = ["index", tmp_path / "p", tmp_path / "g", *ENCODER, "--regions", "grid:0", "--quiet"]
    assert "05.jpg" in run(*words, code=2).stderr
    done = run(*words, "--on-error", "skip")
    assert "skipped 05.jpg" in done.stdout
    assert "skipped 05.jpg" in run("info", tmp_path / "g").stdout


def test_an_interrupted_build_says_so_and_goes_on(photos, tmp_path, monkeypatch):
    """Ctrl-C comes when the first images are on the disk."""
    words = ["index", photos, tmp_path / "g", *ENCODER, "--regions", "grid:1", "--quiet"]
    commit, commits = GalleryWriter.commit, []

    def interrupted(self, *given):
        commit(self, *given)
        commits.append(self)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(GalleryWriter, "commit", interrupted)
        assert "run it again" in run(*words, code=130).stderr
    assert len(commits) == 1
    assert json.loads((tmp_path / "g" / "building.json").read_text())["images"] > 0
    run(*words)
    assert len(Gallery(tmp_path / "g")) == 12


@pytest.mark.slow
def test_ctrl_c_loses_nothing(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(300):
        Image.new("RGB", (300, 200), (number % 256, 9, 9)).save(photos / f"{number:03d}.jpg")
    words = ["index", str(photos), str(tmp_path / "g"), *ENCODER, "--regions", "grid:2", "--quiet"]
    process = start("-m", "patchrerank.cli.main", *words)
    limit = time.monotonic() + 120
    while not (tmp_path / "g" / "building.json").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "run it again" in errors
    kept = json.loads((tmp_path / "g" / "building.json").read_text())["images"]
    assert kept > 0
    run(*words)
    assert len(Gallery(tmp_path / "g")) == 300


@pytest.mark.parametrize("begun", [python, pytest.param(fresh, marks=pytest.mark.slow)])
def test_a_search_as_a_process(gallery, photos, begun):
    search = run_process("search", gallery, photos / "07.jpg", "--json", begun=begun)
    assert json.loads(search.stdout)["hits"][0]["id"] == "07.jpg"
    assert search.stderr == ""


@pytest.mark.slow
def test_errors_as_a_process(gallery, photos):
    wrong = run_process("rerank", gallery, photos / "07.jpg", "-", code=2, stdin='["07.jgp"]')
    assert "did you mean 07.jpg" in wrong.stderr
    assert wrong.stdout == ""
    assert "No such command" in run_process("serach", code=2).stderr


def test_composite_makes_a_loadable_set(dataset):
    data = load_dataset(dataset)
    assert [len(rows) for rows in data.positives] == [2, 2, 2]


def test_help_is_quick_and_lists_every_command():
    begun = time.perf_counter()
    text = run_process("--help", begun=fresh).stdout
    assert time.perf_counter() - begun < 10
    for name in ("index", "info", "search", "rerank", "evaluate", "composite", "demo", "storage"):
        assert name in text
    assert "..." not in text.replace("COMMAND [ARGS]...", ""), "no sentence is cut off"


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__)
def test_every_command_explains_itself(module):
    name = command_name(module)
    assert f"patchrerank {name} " in run(name, "--help").stdout


def test_help_shows_brackets_and_colons_as_they_are():
    text = " ".join(run("index", "--help").stdout.split())
    for part in ("timm:MODEL[/FILE]", "grounding_dino:TOP:PROMPT", "coco:FILE.json[:RESULTS.json]"):
        assert part in text
