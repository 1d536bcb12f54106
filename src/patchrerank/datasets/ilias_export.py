"""The files that ILIAS' own programs search: global descriptors of a data set, as HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patchrerank.datasets.dataset import Dataset
from patchrerank.datasets.ilias_features import write_features
from patchrerank.errors import DatasetError
from patchrerank.files import writing

if TYPE_CHECKING:
    from patchrerank.gallery import Gallery
    from patchrerank.types import Queries


def write_dataset_features(
    folder: str | Path, dataset: Dataset, gallery: Gallery, queries: Queries, name: str = "features"
) -> None:
    """Write ``NAME_image_queries``, ``NAME_positives`` and ``NAME_distractors_00000`` (.hdf5).

    Queries and positives are sorted by id, as in ILIAS' files; float16. Read them back by
    :func:`patchrerank.datasets.ilias_features.read_database`.

    Args:
        folder: where the files go; made if it does not exist.
        dataset: tells queries, positives and distractors apart.
        gallery: of the data set's images; its global vectors are written.
        queries: of the data set, in its order.
        name: the files' prefix.

    Raises:
        GalleryError: the gallery lacks an image of the data set.
        DatasetError: another number of queries than the data set has.
    """
    if len(queries) != len(dataset.queries):
        raise DatasetError(f"{len(queries)} queries, but the data set has {len(dataset.queries)}")
    root = Path(folder)
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
    asked = sorted((query.id, number) for number, query in enumerate(dataset.queries))
    vectors = queries.vectors[[number for _, number in asked]]
    write_features(root / f"{name}_image_queries.hdf5", [i for i, _ in asked], vectors)
    shown = sorted(image.id for image in dataset.images if image.instance is not None)
    others = [image.id for image in dataset.images if image.instance is None]
    for part, ids in (("positives", shown), ("distractors_00000", others)):
        found = gallery.global_vectors[gallery.rows_of(ids)]
        write_features(root / f"{name}_{part}.hdf5", ids, found)
