from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from patchrerank.gallery import Gallery, verify


def test_a_build_killed_at_random_moments_writes_the_same_bits(tmp_path):
    """20 kills over two runs, each at a random moment, resumed; compared with one quiet run."""
    rng = np.random.default_rng(7)
    (tmp_path / "photos").mkdir()
    for number in range(150):
        pixels = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((300, 200)).save(tmp_path / f"photos/{number:03d}.jpg")
    script = Path(__file__).parents[1] / "helpers" / "killing.py"
    command = [sys.executable, str(script), str(tmp_path / "photos"), str(tmp_path), "10", "0", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    killed = [int(count) for count in done.stdout.split()]
    assert len(killed) == 2 and min(killed) >= 5, "the builds must really have been killed"
    whole = Gallery(tmp_path / "whole")
    for pieces in (Gallery(tmp_path / "pieces-0"), Gallery(tmp_path / "pieces-1")):
        assert verify(pieces) == []
        for name, path in whole.files().items():
            assert path.read_bytes() == (pieces.folder / path.name).read_bytes(), name
        assert whole.manifest == pieces.manifest
