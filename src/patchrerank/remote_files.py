"""Who reads the files of an address, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from patchrerank.errors import GalleryError, MissingExtraError, PatchRerankError, short_reason

BUCKETS = ("s3", "gs", "gcs", "abfs", "abfss")
SIGNED = re.compile(r"[?&][a-z-]*(sig|signature)=", re.IGNORECASE)
OF_ARROW = ("abfs", "abfss", "file", "gcs", "gs", "hdfs", "s3", "viewfs")
HINTS = {
    "NO_SUCH_BUCKET": "there is no such bucket",
    "ACCESS_DENIED": "set credentials that may list and read it (AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, …)",
    "INVALID_ACCESS_KEY_ID": "the key is not known there; set AWS_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH": "the secret is another; set AWS_SECRET_ACCESS_KEY",
    "HTTP status 301": "the bucket is of another region; set AWS_DEFAULT_REGION to its own",
    "HTTP status 403": "set credentials that may list and read it",
    "NETWORK_CONNECTION": "nobody answers; look at the network, and at AWS_ENDPOINT_URL where it "
    "is not Amazon's",
}


def check_plain(scheme: str, inside: str) -> None:
    """Refuse an address with credentials or options in it, without repeating them.

    Args:
        scheme: of the address, in small letters.
        inside: what is behind ``://``.

    Raises:
        GalleryError: says where they belong.
    """
    place = inside.partition("/")[0]
    secret = ":" in (place if scheme in BUCKETS else place.rpartition("@")[0])
    if secret or "?" in place or SIGNED.search(inside):
        raise GalleryError(
            f"{scheme}://…: an address takes no credentials, signature or options, which the "
            "gallery would keep; set them in the environment (AWS_ACCESS_KEY_ID, "
            "AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, …)"
        )


@contextmanager
def errors_of(address: str, what: str) -> Iterator[None]:
    """Say of what an address an error is.

    Raises:
        FileNotFoundError: there is no such file.
        GalleryError: it cannot be had for another reason; says what to do.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(2, "no such file", address) from error
    except PatchRerankError:
        raise
    except Exception as error:  # those of the service, and of whichever package asks it
        text = str(error)
        why = next((hint for sign, hint in HINTS.items() if sign in text), short_reason(error))
        raise GalleryError(f"{address}: cannot be {what}: {why}") from error


@lru_cache(maxsize=64)
def file_system(scheme: str, place: str) -> Any:
    """Return the file system of pyarrow's that a bucket, container or host is of.

    Raises:
        MissingExtraError: pyarrow is not installed.
        GalleryError: nobody knows such addresses, or the place cannot be reached.
    """
    try:
        from pyarrow import fs
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{scheme}://{place}: is read with pyarrow: pip install 'patchrerank[remote]'"
        ) from error
    with errors_of(f"{scheme}://{place}", "reached"):
        if scheme in OF_ARROW:
            return fs.FileSystem.from_uri(f"{scheme}://{place or '/'}")[0]
        return fs.PyFileSystem(fs.FSSpecHandler(_of_fsspec(scheme)))


def check_bucket(scheme: str, place: str) -> None:
    """Refuse an address in which nothing was found, if its bucket or container is not there.

    Raises:
        GalleryError: there is no such bucket, as far as one may ask.
    """
    if scheme not in BUCKETS:
        return
    try:
        found = file_system(scheme, place).get_file_info(name_inside(scheme, place))
    except Exception:  # whoever may not look at the bucket is told of the file
        return
    if found.type.name == "NotFound":
        raise GalleryError(f"{scheme}://{place}: {HINTS['NO_SUCH_BUCKET']}; look at its name")


def _of_fsspec(scheme: str) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        raise GalleryError(
            f"{scheme}:// addresses are read by fsspec and its package for them "
            f"({short_reason(error)}); pyarrow alone reads {', '.join(OF_ARROW)}"
        ) from error


def name_inside(scheme: str, place: str) -> str:
    """Return how a file system calls a bucket, container or host."""
    if scheme in BUCKETS:  # CONTAINER@ACCOUNT of Azure's, anonymous@BUCKET of Google's
        return place.split("@")[0 if scheme.startswith("abfs") else -1]
    return place if scheme not in OF_ARROW else ""
