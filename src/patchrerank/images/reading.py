"""One safe way to read an image, whatever the file holds.

EXIF rotation is applied, every mode becomes RGB, transparency is composited on white, animated
files and files of several pictures (MPO) use frame 0, HEIC is read where pillow-heif is
installed, and everything that cannot be read raises an :class:`ImageError` that names the file
and the reason.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from patchrerank.addresses import Address
from patchrerank.errors import ImageError, MissingExtraError, shortened
from patchrerank.images.heic import HEAD, is_heic, open_heic
from patchrerank.images.picture_bytes import PictureBytes, read_address
from patchrerank.streams import EXPECTED, held, why_missing

HeldSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image
"""A picture's source that can be read more than once."""

ImageSource: TypeAlias = HeldSource | bytearray | memoryview | BinaryIO | Address


MAX_PIXELS = 178_956_970
"""Default limit on the declared size of an image (where Pillow itself begins to raise)."""

EXIF_ORIENTATION = 0x0112

Told = TypeVar("Told")


def read_image(
    source: ImageSource,
    *,
    max_pixels: int | None = MAX_PIXELS,
    min_size: tuple[int, int] | None = None,
) -> Image.Image:
    """Read one image as upright RGB.

    Modes L, LA, P, PA, RGBA, CMYK, YCbCr, 1, I;16, I and F are converted: alpha is composited on
    white; 16-bit values are divided by 257; ``I`` and ``F`` beyond the 8-bit range are stretched
    from their minimum and maximum.

    Args:
        source: a path, the bytes of a file, an open binary file (read from its beginning, and
            left where it stood), or a picture (which is left untouched).
        max_pixels: refuse images that declare more pixels (decompression bombs); None = no limit
            of ours. Pillow refuses twice ``PIL.Image.MAX_IMAGE_PIXELS`` in any case: for larger
            pictures raise that as well.
        min_size: ``(width, height)`` in pixels of the upright image that the caller needs at
            least. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size (draft mode) as long
            as both sides stay at least that large; None decodes every pixel.

    Raises:
        ImageError: missing, empty, truncated, zero-sized, not an image, or over ``max_pixels``.
    """
    with opened_picture(source, max_pixels=max_pixels) as image:
        if not isinstance(source, Image.Image):
            if min_size is not None:
                _draft(image, min_size)
            image.seek(0)
            image.load()
        return _to_rgb(ImageOps.exif_transpose(image))


@contextmanager
def opened_picture(
    source: ImageSource, *, max_pixels: int | None = MAX_PIXELS
) -> Iterator[Image.Image]:
    """Give a picture as Pillow opens it; errors are those of :func:`read_image`."""
    given = held_source(source)
    name = describe_source(given)
    with _image_errors(name):
        if isinstance(given, Image.Image):
            _check_size(given, name, max_pixels)
            yield given
            return
        with _open(given, name) as image:
            _check_size(image, name, max_pixels)
            yield image


def upright_size(source: ImageSource, *, max_pixels: int | None = MAX_PIXELS) -> tuple[int, int]:
    """Return ``(width, height)`` in pixels after EXIF rotation, from the header alone."""
    return _of_header(_upright, source, max_pixels)


def stored_orientation(source: ImageSource, *, max_pixels: int | None = MAX_PIXELS) -> int:
    """Return the EXIF orientation, 1 to 8, that an image is stored with (1: upright).

    HEIC is always upright: its decoder turns it, whatever its EXIF says.
    """
    return _of_header(_orientation, source, max_pixels)


def _of_header(ask: Callable[[Image.Image], Told], source: ImageSource, most: int | None) -> Told:
    with opened_picture(source, max_pixels=most) as image:
        return ask(image)


def describe_source(source: ImageSource) -> str:
    """Return how errors name a source: its path, or what kind of object it is."""
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or f"<{source.mode} picture in memory>"
    if not isinstance(source, str | bytes | os.PathLike):
        raise ImageError(f"a picture is {EXPECTED}, not {type(source).__name__}")
    if isinstance(source, PictureBytes) and source.name:
        return shortened(source.name)
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else shortened(os.fspath(source))


def held_source(source: ImageSource) -> HeldSource:
    """Return a source that can be read more than once: of an open file its bytes.

    Raises:
        ImageError: an open file cannot be read, or is open as text.
    """
    if isinstance(source, Address):
        return read_address(source)
    found: HeldSource = held(source)
    return found


def _open(source: str | os.PathLike[str] | bytes, name: str) -> Image.Image:
    if isinstance(source, bytes):
        if not source:
            raise ImageError(f"{name}: no bytes to read")
        return _identified(io.BytesIO(source), source[:HEAD], name)
    path = Path(source)
    try:
        there = path.is_file()
    except OSError as error:
        raise ImageError(why_missing(os.fspath(source))) from error
    if not there:
        raise ImageError(why_missing(os.fspath(source)))
    if path.stat().st_size == 0:
        raise ImageError(f"{name}: the file is empty (0 bytes); copy it again")
    with path.open("rb") as file:
        head = file.read(HEAD)
    return _identified(path, head, name)


def _identified(file: Path | io.BytesIO, head: bytes, name: str) -> Image.Image:
    return open_heic(file, name) if is_heic(head) else Image.open(file)


@contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an :class:`ImageError` with the file's name."""
    try:
        yield
    except ImageError:
        raise
    except MissingExtraError as error:
        raise ImageError(str(error)) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image, or of a format that is not supported") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: decompression bomb: {error}; Pillow's own limit is PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name}: too large for the memory at hand") from error
    except Exception as error:  # decoders raise whatever their parsers do
        raise ImageError(f"{name}: cannot be decoded ({error}); is it truncated?") from error


def _check_size(image: Image.Image, name: str, max_pixels: int | None) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: the image is {width} × {height} pixels, it holds nothing")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"{name}: declares {width} × {height} = {width * height} pixels, over the limit of "
            f"{max_pixels} (a decompression bomb?); raise max_pixels if the file is trusted"
        )


def _is_sideways(image: Image.Image) -> bool:
    return image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(EXIF_ORIENTATION, 1)
    return int(found) if found in range(1, 9) else 1


def _upright(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _is_sideways(image) else (width, height)


def _draft(image: Image.Image, min_size: tuple[int, int]) -> None:
    """Let the JPEG decoder skip detail, never below ``min_size`` (no effect on other formats)."""
    if image.format == "JPEG":
        width, height = min_size[::-1] if _is_sideways(image) else min_size
        image.draft(None, (min(width, image.size[0]), min(height, image.size[1])))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.mode.startswith("I;16"):
        return _from_array(np.asarray(image, dtype=np.float64) / 257.0)
    if image.mode in ("I", "F"):
        return _from_array(_stretch(np.asarray(image, dtype=np.float64)))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _stretch(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = np.nanmin(values), np.nanmax(values)
    if low >= 0 and high <= 255:
        return values
    if low >= 0 and high <= 65_535 and float(low).is_integer():
        return values / 257.0
    return np.asarray((values - low) * (255.0 / max(high - low, 1e-12)))


def _from_array(values: npt.NDArray[np.float64]) -> Image.Image:
    grey = np.nan_to_num(values).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
