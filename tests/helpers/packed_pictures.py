"""Shards and Parquet files of pictures, as others write them.

Tar: as ``WebDatasetSampleWriter`` of img2dataset 1.47.0 does through webdataset: members sorted
by suffix, mode 0444, owner bigdata; pax headers with times (webdataset 0.2.111) or plain ustar
(1.0.2). Parquet: its ``ParquetSampleWriter``, ``key`` and ``jpg`` beside the metadata, a hundred
rows a group, null where a download failed; and ``{bytes, path}`` as Hugging Face datasets does.
"""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
from PIL import Image


def encoded(seed: int, kind: str = "JPEG", side: int = 64) -> bytes:
    """The bytes of a drawn picture."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    drawn = Image.fromarray(pixels).resize((side + seed % 7, side), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    drawn.save(stream, kind)
    return stream.getvalue()


def sample(seed: int, place: int | None = None, **meta) -> tuple[str, dict[str, bytes]]:
    """A sample with its key, the number of its place: picture, caption and JSON."""
    key = f"{seed if place is None else place:09d}"
    told = {"uid": f"uid-{seed}", "number": seed, "key": key, "status": "success", **meta}
    text = json.dumps(told, indent=4).encode()
    return key, {"jpg": encoded(seed), "json": text, "txt": b"a caption"}


def write_tar(path, samples, *, pax: bool = True) -> None:
    """Write samples ``(key, {field: bytes})`` as one shard."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT if pax else tarfile.USTAR_FORMAT) as tar:
        for key, fields in samples:
            for field in sorted(fields):
                info = tarfile.TarInfo(f"{key}.{field}")
                info.size, info.mode = len(fields[field]), 0o444
                info.uname = info.gname = "bigdata"
                info.mtime = 1795858688.25 if pax else 1795858688
                tar.addfile(info, io.BytesIO(fields[field]))


def write_shards(folder, counts, **how) -> list[tuple[str, bytes]]:
    """Write shards of so many samples each; return ids and bytes of all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    written, first = [], 0
    for shard, count in enumerate(counts):
        samples = [sample(number) for number in range(first, first + count)]
        write_tar(folder / f"{shard:05d}.tar", samples, **how)
        (folder / f"{shard:05d}_stats.json").write_text('{"count": 1}')
        (folder / f"{shard:05d}.parquet").write_bytes(b"metadata, read by nobody")
        written += [(key, fields["jpg"]) for key, fields in samples]
        first += count
    return written


def write_parquet(path, rows, *, group: int = 100, ids="text", image="jpg") -> None:
    """Write rows ``(id, bytes or None)``; ``image``: ``jpg``, or ``image`` for a struct."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys, contents = [key for key, _ in rows], [content for _, content in rows]
    if ids == "uuid":
        column = pa.array([key.bytes for key in keys], pa.binary(16))
    else:
        column = pa.array(keys, {"text": pa.string(), "int": pa.int64()}[ids])
    pictures = pa.array(contents, pa.binary())
    if image == "image":
        paths = pa.array([f"{number}.jpg" for number in range(len(rows))])
        pictures = pa.StructArray.from_arrays([pictures, paths], ["bytes", "path"])
    captions = pa.array(["a caption"] * len(rows))
    table = pa.table({"key": column, "caption": captions, image: pictures})
    pq.write_table(table, path, row_group_size=group)
