from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrerank.encoders import Whitening, learn_spectrum
from patchrerank.errors import EncoderError


def correlated(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dim, dim)) * np.geomspace(1, 0.05, dim)
    return (rng.normal(size=(count, dim)) @ mixing.T + rng.normal(size=dim)).astype(np.float32)


def learn_whitening(vectors: np.ndarray, dim: int, shrinkage: float = 0.0) -> Whitening:
    return learn_spectrum(vectors, shrinkage=shrinkage).whitening(dim)


def project(whitening: Whitening, vectors: np.ndarray) -> np.ndarray:
    return (vectors.astype(np.float64) - whitening.mean) @ whitening.matrix


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(0, 1000))
def test_covariance_becomes_the_identity(dim, seed):
    vectors = correlated(300, 12, seed)
    whitened = project(learn_whitening(vectors, dim), vectors)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(whitened.T @ whitened / 300, np.eye(dim), atol=5e-3)


def test_apply_is_the_direction_of_the_projection():
    vectors = correlated(100, 10)
    whitening = learn_whitening(vectors, 4)
    applied = whitening.apply(vectors[:7])
    expected = project(whitening, vectors[:7])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert applied.dtype == np.float32
    assert applied.flags.c_contiguous
    assert whitening.dim == 4
    np.testing.assert_allclose(applied, expected, atol=1e-5)
    assert whitening.apply(np.zeros((0, 10))).shape == (0, 4)


def test_strongest_direction_comes_first():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(500, 3)) * [0.1, 5.0, 1.0]
    matrix = learn_whitening(vectors, 2).matrix
    assert np.abs(matrix).argmax(axis=0).tolist() == [1, 2]


def test_learning_twice_and_adding_float_noise_change_no_sign():
    vectors = correlated(200, 8)
    first = learn_whitening(vectors, 8)
    assert learn_whitening(vectors, 8).fingerprint == first.fingerprint
    other = learn_whitening(vectors[::-1], 8)
    np.testing.assert_allclose(other.matrix, first.matrix, rtol=1e-3, atol=1e-3)


def test_shrinkage_ends_at_a_rotation():
    vectors = correlated(200, 8)
    matrix = learn_whitening(vectors, 8, shrinkage=1.0).matrix
    gram = matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(8) * gram[0, 0], atol=1e-4 * gram[0, 0])
    full, half = (
        np.linalg.norm(learn_whitening(vectors, 8, shrinkage=s).matrix, axis=0) for s in (0, 0.5)
    )
    assert half[-1] / half[0] < full[-1] / full[0]


def test_save_and_load(tmp_path):
    whitening = learn_whitening(correlated(100, 10), 4)
    path = tmp_path / "whitening.bin"
    whitening.save(path)
    loaded = Whitening.load(path)
    assert [file.name for file in tmp_path.iterdir()] == ["whitening.bin"]
    assert loaded.fingerprint == whitening.fingerprint
    np.testing.assert_array_equal(loaded.matrix, whitening.matrix)
    np.testing.assert_array_equal(loaded.mean, whitening.mean)
    changed = Whitening(whitening.mean + 1e-3, whitening.matrix)
    assert changed.fingerprint != whitening.fingerprint


def test_files_that_are_not_whitenings(tmp_path):
    path = tmp_path / "w.npz"
    with pytest.raises(EncoderError, match=r"w\.npz"):
        Whitening.load(path)
    for content in (b"", b"PK\x03\x04 broken", b"text"):
        path.write_bytes(content)
        with pytest.raises(EncoderError, match=r"w\.npz: not a whitening"):
            Whitening.load(path)
    np.savez(path, mean=np.zeros(3))
    with pytest.raises(EncoderError, match="matrix"):
        Whitening.load(path)
    np.savez(path, mean=np.array([{"a": 1}], dtype=object), matrix=np.eye(3))
    with pytest.raises(EncoderError, match="not a whitening"):
        Whitening.load(path)
    np.save(tmp_path / "w.npy", np.zeros(3))
    with pytest.raises(EncoderError, match="not a whitening"):
        Whitening.load(tmp_path / "w.npy")


@pytest.mark.parametrize(
    ("vectors", "dim", "shrinkage", "words"),
    [
        (np.zeros(5), 1, 0, r"\(N, d\)"),
        (correlated(20, 5), 6, 0, "1…5"),
        (correlated(20, 5), 0, 0, "1…5"),
        (correlated(3, 5), 4, 0, "too few"),
        (correlated(4, 5), 4, 0, "span only 3 directions"),
        (np.ones((20, 5)), 1, 0, "span only 0 directions"),
        (np.repeat(correlated(3, 5), 10, axis=0), 3, 0, "span only 2 directions"),
        (correlated(20, 5), 2, 1.5, "shrinkage"),
        (np.full((20, 5), np.nan), 2, 0, "vector 0 holds NaN"),
    ],
)
def test_impossible_learning(vectors, dim, shrinkage, words):
    with pytest.raises(EncoderError, match=words):
        learn_whitening(vectors, dim, shrinkage=shrinkage)


def test_impossible_whitenings_and_vectors():
    with pytest.raises(EncoderError, match="mean"):
        Whitening(np.zeros(3, np.float32), np.eye(4, dtype=np.float32))
    with pytest.raises(EncoderError, match="finite"):
        Whitening(np.full(3, np.nan, np.float32), np.eye(3, dtype=np.float32))
    whitening = learn_whitening(correlated(20, 5), 2)
    with pytest.raises(EncoderError, match=r"takes vectors \(N, 5\), got \(2, 6\)"):
        whitening.apply(np.zeros((2, 6)))
    with pytest.raises(EncoderError, match=r"got one of \(5,\); pass apply\(vector\[None\]\)"):
        whitening.apply(np.ones(5))
    with pytest.raises(EncoderError, match="row 0"):
        whitening.apply(whitening.mean[None])
