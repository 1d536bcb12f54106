"""A gallery's codes for a learned reranker: its own store, much smaller than the descriptors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from patchrerank.errors import GalleryError
from patchrerank.gallery import Gallery, LocalStore
from patchrerank.gallery.local_manifest import CODES, LocalManifest
from patchrerank.gallery.local_writer import open_local_writer
from patchrerank.rerankers._candidates import check_candidates, holds_codes
from patchrerank.types import LocalDescriptors

if TYPE_CHECKING:
    from patchrerank.rerankers.networks.projection import PairNetwork

CHUNK = 64
"""Images that are projected and committed together."""


def compact_local(
    gallery: Gallery,
    network: PairNetwork,
    folder: str | Path | None = None,
    *,
    count: int | None = None,
    progress: bool = True,
) -> LocalStore:
    """Store what a learned reranker needs of a gallery's local descriptors, and no more.

    A descriptor of D0 dimensions becomes a code of D = 128: 16 bits each (256 bytes), or one bit
    each (16 bytes) for a binarised network. AMES scores codes as it scores the descriptors, since
    it rounds the gallery's side to 16 bits anyway; ELViS in full precision differs by that
    rounding. A bit cannot say 0: a descriptor of zeros, whose signs are 0, is stored as all −1.
    A run that is killed is continued by the same call.

    Args:
        gallery: with local descriptors (``patchrerank.gallery.build_local``).
        network: ``reranker.network``, or ``load_ames(…)``, ``load_elvis(…)``.
        folder: of the store; None: ``codes-`` and a digest of the weights, in the gallery's.
        count: of each image the first descriptors alone; None: all.
        progress: show a progress bar.

    Returns:
        The store, to be passed as ``local=`` to rerankers with the same weights.

    Raises:
        GalleryError: no local descriptors, of another dimension than the network takes, or the
            folder holds something else.
    """
    import torch

    from patchrerank.rerankers.networks.projection import coding_digest

    source, digest = gallery.local, coding_digest(network)
    if holds_codes(source):
        raise GalleryError(f"{source.folder}: holds codes already; descriptors are needed")
    check_candidates(source, gallery, digest, network.local_dim)
    target = Path(folder) if folder is not None else gallery.folder / f"codes-{digest[:8]}"
    with (
        open_local_writer(target, _plan(source, network, digest, count)) as writer,
        torch.no_grad(),
    ):
        begun = writer.manifest.images
        bar = tqdm(total=len(source), initial=begun, unit="img", disable=not progress)
        for start in range(begun, len(source), CHUNK):
            rows = range(start, min(start + CHUNK, len(source)))
            coded = [_coded(source.descriptors_of(row), network, count) for row in rows]
            writer.commit(coded, [gallery.ids[row] for row in rows])
            bar.update(len(rows))
        bar.close()
        writer.finish()
    return LocalStore(target)


def _plan(
    source: LocalStore, network: PairNetwork, digest: str, count: int | None
) -> LocalManifest:
    made = source.manifest
    return LocalManifest(
        dim=network.model_dim,
        store="binary" if network.binarized else "float16",
        encoder={**made.encoder, CODES: digest, "codes_of": made.store, "codes_count": count},
        identity=made.identity,
        fingerprint=f"{digest}:{count}:{made.fingerprint}",
        grids=made.grids,
        chunk=CHUNK,
        numbering=made.numbering,
    )


def _coded(found: LocalDescriptors, network: PairNetwork, count: int | None) -> LocalDescriptors:
    import torch

    kept = slice(None, count)
    vectors = torch.from_numpy(np.array(found.vectors[kept], dtype=np.float32))
    device = next(network.parameters()).device
    codes = network.codes(vectors.to(device)).float().cpu().numpy()
    return LocalDescriptors(codes, found.positions[kept], found.scales[kept], found.weights[kept])
