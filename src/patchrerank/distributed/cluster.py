"""Ray, and the cluster that it is connected to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from patchrerank.distributed.options import RayOptions
from patchrerank.errors import MissingExtraError, SettingError, short_reason

OBJECT_STORE = 1 << 27
"""Bytes; hardly anything passes through it, since workers read and write files."""
OWN: dict[str, Any] = {
    "include_dashboard": False,
    "object_store_memory": OBJECT_STORE,
    "log_to_driver": False,
    "logging_level": "error",
}
LOOPBACK = "127.0.0.2"  # of 127.0.0.1 Ray makes the machine's outward address


def import_ray() -> Any:
    """Import Ray.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingExtraError("it needs ray: pip install 'patchrerank[ray]'") from error
    return ray


@contextmanager
def connected(options: RayOptions) -> Iterator[Any]:
    """Yield Ray, connected to a cluster; what was connected or begun here ends with it.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingError: no cluster answers, or this process is connected to one already.
    """
    ray = import_ray()
    if ray.is_initialized():
        if options.address is not None:
            raise SettingError(
                "this process is connected to a Ray cluster already; leave the address out"
            )
        yield ray
        return
    try:
        _connect(ray, options)
        yield ray
    finally:
        ray.shutdown()


def room(ray: Any, options: RayOptions) -> int:
    """Return how many workers the nodes of a cluster have room for."""
    total = 0
    for node in ray.nodes():
        if node["Alive"]:
            held = node["Resources"]
            most = held.get("CPU", 0) / options.cpus_per_worker
            if options.gpus_per_worker:
                most = min(most, held.get("GPU", 0) / options.gpus_per_worker)
            total += int(most + 1e-6)
    return total


def _connect(ray: Any, options: RayOptions) -> None:
    if options.address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        loopback = {"_node_ip_address": LOOPBACK} if sys.platform == "linux" else {}
        ray.init(address="local", **OWN, **loopback)
        return
    try:
        ray.init(address=options.address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise SettingError(
            f"no Ray cluster answers at {options.address!r} ({short_reason(error)}); start one "
            "(ray start --head), or leave the address out for one on this machine"
        ) from error
