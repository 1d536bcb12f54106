"""Regions that are found in the picture: selective search and Grounding DINO."""

from __future__ import annotations

import builtins
import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from patchrerank.boxes import iou
from patchrerank.errors import MissingExtraError, RegionError
from patchrerank.gallery import BuildOptions, build_gallery
from patchrerank.regions import (
    GridPyramid,
    GroundingDINO,
    Proposals,
    SelectiveSearch,
    boxes_in,
    parse_regions,
)
from patchrerank.regions.proposals import suppress

THINGS = [(0.1, 0.15, 0.4, 0.5), (0.55, 0.5, 0.9, 0.8)]


@pytest.fixture(scope="module")
def scene():
    """Two plain things on a plain background."""
    image = Image.new("RGB", (400, 300), (90, 140, 90))
    draw = ImageDraw.Draw(image)
    for box, colour in zip(THINGS, [(220, 40, 30), (30, 50, 220)], strict=True):
        draw.rectangle([side * scale for side, scale in zip(box, (400, 300) * 2)], fill=colour)  # noqa: B905
    return image


class Corner(Proposals):
    """Always the same odd boxes."""

    spec = "corner"

    def propose(self, picture):
        assert picture.mode == "RGB"
        return np.array([[0.0, 0.0, 0.333, 0.5], [0.999, 0.999, 1, 1]], dtype=np.float32)


def test_proposals_follow_the_whole_image_on_whole_pixels():
    boxes = boxes_in(Corner(), "a", Image.new("L", (10, 4)), (10, 4))
    assert np.allclose(boxes, [[0, 0, 1, 1], [0, 0, 0.4, 0.5], [0.9, 0.75, 1, 1]])
    assert boxes.dtype == np.float32
    assert Corner().finest is None
    with pytest.raises(RegionError, match=r"'corner'.*picture itself.*'a'"):
        Corner().boxes("a", 10, 4)
    grid = GridPyramid(1)
    assert np.array_equal(
        boxes_in(grid, "a", Image.new("L", (10, 4)), (10, 4)), grid.boxes("a", 10, 4)
    )


def test_suppress_keeps_the_better_of_two_that_overlap():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.5, 0.5]], dtype=np.float32)
    assert np.array_equal(suppress(boxes, 0.5), boxes[[0, 2]])
    assert np.array_equal(suppress(boxes, 0.95), boxes)
    assert suppress(boxes[:0], 0.5).shape == (0, 4)


def test_selective_search_finds_the_things(scene):
    found = SelectiveSearch(top=5).propose(scene)
    assert 2 <= len(found) <= 5
    for thing in THINGS:
        assert iou(np.array(thing, dtype=np.float32), found).max() > 0.85


def test_selective_search_is_deterministic(scene):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 90, (300, 400, 3), dtype=np.uint8)
    picture = Image.fromarray((np.asarray(scene) // 2 + noise).astype(np.uint8))
    search = SelectiveSearch()
    first = search.propose(picture)
    assert 1 <= len(first) <= 20
    for _ in range(3):
        assert np.array_equal(search.propose(picture), first)
    overlap = iou(first[:, None], first[None]) - np.eye(len(first))
    assert overlap.max() <= 0.6


def test_selective_search_of_pictures_without_things():
    search = SelectiveSearch()
    assert search.propose(Image.new("RGB", (300, 200), "white")).shape == (0, 4)
    assert search.propose(Image.new("RGB", (1, 1))).shape == (0, 4)
    assert search.propose(Image.new("RGB", (400, 1))).shape == (0, 4)


def test_selective_search_settings():
    assert parse_regions("selective:7") == SelectiveSearch(7)
    assert parse_regions("selective") == SelectiveSearch(20, 160)
    assert parse_regions(SelectiveSearch(5, 200).spec) == SelectiveSearch(5, 200)
    for wrong, what in [
        ("selective:0", "at least 1"),
        ("selective:5:3", "32 pixels"),
        ("selective:x", "malformed"),
        ("selective:1:100:2", "too many"),
    ]:
        with pytest.raises(RegionError, match=what):
            parse_regions(wrong)


def test_selective_search_without_its_package(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"patchrerank\[opencv\]"):
        SelectiveSearch()


def test_a_gallery_of_proposals(tmp_path, scene, tiny_encoder):
    plain = Image.new("RGB", (64, 48), "white")
    pairs = [("scene", scene), ("plain", plain)]
    gallery = build_gallery(
        tmp_path / "g", pairs, tiny_encoder, SelectiveSearch(), BuildOptions(progress=False)
    )
    assert gallery.manifest.regions == "selective:20:160"
    counts = np.diff(gallery.patch_ends, prepend=0)
    assert counts[0] > 2
    assert counts[1] == 1, "the whole image alone"
    assert np.array_equal(gallery.boxes[0], [0, 0, 1, 1])
    crops = tiny_encoder.encode_images([scene] * counts[0], gallery.boxes[: counts[0]])
    assert np.allclose(gallery.patches[: counts[0]], crops, atol=1e-6)


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    """A Grounding DINO of the real architecture with small random weights."""
    transformers = pytest.importorskip("transformers")
    import torch
    from transformers.models.grounding_dino import image_processing_grounding_dino as processing

    folder = tmp_path_factory.mktemp("dino")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "object", "thing"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    text = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    vision = transformers.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=vision,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=30,
        num_feature_levels=4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GroundingDinoForObjectDetection(config)
    images = processing.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    transformers.GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def test_grounding_dino_proposes_boxes(dino_folder, scene):
    dino = GroundingDINO(str(dino_folder), "A  thing", top=6, threshold=0.0, device="cpu")
    assert dino.prompt == "a thing."
    boxes = dino.propose(scene)
    assert 1 <= len(boxes) <= 6
    assert boxes.dtype == np.float32
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert np.array_equal(dino.propose(scene), boxes)
    seen = boxes_in(dino, "scene", scene, scene.size)
    assert np.array_equal(seen[0], [0, 0, 1, 1])
    assert np.abs(seen[1:] - boxes).max() <= 1.01 / 300
    assert len(GroundingDINO(str(dino_folder), threshold=1.0, device="cpu").propose(scene)) == 0


def test_grounding_dino_agrees_with_transformers(dino_folder, scene):
    import torch

    dino = GroundingDINO(str(dino_folder), "a thing.", top=1000, threshold=0.0, device="cpu")
    inputs = dino._processor(images=scene, text="a thing.", return_tensors="pt")
    with torch.inference_mode():
        found = dino._model(**inputs)
    (theirs,) = dino._processor.post_process_grounded_object_detection(
        found, inputs.input_ids, threshold=0.0, text_threshold=0.0, target_sizes=[(1, 1)]
    )
    best = theirs["boxes"][theirs["scores"].argmax()].numpy().clip(0, 1)
    assert np.allclose(dino.propose(scene)[0], best, atol=1e-6)


def test_grounding_dino_is_pickled_as_its_folder_and_digest(tmp_path, dino_folder, scene):
    shutil.copytree(dino_folder, tmp_path / "dino")
    dino = GroundingDINO(str(tmp_path / "dino"), "a thing.", 6, threshold=0.0, device="cpu")
    carried = pickle.dumps(dino)
    again = pickle.loads(carried)
    assert again.spec == dino.spec
    assert np.array_equal(again.propose(scene), dino.propose(scene))
    weights = load_file(tmp_path / "dino" / "model.safetensors")
    first = next(iter(weights))
    save_file(
        {**weights, first: weights[first] + 1},
        tmp_path / "dino" / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(RegionError, match="others than when it was pickled"):
        pickle.loads(carried)


def test_grounding_dino_spec(dino_folder):
    dino = parse_regions(f"grounding_dino:6:a thing. object.:{dino_folder}")
    assert (dino.top, dino.prompt) == (6, "a thing. object.")
    same = GroundingDINO(str(dino_folder), "a thing. object.", 6)
    assert dino.spec == same.spec
    assert dino.spec != GroundingDINO(str(dino_folder), "object.", 6).spec
    assert dino.spec != GroundingDINO(str(dino_folder), "a thing. object.", 6, threshold=0.3).spec


def test_grounding_dino_in_a_gallery(tmp_path, dino_folder, scene, tiny_encoder):
    dino = GroundingDINO(str(dino_folder), top=3, threshold=0.0, device="cpu")
    pairs = [(str(number), scene.rotate(number)) for number in range(4)]
    gallery = build_gallery(
        tmp_path / "g", pairs, tiny_encoder, dino, BuildOptions(progress=False, workers=2)
    )
    assert (np.diff(gallery.patch_ends, prepend=0) >= 2).all()


def test_grounding_dino_errors(tmp_path, dino_folder):
    pytest.importorskip("transformers")
    with pytest.raises(RegionError, match=r"nobody/nothing.*hf-hub:"):
        GroundingDINO("nobody/nothing")
    with pytest.raises(RegionError, match="a prompt"):
        GroundingDINO(str(dino_folder), " . ")
    with pytest.raises(RegionError, match="top of at least 1"):
        GroundingDINO(str(dino_folder), top=0)
    with pytest.raises(RegionError, match="threshold"):
        GroundingDINO(str(dino_folder), threshold=2)
    with pytest.raises(RegionError, match="device 'tpu'"):
        GroundingDINO(str(dino_folder), device="tpu")
    with pytest.raises(RegionError, match="malformed"):
        parse_regions("grounding_dino:20")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(RegionError, match="cannot be loaded"):
        GroundingDINO(str(tmp_path))


def test_grounding_dino_with_weights_that_are_not_all_there(tmp_path, dino_folder):
    shutil.copytree(dino_folder, tmp_path / "dino")
    path = tmp_path / "dino" / "model.safetensors"
    part = {key: value for key, value in load_file(path).items() if "encoder" not in key}
    save_file(part, path, metadata={"format": "pt"})
    with pytest.raises(RegionError, match=r"do not hold \d+ parts of the network .*stay random"):
        GroundingDINO(str(tmp_path / "dino"), device="cpu")
