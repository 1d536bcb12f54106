from __future__ import annotations

import numpy as np
import pytest

from later import later
from patchrerank.encoders import learn_spectrum
from patchrerank.encoders.spectrum import BLOCK
from patchrerank.errors import EncoderError

covariance = later("sklearn.covariance")


def correlated(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dim, dim)) * np.geomspace(1, 0.05, dim)
    return (rng.normal(size=(count, dim)) @ mixing.T + rng.normal(size=dim)).astype(np.float32)


def slow_shrinkage(vectors: np.ndarray, ends: np.ndarray) -> float:
    """How far a covariance is from those of its groups, as the paper writes it."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    whole = centred.T @ centred / len(vectors)
    groups = [own.T @ own / len(own) for own in np.split(centred, ends[:-1])]
    noise = sum(((own - whole) ** 2).sum() for own in groups) / len(groups) ** 2
    target = np.trace(whole) / len(whole) * np.eye(len(whole))
    return noise / ((whole - target) ** 2).sum()


def test_shrinkage_of_single_vectors_is_ledoit_and_wolfs():
    vectors = correlated(60, 20)
    expected = covariance.ledoit_wolf_shrinkage(vectors.astype(np.float64))
    assert learn_spectrum(vectors).shrinkage == pytest.approx(expected, rel=1e-6)


def test_shrinkage_of_groups_equals_the_slow_sum():
    rng = np.random.default_rng(3)
    vectors = np.repeat(correlated(40, 12), 6, axis=0)
    vectors += 0.1 * rng.normal(size=vectors.shape).astype(np.float32)
    ends = np.arange(6, 241, 6)
    found = learn_spectrum(vectors, ends)
    assert found.shrinkage == pytest.approx(slow_shrinkage(vectors, ends), rel=1e-6)
    assert found.groups == 40 and found.vectors == 240
    assert found.shrinkage > 3 * learn_spectrum(vectors).shrinkage, "patches are no new images"


def test_few_groups_shrink_more_than_many():
    vectors = correlated(4000, 16)
    ends = np.arange(10, 4001, 10)
    shares = [learn_spectrum(vectors[: 10 * n], ends[:n]).shrinkage for n in (10, 100, 400)]
    assert 1 >= shares[0] > shares[1] > shares[2] > 0


def test_groups_of_unequal_size_shrink_within_bounds():
    vectors = correlated(90, 8)
    assert 0 <= learn_spectrum(vectors, np.array([1, 3, 60, 60, 90])).shrinkage <= 1
    assert learn_spectrum(vectors, np.array([90])).shrinkage == 0


def test_values_are_the_covariances_over_several_blocks():
    vectors = correlated(BLOCK + 500, 6)
    found = learn_spectrum(vectors, shrinkage=0.0)
    expected = np.linalg.eigvalsh(np.cov(vectors.T.astype(np.float64), bias=True))[::-1]
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)
    np.testing.assert_allclose(found.mean, vectors.mean(axis=0, dtype=np.float64), rtol=1e-9)
    assert found.held(6) == pytest.approx(1) and found.held(2) == pytest.approx(
        expected[:2].sum() / expected.sum()
    )


def test_the_fewest_directions_that_hold_a_share():
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=np.float64)
    vectors = np.concatenate([signs * [3, 1], signs * [3, 1]])
    found = learn_spectrum(vectors)  # variances 9 and 1
    assert [found.holding(share) for share in (0.1, 0.89, 0.91, 1.0)] == [1, 1, 2, 2]


def test_dimensions_are_chosen_in_steps_of_64():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(4000, 200))
    steep = flat * np.geomspace(1, 1e-3, 200)
    assert learn_spectrum(steep).chosen_dim() == 64
    assert learn_spectrum(flat).chosen_dim() == 192, "90 % of 200 equal directions, rounded up"
    assert learn_spectrum(flat[:100]).chosen_dim() == 99, "never more than vectors span"
    assert learn_spectrum(flat[:, :20]).chosen_dim() == 20
    assert learn_spectrum(np.ones((5, 3))).chosen_dim() == 1


def test_too_few_vectors_for_what_is_asked():
    found = learn_spectrum(correlated(30, 40))
    with pytest.raises(EncoderError, match="30 vectors are too few to whiten to 32 dim"):
        found.whitening(32)
    with pytest.raises(EncoderError, match="span only 29 directions"):
        found.whitening(30)
    with pytest.raises(EncoderError, match="span only 0 directions"):
        learn_spectrum(np.ones((5, 3))).whitening(1)
