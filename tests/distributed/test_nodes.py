"""Two simulated nodes: a worker is killed in the middle, a node is lost; the bits are the same."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
import pytest

from composite_pictures import composite_dev
from dying import dying_spec
from later import later
from patchrerank.distributed import RayOptions, build_gallery_with_ray
from patchrerank.encoders import load_encoder
from patchrerank.gallery import BuildOptions, build_gallery, verify
from ray_cluster import nodes

later("ray")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
OPTIONS = BuildOptions(progress=False)
HOW = {"spec": "efficientnet_lite0", "image_size": 128, "device": "cpu"}
WORKERS = RayOptions(workers=2, block=96)
ARRAYS = ("patches", "global_vectors", "boxes", "sizes", "patch_ends")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "g"
    return build_gallery(folder, composite_dev(), load_encoder(**HOW), "grid:1", OPTIONS)


def check(made, local):
    assert len(made) == 1055 and len(made.shards) == 11
    assert list(made.ids) == list(local.ids) and verify(made) == []
    for name in ARRAYS:
        assert np.array_equal(np.asarray(getattr(made, name)), getattr(local, name)), name
    for name in ("ids", "patches", "globals", "boxes", "stamps"):
        assert made.manifest.arrays[name].crc32 == local.manifest.arrays[name].crc32, name
    assert made.backgrounds.jpegs == local.backgrounds.jpegs


def test_a_worker_is_killed_in_the_middle(tmp_path, local):
    (tmp_path / "notes").mkdir()
    encoder = partial(dying_spec, HOW, tmp_path / "notes", 1, 20)
    with nodes(2):
        made = build_gallery_with_ray(
            tmp_path / "g", composite_dev(), encoder, "grid:1", OPTIONS, WORKERS
        )
    assert len(list((tmp_path / "notes").iterdir())) == 1
    check(made, local)


def test_a_node_is_lost_in_the_middle(tmp_path, local):
    with nodes(2) as (_, cluster):

        def lose() -> None:
            while len(list(tmp_path.glob("g/shards/*/manifest.json"))) < 3:
                time.sleep(0.05)
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

        losing = threading.Thread(target=lose)
        losing.start()
        made = build_gallery_with_ray(
            tmp_path / "g",
            composite_dev(),
            partial(load_encoder, **HOW),
            "grid:1",
            OPTIONS,
            WORKERS,
        )
        losing.join()
        assert len(cluster.list_all_nodes()) == 2
    check(made, local)
