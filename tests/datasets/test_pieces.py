import numpy as np
import pytest
from PIL import Image

from patchrerank.datasets.composite.pieces import (
    MIN_DEVIATION,
    cut_pieces,
    read_cutout,
    read_photo,
)
from patchrerank.errors import DatasetError, ImageError


def test_a_cutout_is_cropped_to_what_shows(tmp_path):
    pixels = np.zeros((80, 90, 4), dtype=np.uint8)
    pixels[20:60, 30:80] = (10, 20, 30, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_cutout(tmp_path / "a.png").size == (50, 40)


@pytest.mark.parametrize("mode", ["LA", "P", "PA"])
def test_other_modes_with_transparency(tmp_path, drawings, mode):
    image = drawings.cutout(0)
    path = tmp_path / ("a.tif" if mode == "PA" else "a.png")
    if mode == "P":
        image.quantize(64).save(path)
    elif mode == "PA":
        image.convert("LA").save(path)
    else:
        image.convert(mode).save(path)
    read = read_cutout(path)
    assert read.mode == "RGBA"
    alpha = np.asarray(read)[..., 3]
    assert alpha.max() == 255 and alpha.min() == 0


def test_photographs_are_no_cutouts(tmp_path, drawings):
    drawings.photo(0).save(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match=r"a.jpg: has no transparent pixels.*--cut-from"):
        read_cutout(tmp_path / "a.jpg")
    drawings.photo(0).convert("RGBA").save(tmp_path / "b.png")
    with pytest.raises(DatasetError, match=r"b.png: has no transparent pixels"):
        read_cutout(tmp_path / "b.png")


def test_nothing_to_see(tmp_path):
    Image.new("RGBA", (50, 50), (1, 2, 3, 0)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a.png: its visible part is 0 × 0 pixels"):
        read_cutout(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_unreadable_cutouts(tmp_path, drawings, content):
    path = tmp_path / "a.png"
    if content is None:
        drawings.cutout(0).save(path)
        content = path.read_bytes()[:900]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"a.png: cannot be decoded as a cut-out"):
        read_cutout(path)


def test_a_bomb_is_refused(tmp_path, monkeypatch, drawings):
    drawings.cutout(0).save(tmp_path / "a.png")
    monkeypatch.setattr("patchrerank.datasets.composite.pieces.MAX_PIXELS", 100)
    with pytest.raises(ImageError, match=r"a.png: declares 120 × 120 pixels"):
        read_cutout(tmp_path / "a.png")


def test_photographs_are_scaled_down_never_up(tmp_path, drawings):
    drawings.photo(0, width=400, height=100).save(tmp_path / "a.jpg")
    assert read_photo(tmp_path / "a.jpg", 200).size == (200, 50)
    assert read_photo(tmp_path / "a.jpg", 900).size == (400, 100)


def test_pieces_have_texture_shape_and_soft_edges(drawings):
    pieces = list(cut_pieces(drawings.photo(3, 400, 300), 4, np.random.default_rng(0)))
    assert len(pieces) == 4
    for piece in pieces:
        pixels = np.asarray(piece).astype(float)
        solid = pixels[..., 3] >= 128
        assert 0.25 < solid.mean() < 0.95
        assert solid.any(axis=0).mean() > 0.9 and solid.any(axis=1).mean() > 0.9
        assert ((pixels[..., 3] > 0) & (pixels[..., 3] < 255)).any()
        assert pixels[..., :3].mean(axis=2)[solid].std() > MIN_DEVIATION * 0.8


def test_pieces_do_not_overlap(drawings):
    """Every pixel of the photograph has its own colour, so a shared one would show."""
    number = np.random.default_rng(0).permutation(300 * 200).reshape(200, 300)
    colours = np.dstack([number % 256, number // 256, number % 251]).astype(np.uint8)
    pieces = list(cut_pieces(Image.fromarray(colours), 6, np.random.default_rng(2)))
    assert len(pieces) >= 4
    seen = []
    for piece in pieces:
        pixels = np.asarray(piece)[..., :3].reshape(-1, 3).astype(int)
        seen += (pixels[:, 1] * 256 + pixels[:, 0]).tolist()
    assert len(seen) == len(set(seen))


def test_flat_photographs_yield_nothing():
    rng = np.random.default_rng(0)
    flat = Image.new("RGB", (300, 200), (90, 120, 160))
    ramp = np.linspace(0, 255, 300)[None, :, None] * np.ones((200, 1, 3))
    assert not list(cut_pieces(flat, 4, rng))
    assert not list(cut_pieces(Image.fromarray(ramp.astype(np.uint8)), 4, rng))


def test_the_textured_half_is_found():
    rng = np.random.default_rng(0)
    pixels = np.full((200, 400, 3), 100, dtype=np.uint8)
    pixels[:, 250:] = rng.integers(0, 255, (200, 150, 3))
    for piece in cut_pieces(Image.fromarray(pixels), 3, rng):
        inside = np.asarray(piece)[np.asarray(piece)[..., 3] >= 128][:, :3]
        assert inside.std() > MIN_DEVIATION
