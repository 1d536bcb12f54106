"""Ray on loopback, small: one node, or several that are simulated on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}
HELPERS = str(Path(__file__).parent)
LOOPBACK = "127.0.0.2"  # 127.0.0.1 becomes the machine's outward address


def prepare_environment() -> None:
    """Let workers import helpers, and nobody report anything."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*filter(None, paths), HELPERS]))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


def shared_node() -> Any:
    """Ray with one node of one CPU, started once for all modules until ``end``."""
    prepare_environment()
    import ray

    if not ray.is_initialized():
        _start(ray, 1)
    return ray


def end() -> None:
    """Stop what runs, if anything does."""
    import ray

    ray.shutdown()


def _start(ray: Any, cpus: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    ray.init(address="local", num_cpus=cpus, _node_ip_address=LOOPBACK, **SMALL, **quiet)


@contextmanager
def one_node(cpus: int = 2) -> Iterator[Any]:
    """Ray with one node of so many CPUs."""
    prepare_environment()
    import ray

    end()
    _start(ray, cpus)
    try:
        yield ray
    finally:
        end()


@contextmanager
def nodes(count: int) -> Iterator[tuple[Any, Any]]:
    """Ray with a head without CPUs and so many nodes of one CPU; yields Ray and the cluster."""
    prepare_environment()
    import ray
    from ray.cluster_utils import Cluster

    end()
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": LOOPBACK, **SMALL}
    )
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=1, node_ip_address=LOOPBACK, **SMALL)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        yield ray, cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
