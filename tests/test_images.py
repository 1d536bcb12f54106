from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from patchrerank.errors import ImageError
from patchrerank.images import list_images, read_image, upright_size


def pixel(image, x=0, y=0):
    return image.getpixel((x, y))


def gradient(width=40, height=24):
    x = np.linspace(0, 255, width)[None, :, None]
    y = np.linspace(0, 255, height)[:, None, None]
    return Image.fromarray(
        np.concatenate([x + 0 * y, y + 0 * x, 0 * x + 0 * y + 99], 2).astype("u1")
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, orientation):
    upright = gradient()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse of each orientation's turn
    turned = (
        upright
        if orientation == 1
        else upright.transpose(
            {
                0: Image.Transpose.FLIP_LEFT_RIGHT,
                3: Image.Transpose.ROTATE_180,
                1: Image.Transpose.FLIP_TOP_BOTTOM,
                5: Image.Transpose.TRANSPOSE,
                2: Image.Transpose.ROTATE_90,
                6: Image.Transpose.TRANSVERSE,
                4: Image.Transpose.ROTATE_270,
            }[undo[orientation]]
        )
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(tmp_path / "turned.png", exif=exif)
    read = read_image(tmp_path / "turned.png")
    assert np.array_equal(np.asarray(read), np.asarray(upright))
    assert upright_size(tmp_path / "turned.png") == upright.size


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr", "CMYK", "HSV", "LAB"])
def test_opaque_modes_become_rgb(tmp_path, mode):
    image = gradient().convert("RGB").convert(mode) if mode != "LAB" else None
    if image is None:
        from PIL import ImageCms

        lab = ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(
            gradient(), ImageCms.createProfile("sRGB"), lab, outputMode="LAB"
        )
    assert read_image(image).mode == "RGB"
    assert read_image(image).size == (40, 24)


@pytest.mark.parametrize(
    ("mode", "clear"), [("RGBA", (9, 9, 9, 0)), ("LA", (9, 0)), ("PA", (0, 0))]
)
def test_transparency_is_composited_on_white(mode, clear):
    image = Image.new(mode, (4, 4), clear)
    assert pixel(read_image(image)) == (255, 255, 255)
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert pixel(read_image(half)) == (127, 127, 127)


def test_palette_transparency(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.save(tmp_path / "p.png", transparency=0)
    assert pixel(read_image(tmp_path / "p.png")) == (255, 255, 255)


def test_rgb_with_transparent_colour(tmp_path):
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "t.png", transparency=(1, 2, 3))
    assert pixel(read_image(tmp_path / "t.png")) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 257, 32_896, 65_535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    read = np.asarray(read_image(tmp_path / "deep.png"))
    assert read[0, :, 0].tolist() == [0, 1, 128, 255]


def test_float_image_is_stretched():
    values = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    assert np.asarray(read_image(Image.fromarray(values)))[0, :, 0].tolist() == [0, 128, 255]


def test_animation_uses_frame_zero(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixel(read_image(tmp_path / "a.gif")) == (255, 0, 0)
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert pixel(read_image(tmp_path / "a.webp")) == (255, 0, 0)


def test_bad_files_name_themselves(tmp_path):
    good = io.BytesIO()
    gradient(400, 300).save(good, "JPEG")
    cases = {
        "truncated.jpg": (good.getvalue()[: len(good.getvalue()) // 2], "truncated"),
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"hello, I am no picture", "not an image"),
        "header.png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "header.png"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=reason) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="no bytes"):
        read_image(b"")


def test_zero_sized_image():
    with pytest.raises(ImageError, match="0 × 5"):
        read_image(Image.new("RGB", (0, 5)))


def test_bombs_are_refused_before_decoding(tmp_path):
    Image.new("1", (5000, 5000)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match=r"bomb\.png.*max_pixels"):
        read_image(tmp_path / "bomb.png", max_pixels=1_000_000)
    assert read_image(tmp_path / "bomb.png").size == (5000, 5000)


def test_bomb_over_pillows_own_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    gradient(100, 100).save(tmp_path / "big.png")
    with pytest.raises(ImageError, match="bomb"):
        read_image(tmp_path / "big.png", max_pixels=None)


def test_huge_text_chunk_is_an_image_error(tmp_path):
    info = PngInfo()
    info.add_text("comment", "x" * 3_000_000, zip=True)
    gradient().save(tmp_path / "chunk.png", pnginfo=info)
    with pytest.raises(ImageError, match=r"chunk\.png"):
        read_image(tmp_path / "chunk.png")


def test_draft_never_goes_below_the_size_asked_for(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient(1600, 1200).save(tmp_path / "big.jpg", quality=95)
    gradient(1600, 1200).save(tmp_path / "side.jpg", quality=95, exif=exif)
    assert read_image(tmp_path / "big.jpg", min_size=(300, 300)).size == (400, 300)
    assert read_image(tmp_path / "big.jpg", min_size=(401, 100)).size == (800, 600)
    assert read_image(tmp_path / "big.jpg", min_size=(5000, 100)).size == (1600, 1200)
    assert read_image(tmp_path / "side.jpg", min_size=(100, 401)).size == (600, 800)
    full = np.asarray(
        read_image(tmp_path / "big.jpg").resize((400, 300), Image.Resampling.BOX), int
    )
    draft = np.asarray(read_image(tmp_path / "big.jpg", min_size=(300, 300)), int)
    assert np.abs(full - draft).mean() < 2


def test_sources_are_not_changed():
    image = Image.new("RGBA", (3, 3), (0, 0, 0, 0))
    read_image(image)
    assert image.mode == "RGBA"
    rgb = Image.new("RGB", (3, 3))
    read_image(rgb).putpixel((0, 0), (9, 9, 9))
    assert pixel(rgb) == (0, 0, 0)


def test_list_images_is_sorted_and_recursive(tmp_path):
    for name in ("b.JPG", "a/z.png", "a.txt", "c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a/z.png", "b.JPG", "c.webp"]
    with pytest.raises(ImageError, match="not a folder"):
        list_images(tmp_path / "absent")
