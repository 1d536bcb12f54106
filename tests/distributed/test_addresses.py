"""Pictures in a bucket, built on Ray: workers read them, with the bits of a local build."""

from __future__ import annotations

import numpy as np
import pytest

from packed_pictures import write_shards
from patchrerank.gallery import BuildOptions, build_gallery, verify
from s3_server import s3_server, upload

pytest.importorskip("ray")

from patchrerank.distributed import RayOptions, build_gallery_with_ray
from ray_cluster import one_node

pytestmark = pytest.mark.slow
QUIET = BuildOptions(progress=False)
ONE = RayOptions(workers=1, block=16, cpus_per_worker=0.5)


@pytest.fixture(scope="module")
def s3():
    with s3_server() as files, one_node(cpus=1):  # workers find the server in the environment
        yield files


@pytest.mark.parametrize("kind", ["folder", "list", "tar", "whitened"])
def test_a_bucket(tmp_path, s3, photo_folder, tiny_encoder, kind):
    photos = photo_folder
    if kind == "tar":
        photos = tmp_path / "photos"
        write_shards(photos, [20, 3, 17])
    upload(s3, photos, f"photos/{kind}")
    how = BuildOptions(progress=False, whiten=8 if kind == "whitened" else None)
    local = build_gallery(tmp_path / "local", photos, tiny_encoder, "grid:2", how)
    given = f"s3://photos/{kind}"
    if kind == "list":
        given = [f"{given}/{name}" for name in local.ids]
    for _ in range(2):
        made = build_gallery_with_ray(tmp_path / "ray", given, tiny_encoder, "grid:2", how, ONE)
    assert verify(made) == [] and len(made.shards) == 3
    assert [str(name).removeprefix("s3://photos/list/") for name in made.ids] == list(local.ids)
    for name in ("patches", "boxes", "global_vectors", "sizes"):
        assert np.array_equal(np.asarray(getattr(made, name)), getattr(local, name)), name
    kept = local.pictures[39]
    assert made.pictures[39] == (kept if isinstance(kept, bytes) else kept.read_bytes())
