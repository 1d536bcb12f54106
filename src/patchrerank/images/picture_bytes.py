"""Pictures that are no files of this machine: their bytes, and what messages call them."""

from __future__ import annotations

from patchrerank.addresses import Address
from patchrerank.errors import ImageError


class PictureBytes(bytes):
    """The bytes of a picture file that lies in another file.

    Attributes:
        name: what messages call it.
    """

    name: str

    def __new__(cls, content: bytes, name: str = "") -> PictureBytes:
        """Name bytes."""
        made = super().__new__(cls, content)
        made.name = name
        return made


def read_address(address: Address) -> PictureBytes:
    """Return the bytes of a picture at an address.

    Raises:
        ImageError: it is not there (any more).
        GalleryError: the address cannot be read, nor others like it.
    """
    try:
        return PictureBytes(address.read_bytes(), str(address))
    except FileNotFoundError as error:
        raise ImageError(f"{address}: no such file; it is gone since it was listed") from error
