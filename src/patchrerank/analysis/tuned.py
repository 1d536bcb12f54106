"""A tuned cascade on a data set's gallery."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from patchrerank.analysis.galleries import with_local_descriptors
from patchrerank.pipeline import Cascade, Tuned

if TYPE_CHECKING:
    from patchrerank.datasets import Dataset
    from patchrerank.encoders import DenseEncoder, Encoder
    from patchrerank.gallery import Gallery


def dataset_cascade(
    tuned: Tuned,
    gallery: Gallery,
    dataset: Dataset,
    encoder: Encoder,
    dense_encoder: DenseEncoder | None = None,
    *,
    progress: bool = True,
) -> Cascade:
    """Make a tuned cascade over a data set's gallery, with local descriptors where it needs them.

    Args:
        tuned: what to make.
        gallery: of the data set's images.
        dataset: its pictures are looked at again by rerankers that do so.
        encoder: of queries.
        dense_encoder: makes the gallery's local descriptors where it has none, and, at the size
            that was tuned with, the queries'.
        progress: show a bar while descriptors are made.

    Raises:
        SettingError: other encoders than those it was tuned with.
    """
    files = {image.id: image.file for image in dataset.images}
    asked = None
    if tuned.tuned_on.local is not None and dense_encoder is not None:
        gallery = with_local_descriptors(gallery, dataset, dense_encoder, progress=progress)
        local = tuned.tuned_on.local
        part = replace(dense_encoder.selection, query_part=local.query_part)  # type: ignore[arg-type]
        asked = dense_encoder.resized(local.query_image_size, selection=part)
    return tuned.cascade(gallery, encoder, asked, files)
