"""Learning a gallery's whitening: on which patches, to how many dimensions, and why so many."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from patchrerank.errors import EncoderError, GalleryError
from patchrerank.gallery.gallery import Gallery
from patchrerank.gallery.identity import combined_identity, encoder_identity
from patchrerank.gallery.manifest import Manifest, WhiteningRecord
from patchrerank.gallery.region_vectors import decoded_patches
from patchrerank.gallery.whiten_choice import (
    AUTO,
    FEW_IMAGES,
    LEAST_DIM,
    NONE,
    Whiten,
    log_plain,
    why_plain,
)
from patchrerank.types import Rows

if TYPE_CHECKING:
    from patchrerank.encoders import Spectrum, Whitening

MOST_PATCHES = 200_000
"""That a whitening is learned on."""
SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Of the variance; what a record says of a spectrum."""

Learned = tuple["Whitening", WhiteningRecord | None]

logger = logging.getLogger(__name__)


def check_begun(folder: Path, made: Manifest, whiten: Whiten) -> None:
    """Refuse to go on with another whitening than a gallery was begun with.

    Raises:
        GalleryError: it is whitened and shall not be, or is not, or to another number of
            dimensions, or otherwise than the gallery whose whitening is to be taken.
    """
    if whiten == NONE:
        if made.whitened:
            raise GalleryError(
                f"{folder}: was begun with whitening; leave --whiten (whiten=) out to keep it, or "
                "use another folder"
            )
        return
    if not made.whitened:
        raise GalleryError(
            f"{folder}: was begun without whitening; leave --whiten (whiten=) out, or use another "
            "folder"
        )
    if isinstance(whiten, int) and whiten != made.dim:
        raise GalleryError(
            f"{folder}: was begun with whitening to {made.dim} dimensions, now they are {whiten}; "
            "leave --whiten (whiten=) out to keep its own, or use another folder"
        )
    if not isinstance(whiten, int) and whiten != AUTO:
        plain = encoder_identity(made)
        if combined_identity(plain, whitening_of_gallery(Path(whiten), plain)[0]) != made.identity:
            raise GalleryError(
                f"{folder}: was begun with another whitening than that of {os.fspath(whiten)}; "
                "leave --whiten (whiten=) out to keep its own, or use another folder"
            )


def find_whitening(gallery: Gallery, whiten: Whiten, seed: int) -> Learned:
    """Return the whitening of a gallery's vectors, and how it was learned.

    Args:
        gallery: of plain vectors, with float patches.
        whiten: dimensions to keep; ``auto``: :meth:`Spectrum.chosen_dim`; else the folder of a
            gallery whose whitening is taken as it is.
        seed: of the choice of images, where there are more than 200,000 patches.

    Raises:
        GalleryError: it is whitened already; a folder of no whitened gallery, or of another
            encoder.
        EncoderError: the patches are too few, or too much alike, for so many dimensions.
        VectorError: a patch vector is NaN, infinite or all zeros.
    """
    if gallery.manifest.whitened:
        raise GalleryError(f"{gallery.folder}: is already whitened; whiten the raw gallery")
    if not isinstance(whiten, int) and whiten != AUTO:
        return whitening_of_gallery(Path(whiten), gallery.manifest.identity)
    spectrum = _spectrum(gallery, seed)
    dim = whiten if isinstance(whiten, int) else spectrum.chosen_dim()
    whitening = spectrum.whitening(dim)
    record = _recorded(spectrum, dim, seed, chosen=whiten == AUTO)
    if record.images < FEW_IMAGES:
        logger.warning("%s", too_few(record.images))
    return whitening, record


def whitening_by_default(sample: Gallery, folder: Path, seed: int) -> Learned | None:
    """Return the whitening that a new gallery gets where nobody asks; None: none, which is logged.

    Args:
        sample: plain vectors of its images, or of as many as are learned from.
        folder: of the gallery, for the log.
        seed: as of :func:`find_whitening`.

    Raises:
        VectorError: a patch vector is NaN, infinite or all zeros.
    """
    why = why_plain(sample.dim, sample.live_count)
    if why is None:
        try:
            found = find_whitening(sample, AUTO, seed)
            if LEAST_DIM // 2 <= found[0].dim < sample.dim:
                return found
            alike = found[0].dim < sample.dim
        except EncoderError:  # all are the same
            alike = True
        why = "its pictures are too much alike to learn from"
        if not alike:  # and a plain query could not be told from a whitened one
            why = "90 % of the variance lie in all dimensions that there are"
    log_plain(folder, why)
    return None


def whitening_of_gallery(folder: Path, identity: str) -> Learned:
    """Return the whitening of another gallery.

    Args:
        folder: of that gallery.
        identity: of the encoder whose vectors are to be whitened by it.

    Raises:
        GalleryError: it is not whitened, or its vectors were made by another encoder.
    """
    other = Gallery(folder)
    whitening = other.whitening
    if whitening is None:
        raise GalleryError(f"{folder}: is not whitened; name a gallery that is, or dimensions")
    if combined_identity(identity, whitening) != other.manifest.identity:
        raise GalleryError(
            f"{folder}: its whitening was learned on vectors of another encoder; use the encoder "
            "and image size of that gallery, or learn one here (--whiten auto)"
        )
    return whitening, other.manifest.whitening


def asked_for(made: Manifest, whiten: Whiten | None) -> bool:
    """Tell a gallery that was whitened as is asked for: so many dimensions, ``auto``, or None.

    None asks for none in particular.
    """
    if isinstance(whiten, int):
        return made.dim == whiten
    return whiten is None or (made.whitening is not None and made.whitening.chosen)


def whitened_manifest(made: Manifest, found: Learned) -> Manifest:
    """Return the manifest of a gallery that is whitened; its arrays are as they were."""
    whitening, record = found
    identity = combined_identity(made.identity, whitening)
    return replace(made, dim=whitening.dim, whitened=True, whitening=record, identity=identity)


def explained(record: WhiteningRecord) -> str:
    """Say in a sentence to how many dimensions a gallery is whitened, and why so many."""
    told = f"whitened to {record.dim} of {record.of_dim} dimensions, "
    if record.chosen:
        told += f"chosen since {record.spectrum['0.9']} hold 90 % of the variance"
        told += (
            ", rounded up to a multiple of 64" if record.dim % 64 == 0 else ", and all there are"
        )
    else:
        told += f"which hold {record.variance:.1%} of the variance"
    return (
        f"{told}; learned on {record.patches:,} patches of {record.images:,} images, "
        f"shrinkage {record.shrinkage:.3f}"
    )


def too_few(images: int) -> str:
    """Say what it costs to have learned a whitening on so few images."""
    return (
        f"the whitening was learned on {images} images, fewer than {FEW_IMAGES}: enough to search "
        "those, too few for a gallery that grows (measured among 1,055 images: learned on 64 it "
        "gains little over none, on 32 it costs 3 points of mAP); index anew once there are more, "
        "or take the whitening of a larger gallery of the same kind of pictures (--whiten GALLERY)"
    )


def _spectrum(gallery: Gallery, seed: int) -> Spectrum:
    from patchrerank.encoders import learn_spectrum

    counts = np.diff(gallery.patch_ends, prepend=0)
    images = gallery.live[_chosen_images(counts[gallery.live], seed)]
    starts = (gallery.patch_ends - counts)[images]
    spans = zip(starts.tolist(), counts[images].tolist(), strict=True)
    rows = [np.arange(start, start + count) for start, count in spans]
    patches = decoded_patches(gallery, np.concatenate([np.zeros(0, np.int64), *rows]))
    return learn_spectrum(patches, np.cumsum(counts[images]))


def _chosen_images(counts: Rows, seed: int) -> Rows:
    """Return the rows of as many images as hold no more than ``MOST_PATCHES`` patches."""
    if int(counts.sum()) <= MOST_PATCHES:
        return np.flatnonzero(counts)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(counts))
    room = int(np.searchsorted(np.cumsum(counts[order]), MOST_PATCHES, side="right"))
    return np.sort(order[: max(room, 1)])


def _recorded(spectrum: Spectrum, dim: int, seed: int, *, chosen: bool) -> WhiteningRecord:
    return WhiteningRecord(
        dim=dim,
        of_dim=len(spectrum.mean),
        chosen=chosen,
        shrinkage=round(spectrum.shrinkage, 6),
        images=spectrum.groups,
        patches=spectrum.vectors,
        seed=seed,
        variance=round(spectrum.held(dim), 6),
        spectrum={f"{share:g}": spectrum.holding(share) for share in SHARES},
    )
