"""Pictures: safe reading of one, and finding all in a folder."""

from patchrerank.images.alpha import alpha_mask
from patchrerank.images.listing import (
    IMAGE_SUFFIXES,
    FoundImages,
    find_images,
    list_images,
    needs_extra,
)
from patchrerank.images.masks import Mask, read_mask
from patchrerank.images.picture_bytes import PictureBytes, read_address
from patchrerank.images.reading import (
    MAX_PIXELS,
    HeldSource,
    ImageSource,
    describe_source,
    held_source,
    read_image,
    stored_orientation,
    upright_size,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "FoundImages",
    "HeldSource",
    "ImageSource",
    "Mask",
    "PictureBytes",
    "alpha_mask",
    "describe_source",
    "find_images",
    "held_source",
    "list_images",
    "needs_extra",
    "read_address",
    "read_image",
    "read_mask",
    "stored_orientation",
    "upright_size",
]
