from __future__ import annotations

import numpy as np

from local_twins import background_twin, make_local
from patchrerank.gallery import local_store
from patchrerank.rerankers._background import Background


def test_equals_the_formula():
    local = make_local(np.random.default_rng(3), [39, 0, 20, 39])
    vectors = local.store.decode(np.arange(98)).astype(np.float64)
    found = Background.of(local)
    mean, precision = background_twin(vectors)
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    factor = found.precision[0, 0] / precision[0, 0]
    np.testing.assert_allclose(found.precision, factor * precision, rtol=1e-9, atol=1e-9)
    query = vectors[:5].astype(np.float32)
    wanted = precision @ (query.astype(np.float64).mean(axis=0) - mean)
    np.testing.assert_allclose(found.filter_of(query), wanted / np.linalg.norm(wanted), atol=1e-6)


def test_a_large_store_is_sampled_always_in_the_same_way(monkeypatch):
    monkeypatch.setattr(local_store, "SAMPLE", 10)
    local = make_local(np.random.default_rng(3), [39, 30, 20, 39])
    first, again = Background.of(local), Background.of(local)
    rows = np.linspace(0, 127, 10).astype(np.int64)
    assert np.array_equal(first.precision, again.precision)
    np.testing.assert_allclose(first.mean, local.store.decode(rows).mean(axis=0), atol=1e-6)


def test_few_descriptors_or_none():
    for counts in ([0, 0], [1, 0]):
        local = make_local(np.random.default_rng(3), counts)
        found = Background.of(local)
        assert np.array_equal(found.precision, np.eye(16))
        query = np.eye(16, dtype=np.float32)[:2]
        assert np.isclose(np.linalg.norm(found.filter_of(query)), 1.0)
    assert not found.filter_of(local.store.decode(np.arange(1))).any(), "the mean itself"
