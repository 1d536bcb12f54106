"""The bench of devices, on whatever there is: torch on the CPU at least."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from command_line import run
from patchrerank.bench.device_jobs import DEVICE_JOBS, OnDevice, run_device_bench
from patchrerank.bench.device_machine import device_name
from patchrerank.bench.sizes import Sizes
from patchrerank.errors import SettingError

TINY = Sizes(
    candidates=4, patches=3, dim=16, parts=4, queries=3, descriptors=5, store_mib=1, rounds=2,
    images=2,
)  # fmt: skip
WHERE = ["torch:cpu"]
WHERE += ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()


@pytest.mark.parametrize("device", WHERE)
@pytest.mark.parametrize("job", DEVICE_JOBS)
def test_every_job_runs_there_and_agrees_with_the_cpu(job, device):
    sizes = replace(TINY, images=1, rounds=1) if job == "index" else TINY
    rows = list(run_device_bench([job], sizes, OnDevice(device, "timm:test_resnet", "fp32")))
    assert rows[0].ratio == 1.0
    assert rows[0].contestant in ("patchrerank on the device", "index --regions grid:3")
    assert all(row.median_ms > 0 and not row.note for row in rows)
    assert len(rows) >= 2


def test_the_command_names_the_device():
    words = ("--candidates", "4", "--dim", "16", "--parts", "4", "--queries", "2", "--store-mib")
    found = json.loads(
        run(
            "bench", "--device", "cpu", "--job", "float16", *words, "1", "--rounds", "1", "--json"
        ).stdout
    )
    assert found["device"] == device_name("torch:cpu")
    assert found["rows"][0]["bound_ratio"] > 0


def test_unknown_jobs_and_devices():
    with pytest.raises(SettingError, match="known: float16, int8, maxsim, ames, elvis, index"):
        list(run_device_bench(["pq"], TINY, OnDevice("torch:cpu")))
    assert "device 'x' cannot be used" in run("bench", "--device", "x", code=2).stderr
