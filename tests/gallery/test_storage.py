from __future__ import annotations

import numpy as np
import pytest

from patchrerank.analysis.storage_table import published_storage
from patchrerank.errors import SettingError
from patchrerank.gallery.storage import patches_at, storage_of


def test_published_table_to_the_last_digit():
    for row in published_storage():
        assert row.raw_in_printed_unit == row.printed_raw, row
        assert row.quantised_in_printed_unit == row.printed_quantised, row
        assert row.ratio_of_printed_units == row.printed_ratio, row


def test_a_real_faiss_file_has_the_computed_size(tmp_path):
    """The ILIAS L0 row: 4,885 vectors of 1,024 dimensions in IVF4096,PQ64."""
    import faiss

    vectors = np.random.default_rng(0).standard_normal((4885, 1024), dtype=np.float32)
    index = faiss.index_factory(1024, "IVF4096,PQ64", faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(vectors[:4096])  # any centroids will do: only the size matters
    faiss.copy_array_to_vector(
        np.random.default_rng(1).standard_normal(256 * 1024).astype(np.float32),
        index.pq.centroids,
    )
    index.is_trained = True
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    size = (tmp_path / "index.faiss").stat().st_size
    computed = storage_of(4885, 1024, "ivfpq").stored
    assert 0 <= size - computed < 256, "only faiss' fixed headers are not counted"
    assert f"{size / 1e6:.2f}" == "18.21"


def test_stores():
    assert [patches_at(level) for level in range(5)] == [1, 5, 14, 30, 55]
    assert storage_of(10, 768, "float16").ratio == 2
    assert storage_of(10, 768, "int8").stored == 10 * 772
    assert storage_of(1000, 768, "pq", m=64).stored == 64_000 + 256 * 768 * 4
    assert storage_of(1000, 768, "pq", m=64, nbits=4).stored == 32_000 + 16 * 768 * 4
    assert storage_of(1000, 764, "rabitq3").stored == 1000 * (3 * 96 + 4)
    assert storage_of(1000, 764, "rabitq3+int8").stored == 1000 * (3 * 96 + 4 + 764 + 4)
    assert storage_of(0, 768).raw == 0
    with pytest.raises(SettingError, match="did you mean float16"):
        storage_of(1, 8, "float61")
    with pytest.raises(SettingError, match="does not divide"):
        storage_of(1, 100, "pq", m=64)
    with pytest.raises(SettingError):
        patches_at(-1)
