"""Plans: bytes against galleries on disk, hours and rooms by hand, what is measured is real."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchrerank.errors import SettingError
from patchrerank.gallery import BuildOptions, Gallery, build_gallery, import_gallery
from patchrerank.gallery.compress import CompressOptions, compress
from patchrerank.gallery.stores import STORES
from patchrerank.images import list_images
from patchrerank.planning import (
    Machine,
    Rates,
    Workload,
    array_bytes,
    bytes_by_level,
    encoding_rate,
    make_plan,
    measure_requests,
    parse_count,
    quantising_rate,
)
from patchrerank.planning.machine import this_machine
from synthetic import unit_rows

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("text", "count"),
    [("100M", 10**8), ("2.5k", 2500), ("1_000_000", 10**6), ("1,000", 1000), (" 3b ", 3 * 10**9)],
)
def test_numbers_as_people_write_them(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "1.5", "1.00001k", "many", "1e9", "99999999999999"]
)
def test_what_is_no_number_of_images(text):
    with pytest.raises(SettingError, match="number"):
        parse_count(text)


BOTH = ("rabitq2+int8", "pq+float16")


MANY = [
    (store, 70_000) if store == "float32" else pytest.param(store, 70_000, marks=pytest.mark.slow)
    for store in (*STORES, *BOTH)
]


@pytest.mark.parametrize(("store", "images"), [*((store, 60) for store in (*STORES, *BOTH)), *MANY])
def test_bytes_are_those_of_a_gallery_on_disk(tmp_path, store, images):
    rng = np.random.default_rng(0)
    dim, patches = 8, 5 if images < 100 else 1
    made = import_gallery(
        tmp_path / "g",
        [f"{number:06d}" for number in range(images)],
        unit_rows(rng, images, dim),
        unit_rows(rng, images * patches, dim).reshape(images, patches, dim),
        regions="grid:1" if patches == 5 else "grid:0",
        encoder="somebody's",
        progress=False,
        store="float32",
    )
    if store != "float32":
        compress(made, tmp_path / store, CompressOptions(store, m=4, progress=False))
        made = Gallery(tmp_path / store)
    work = Workload(images, dim, patches, store, m=4, id_bytes=6, stamped=False)
    assert array_bytes(work) == made.nbytes()


@pytest.mark.parametrize("store", ["int8", "rabitq2+int8"])
def test_bytes_are_those_of_an_indexed_gallery(tmp_path, photo_folder, tiny_encoder, store):
    """One that is built of pictures knows their files, too, and its copies do."""
    pictures = [(f"{row:06d}", path) for row, path in enumerate(list_images(photo_folder))]
    options = BuildOptions(progress=False, store="int8" if store == "int8" else "float32")
    made = build_gallery(tmp_path / "g", pictures, tiny_encoder, "grid:1", options)
    if store != "int8":
        compress(made, tmp_path / store, CompressOptions(store, progress=False))
        made = Gallery(tmp_path / store)
    work = Workload(len(pictures), tiny_encoder.dim, 5, store, id_bytes=6)
    assert array_bytes(work) == made.nbytes()
    assert array_bytes(work)["stamps"] == 32 * len(pictures)


def test_levels_and_stores():
    levels = bytes_by_level(Workload(1000, 768, store="int8"), 3)
    assert levels[3]["float32"] == 1000 * 30 * 768 * 4
    assert levels[0]["int8"] == 1000 * (768 + 4)
    assert levels[1]["pq"] == 1000 * 5 * 64 + 256 * 768 * 4
    assert "pq" not in bytes_by_level(Workload(1000, 100), 0)[0]


def test_codes_with_finer_rows_beside_them():
    work, machine = Workload(1000, 768, 10, "pq+int8", candidates=100), Machine(1, 1, 1, 1e9)
    levels = bytes_by_level(work, 1)[1]
    assert levels["pq+int8"] == levels["pq"] + levels["int8"]
    codes, fine = 10 * 64 + 256 * 768 * 4 / 1000, 10 * (768 + 4)
    for rescore, expected in ((60, 100 * codes + 60 * fine), (100, 100 * fine), (0, 100 * codes)):
        plan = make_plan(replace(work, rescore=rescore), machine, Rates(vectors=100.0))
        assert plan.read_ms == pytest.approx(expected / 1e9 * 1000)
    assert [step.name for step in plan.steps] == ["encode", "quantise", "write"]
    assert "int8 rows score the best 0 of a request's candidates again" in plan.assumptions


def test_hours_are_the_sum_of_steps_and_shared_by_workers():
    work = Workload(3_600_000, 64, 30, "pq", m=64)
    machine = Machine(2, 10**9, 10**10, memory_read=1e10, disk_write=1e9)
    plan = make_plan(work, machine, Rates(10.0, 1000.0, 1.0, 9.0), workers=(1, 4), price=2.0)
    hours = {step.name: step.hours for step in plan.steps}
    assert hours["encode"] == pytest.approx(100)
    assert hours["quantise"] == pytest.approx(30)
    assert hours["write"] == pytest.approx(plan.total_bytes / 1e9 / 3600)
    assert plan.total_hours == pytest.approx(sum(hours.values()))
    assert plan.hours == {
        1: pytest.approx(plan.total_hours),
        4: pytest.approx(plan.total_hours / 4),
    }
    assert plan.price[1] == plan.price[4] == pytest.approx(2 * plan.total_hours)


def test_where_one_machine_ends():
    work = Workload(1000, 96, 10, "int8", candidates=100)
    machine = Machine(2, 10**6, 10**7, memory_read=1e8, disk_write=1e8)
    plan = make_plan(work, machine, Rates(images=2.0))
    assert plan.ends["patch vectors in memory"] == pytest.approx(1000)
    assert plan.ends["everything on the disk"] == pytest.approx(1e10 / plan.total_bytes)
    assert plan.ends["encoded in a week"] == pytest.approx(2 * 7 * 86400)
    assert plan.read_ms == pytest.approx(100 * 10 * 100 / 1e8 * 1000)


def test_what_is_not_measured_stays_open():
    plan = make_plan(Workload(1000, 64), Machine(2, 10**9, 10**9), Rates())
    assert math.isnan(plan.total_hours)
    assert math.isnan(plan.read_ms)
    assert not any("cold" in told for told in plan.assumptions)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"store": "int9"}, "int8"),
        ({"images": 0}, "images"),
        ({"candidates": 0}, "candidates"),
        ({"store": "pq", "m": 7}, "m = 7"),
        ({"store": "pq+int8", "m": 7}, "m = 7"),
        ({"store": "rabitq2+int8", "rescore": -1}, "rescore"),
    ],
)
def test_workloads_that_cannot_be(wrong, told):
    with pytest.raises(SettingError, match=told):
        replace(Workload(10, 64), **wrong)


@pytest.mark.parametrize(("workers", "price"), [((0,), None), ((), None), ((1,), -1.0)])
def test_plans_that_cannot_be(workers, price):
    with pytest.raises(SettingError):
        make_plan(Workload(10, 64), Machine(1, 1, 1), Rates(), workers=workers, price=price)


def test_the_machine_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("patchrerank.planning.machine.SAMPLE", 1 << 23)
    found = this_machine(tmp_path)
    assert found.cores >= 1
    assert 1e8 < found.memory_read < 1e12
    assert 1e6 < found.disk_write < 1e11
    assert found.disk > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("store", [*STORES, *BOTH])
def test_requests_are_measured(tmp_path, store, monkeypatch):
    monkeypatch.setattr("patchrerank.planning.rates.STORE_MIB", 4)
    warm, cold = measure_requests(Workload(1, 32, 5, store, m=8, candidates=20), tmp_path)
    assert warm > 0
    assert cold > 0 or math.isnan(cold)
    assert not list(tmp_path.iterdir())


def test_quantising_is_measured(monkeypatch):
    monkeypatch.setattr("patchrerank.planning.rates.QUANTISED", 512)
    assert quantising_rate(32, 8) > 0


def test_encoding_is_measured_by_a_build():
    rate, dim = encoding_rate("timm:resnet10t", "grid:1", count=2, image_size=64, device="cpu")
    assert rate > 0
    assert dim == 512
    with pytest.raises(SettingError, match="at least one"):
        encoding_rate("timm:resnet10t", "grid:0", count=0)


def figures(page: str, title: str) -> dict[str, float]:
    """First figure of each row of the printed table under ``title``."""
    table = page.partition(title)[2].partition("└")[0]
    rows = [line.strip("│ ").split("│") for line in table.splitlines() if line.startswith("│")]
    return {row[0].strip(): float(row[1].replace(",", "")) for row in rows}


def test_the_printed_plan_adds_up():
    page = (DOCS / "scale.md").read_text(encoding="utf-8")
    arrays = figures(page, "the gallery in int8")
    hours = figures(page, "hours by workers")
    for found, slack in ((arrays, 0.01), (hours, 0.1)):
        parts = [value for name, value in found.items() if name not in ("all", "price")]
        assert sum(parts) == pytest.approx(found["all"], abs=slack * len(parts))
    command = re.search(r"patchrerank plan --images 100M.*?--dim (\d+)", page, flags=re.S)
    expected = array_bytes(Workload(10**8, int(command[1]), 30, "int8"))
    assert arrays.keys() - {"all"} == expected.keys()
    for name, size in expected.items():
        assert arrays[name] == pytest.approx(size / 1e9, abs=0.006)
