"""``patchrerank report``: what a user types, and the page and figures that come back."""

from __future__ import annotations

import functools
import json
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

from command_line import run
from patchrerank import encoders
from patchrerank.analysis.galleries import gallery_folder
from patchrerank.datasets import convert_dataset, load_dataset
from patchrerank.datasets.composite import CompositeConfig, build_composite
from patchrerank.datasets.convert import ConvertOptions
from patchrerank.gallery import Gallery
from patchrerank.pipeline import Tuned, TunedOn, Versions, parse_stages
from patchrerank.regions import parse_regions

MODEL = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", "32"]
LEVEL = ["--regions", "grid:1", "--local-image-size", 64, "--query-image-size", 64]


@pytest.fixture(scope="module", autouse=True)
def one_encoder():
    """Load the network once; the back end compiles it for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "load_encoder", functools.cache(encoders.load_encoder))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    photos = root / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for number in range(6):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(photos / f"{number}.png")
    config = CompositeConfig(seed=0, positives=2, distractors=6, max_instances=5, long_side=96)
    build_composite(config, None, photos, root / "data", photos, False)
    return root / "data"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def report(dataset, cache, tmp_path):
    """Call the command on the data set; return its record and its page."""

    def call(*words, data=dataset):
        page = tmp_path / "page.html"
        given = ["--cache", cache, "--out", page, "--quiet", "--json"]
        record = json.loads(run("report", data, *MODEL, *LEVEL, *words, *given).stdout)
        return record, page.read_text(encoding="utf-8")

    return call


def groups(page):
    return re.findall(r'data-id="([^"]*)" data-gain="[^"]*" data-group="(\w+)"', page)


def titles(page):
    main = page.partition("<main>")[2]
    return [unescape(t) for t in re.findall(r"<h3>(.*?)<span", main)]


def test_numbers_are_those_of_compare_and_evaluate(report, dataset, cache):
    wanted = ["global", "patchify:all:0.3:2,chamfer:4:0.5:1", "patchify"]
    record, page = report(*(word for text in wanted for word in ("--stages", text)))
    rerankers = (word for text in wanted[:2] for word in ("--stages", text))
    words = ["--cache", cache, "--quiet", "--json"]
    rows = json.loads(run("compare", dataset, *MODEL, *LEVEL, *rerankers, *words).stdout)
    assert list(record["methods"]) == wanted == titles(page)[:3]
    for row in rows:
        found = record["methods"][row["stages"]]
        assert {**found["metrics"], "mAP <10%": found["areas"]["<10%"]["mAP"]} == row["metrics"]
        assert found["bytes_per_image"] == row["bytes_per_image"]
    evaluated = run("evaluate", dataset, *MODEL, *LEVEL[:2], *words).stdout
    assert record["methods"]["patchify"]["per_query"] == json.loads(evaluated)["per_query"]
    words += ["--local-image-size", 64, "--query-image-size", 64, "--stages", wanted[1]]
    staged = json.loads(run("evaluate", dataset, *MODEL, *LEVEL[:2], *words).stdout)
    assert staged["per_query"] == record["methods"][wanted[1]]["per_query"]
    assert staged["settings"]["stages"] == wanted[1]
    assert record["settings"]["local descriptors"] == (
        "of pictures at 64x64, of queries at 64x64 (box)"
    )
    assert "method" not in record["settings"], "the labels say it"


def test_every_query_is_shown_once_with_its_group(report, dataset, tmp_path):
    choice = ["--largest", 2, "--smallest", 1, "--sample", 9, "--seed", 4]
    record, page = report(*choice, "--figures", tmp_path / "figures")
    assert groups(page) == [(query["id"], query["group"]) for query in record["queries"]]
    assert sorted(name for name, _ in groups(page)) == [
        query.id for query in load_dataset(dataset).queries
    ]
    first, last = (record["methods"][name]["per_query"] for name in ("global", "patchify"))
    gains = {f"q{n:04d}": b - a for n, (a, b) in enumerate(zip(first, last, strict=True))}
    for query in record["queries"]:
        assert query["gain"] == pytest.approx(gains[query["id"]], abs=5e-4)
        assert {"gains": query["gain"] > 0, "losses": query["gain"] < 0}.get(query["group"], True)
    rest = {name: gain for name, gain in gains.items() if (name, "gains") not in groups(page)}
    assert max([g for n, g in gains.items() if n not in rest], default=0) >= max(rest.values())
    assert "of 5 queries: " in page
    assert [name.rsplit("/")[-1] for name in record["figures"]] == [
        f"{n:03d}-{query['group']}-{query['id']}.png"
        for n, query in enumerate(record["queries"], start=1)
    ]
    index = json.loads((tmp_path / "figures" / "figures.json").read_text())["figures"]
    assert [entry["query"] for entry in index] == [query["id"] for query in record["queries"]]
    for section in page.split('<section class="query"')[1:]:
        first, last = section.split('<div class="method">')[1:]
        assert 'class="predicted"' not in first, "global looks for no box"
        assert 0 < last.count('class="predicted"') <= last.count("<li ") == 10
        for method in (first, last):
            assert method.count('class="truth"') == method.count('class="hit right"')


def test_two_galleries_of_one_data_set(report, dataset, cache):
    methods = [f"patchify store=pq m=4 nbits=3 train-on={what}" for what in ("L1", "boxes")]
    record, page = report("--stages", f"{methods[0]} label=PQ, L1", "--stages", methods[1])
    assert list(record["methods"]) == ["PQ, L1", methods[1]] == titles(page)[:2]
    assert record["settings"]["method"] == (
        f"PQ, L1: patchify on pq4x3-L1; {methods[1]}: patchify on pq4x3-boxes"
    )
    stores = {path.name.partition("-pq")[2] for path in cache.iterdir() if "-pq" in path.name}
    assert stores == {"4x3-L1", "4x3-boxes"}
    trained = {Gallery(path).manifest.trained_on for path in cache.glob("*-pq*")}
    assert trained == {"L1", "boxes"}
    rerankers = ["--stages", f"{methods[0]} label=PQ, L1", "--stages", methods[1]]
    words = [*MODEL, *LEVEL, *rerankers, "--cache", cache, "--quiet", "--json"]
    for row in json.loads(run("compare", dataset, *words).stdout):
        same = record["methods"][row["stages"]]
        assert row["metrics"].items() >= same["metrics"].items()
        assert row["bytes_per_image"] == same["bytes_per_image"]
    read = [method["bytes_per_image"] for method in record["methods"].values()]
    assert read[0] == read[1]


def test_a_tuned_cascade_is_the_last_method(report, dataset, cache, tmp_path):
    data = load_dataset(dataset)
    report("--stages", "patchify")
    encoder = encoders.load_encoder(MODEL[1], image_size=32, device="auto", pretrained=False)
    gallery = Gallery(gallery_folder(cache, data, encoder, parse_regions("grid:1")))
    tuned = Tuned(
        stages=tuple(parse_stages("patchify:6:0.25:2")),
        tuned_on=TunedOn.of(gallery, data.fingerprint, 8, "box"),
        metric="mAP", convention="full", value=0.5, held_out=None, folds=0, seed=0,
        sampler="none", versions=Versions.current(),
    )  # fmt: skip
    tuned.save(tmp_path / "t.json")
    record, page = report("--tuned", tmp_path / "t.json")
    label = "tuned: patchify:6:0.25:2.0"
    assert list(record["methods"]) == ["global", label] == titles(page)[:2]
    assert record["settings"]["query_crop"] == "box", "that of the file"
    assert "tuned on this data set: optimistic" in record["settings"]["method"]
    words = [*MODEL, "--tuned", tmp_path / "t.json", "--cache", cache, "--quiet", "--json"]
    expected = json.loads(run("evaluate", dataset, *words).stdout)
    assert record["methods"][label]["metrics"] == expected["metrics"]
    beside = ["--stages", "global"]
    rows = json.loads(run("compare", dataset, *words, *beside).stdout)
    assert [row["stages"] for row in rows] == ["global", label]
    assert rows[1]["metrics"].items() >= expected["metrics"].items()
    shown = run("compare", dataset, *words[:-1], *beside).stdout
    assert "tuned: patchify:6:0.25:2.0" in shown


def test_other_layouts_one_method_and_text(dataset, cache, tmp_path):
    convert_dataset(load_dataset(dataset), tmp_path / "ilias", "ilias", ConvertOptions(clutter=0))
    out = ["--out", tmp_path / "p.html", "--figures", tmp_path / "f", "--quiet"]
    few = ["--stages", "global", "--sample", 2, "--regions", "grid:0"]
    done = run("report", tmp_path / "ilias", *MODEL, *few, *out)
    assert "AP convention ilias@" in done.stdout
    assert f"open {tmp_path / 'p.html'} in a browser" in done.stdout
    assert f"2 figures in {tmp_path / 'f'}" in done.stdout
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert [group for _, group in groups(page)] == ["sample", "sample"]
    assert "Largest gains" not in page and "Random sample" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stages", "patchfy"], "did you mean patchify"),
        (["--stages", "patchify", "--stages", "patchify"], "two methods are called"),
        (["--stages", "patchify stor=pq"], "did you mean store"),
        (["--largest", "-1"], "largest must be 0 or more"),
        (["--thumbnail", "9"], "thumbnail must lie in"),
        (["--tuned", "{tmp}/none.json"], "none.json"),
        (["--figure-font", "{tmp}/none.ttf"], "none.ttf: cannot be read"),
        (["--regions", "gird:1"], "did you mean grid"),
    ],
)
def test_errors_come_before_any_work(words, message, dataset, tmp_path):
    given = [word.format(tmp=tmp_path) for word in words]
    done = run("report", dataset, *MODEL, *given, "--out", tmp_path / "p.html", code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "p.html").exists()
