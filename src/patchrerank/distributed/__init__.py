"""Building a gallery with many processes and machines: blocks of images, a shard each."""

from patchrerank.distributed.building import build_gallery_with_ray
from patchrerank.distributed.compressing import compress_with_ray
from patchrerank.distributed.options import LocalWork, RayOptions

__all__ = ["LocalWork", "RayOptions", "build_gallery_with_ray", "compress_with_ray"]
