from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packed_pictures import encoded, write_parquet, write_shards
from patchrerank.gallery import Gallery, verify
from prepared import python


@pytest.mark.parametrize(
    ("pictures", "kills", "seeds"),
    [(40, "4", "0"), pytest.param(150, "10", "01", marks=pytest.mark.slow)],
)
def test_a_build_killed_at_random_moments_writes_the_same_bits(tmp_path, pictures, kills, seeds):
    """Each kill at a random moment, resumed; compared with one quiet run."""
    rng = np.random.default_rng(7)
    (tmp_path / "photos").mkdir()
    for number in range(pictures):
        pixels = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((300, 200)).save(tmp_path / f"photos/{number:03d}.jpg")
    script = Path(__file__).parents[1] / "helpers" / "killing.py"
    done = python(script, str(tmp_path / "photos"), str(tmp_path), kills, *seeds)
    assert done.returncode == 0, done.stderr
    killed = [int(count) for count in done.stdout.split()]
    assert len(killed) == len(seeds) and min(killed) >= 3, "the builds must really have been killed"
    whole = Gallery(tmp_path / "whole")
    for pieces in (Gallery(tmp_path / f"pieces-{seed}") for seed in seeds):
        assert verify(pieces) == []
        for name, path in whole.files().items():
            assert path.read_bytes() == (pieces.folder / path.name).read_bytes(), name
        assert whole.manifest == pieces.manifest


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_build_of_files_of_pictures_killed_at_random_moments(tmp_path, kind):
    """Shards are gone on with where reading ended; the bits are those of a quiet run."""
    if kind == "tar":
        write_shards(tmp_path / "photos", [30, 40, 20])
    else:
        pytest.importorskip("pyarrow")
        (tmp_path / "photos").mkdir()
        rows = [(f"{n:04d}", None if n % 9 == 4 else encoded(n)) for n in range(100)]
        write_parquet(tmp_path / "photos" / "a.parquet", rows[:60], group=40)
        write_parquet(tmp_path / "photos" / "b.parquet", rows[60:], group=40)
    script = Path(__file__).parents[1] / "helpers" / "killing.py"
    done = python(script, str(tmp_path / "photos"), str(tmp_path), "6", "0")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3, "the build must really have been killed"
    whole, pieces = Gallery(tmp_path / "whole"), Gallery(tmp_path / "pieces-0")
    assert verify(pieces) == [] and len(pieces) > 85
    for name, path in whole.files().items():
        assert path.read_bytes() == (pieces.folder / path.name).read_bytes(), name
    assert whole.manifest == pieces.manifest
