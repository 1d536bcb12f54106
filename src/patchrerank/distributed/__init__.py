"""Building, compressing and pushing a gallery with many processes and machines, by shards."""

from patchrerank.distributed.building import build_gallery_with_ray
from patchrerank.distributed.compressing import compress_with_ray
from patchrerank.distributed.options import LocalWork, RayOptions
from patchrerank.distributed.pushing import push_with_ray

__all__ = [
    "LocalWork",
    "RayOptions",
    "build_gallery_with_ray",
    "compress_with_ray",
    "push_with_ray",
]
