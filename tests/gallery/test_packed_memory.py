"""How much memory reading large files of pictures takes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest

MIB = 1 << 20
READ = """
import json, resource, sys
from pathlib import Path
from patchrerank.gallery import BuildOptions
from patchrerank.gallery.packed_source import KINDS
from patchrerank.gallery.sources import open_source

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

path = Path(sys.argv[1])
if path.suffix == ".parquet":
    import pyarrow.parquet
before = peak()
source = open_source(path, BuildOptions())
places = [(picture.place, len(picture.read())) for _, picture in source.items(None)]
reader = KINDS[source.pictures.kind](source.pictures)
for place, size in places:
    assert len(reader.read(path, place)) == size
print(json.dumps([len(places), sum(size for _, size in places), peak() - before]))
"""


def read(path):
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_large_tar_is_read_picture_by_picture(tmp_path):
    content = np.random.default_rng(0).bytes(MIB)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(100):
            for suffix, held in (("jpg", content), ("json", b"{}")):
                info = tarfile.TarInfo(f"{number:09d}.{suffix}")
                info.size = len(held)
                tar.addfile(info, io.BytesIO(held))
    pictures, size, mib = read(tmp_path / "a.tar")
    assert (pictures, size) == (100, 100 * MIB)
    assert mib < 20


def test_of_a_large_parquet_file_a_row_group_is_in_memory(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(0)
    schema = pa.schema([("key", pa.string()), ("jpg", pa.binary())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema) as writer:
        for group in range(6):
            keys = [f"{group}-{number}" for number in range(100)]
            contents = [rng.bytes(MIB // 5) for _ in keys]
            writer.write_table(pa.table({"key": keys, "jpg": contents}, schema))
    pictures, size, mib = read(tmp_path / "a.parquet")
    assert (pictures, size) == (600, 600 * (MIB // 5))
    assert mib < 4 * 20, "a row group is 20 MiB"
