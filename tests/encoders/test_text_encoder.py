from __future__ import annotations

import json
import logging
import pickle

import numpy as np
import open_clip
import open_clip.factory
import pytest
import torch
from safetensors.torch import save_file

from patchrerank.encoders import Preprocessing, encode_texts, load_encoder
from patchrerank.errors import EncoderError, QueryError, SettingError, VectorError
from patchrerank.types import Text

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
MODELS = {
    "plain": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "custom": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT, "custom_text": True},
    "coca": {
        "embed_dim": 24,
        "vision_cfg": {**VISION, "attentional_pool": True, "output_tokens": True},
        "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**TEXT, "attn_pooler_heads": 2},
        "custom_text": True,
    },
}


def write_model(folder, config, seed=3):
    """A folder as ``local-dir:`` wants it: the configuration, and weights of both towers."""
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    torch.manual_seed(seed)
    with_weights = open_clip.create_model(f"local-dir:{folder}", load_weights=False).eval()
    state = {name: value.contiguous().clone() for name, value in with_weights.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return with_weights


def load(folder, **settings):
    return load_encoder(f"open_clip:local-dir:{folder}", device="cpu", backend="eager", **settings)


def expected(model, folder, prompts):
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(prompts)
    with torch.inference_mode():
        found = model.encode_text(tokens).numpy()
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", MODELS)
def test_words_become_what_the_models_own_text_tower_makes_of_them(tmp_path, kind):
    model = write_model(tmp_path / kind, MODELS[kind])
    encoder = load(tmp_path / kind)
    found = encode_texts(encoder, [Text("a cat"), Text("  a red mug ")])
    np.testing.assert_allclose(
        found, expected(model, tmp_path / kind, ["a cat", "a red mug"]), atol=1e-6
    )
    assert found.dtype == np.float32 and found.shape == (2, encoder.dim)


def test_the_vectors_of_several_templates_are_averaged(tmp_path):
    model = write_model(tmp_path / "m", MODELS["plain"])
    found = encode_texts(load(tmp_path / "m"), [Text("mug", ["a photo of {}", "{}, small"])])
    mean = expected(model, tmp_path / "m", ["a photo of mug", "mug, small"]).mean(axis=0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_batch_is_its_queries_one_by_one(tmp_path):
    write_model(tmp_path / "m", MODELS["plain"])
    encoder = load(tmp_path / "m")
    texts = [Text(f"thing number {n}", ["{}", "my {}"][: 1 + n % 2]) for n in range(70)]
    together = encode_texts(encoder, texts)
    alone = np.concatenate([encode_texts(encoder, [text]) for text in texts[:5]])
    np.testing.assert_allclose(together[:5], alone, atol=1e-6)
    assert encode_texts(encoder, []).shape == (0, 24)


def test_a_pickled_encoder_takes_words_too(tmp_path):
    write_model(tmp_path / "m", MODELS["plain"])
    encoder = load(tmp_path / "m")
    before = encode_texts(encoder, [Text("a cat")])
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(encode_texts(again, [Text("a cat")]), before)


def test_words_that_are_not_read_are_named(tmp_path, caplog):
    write_model(tmp_path / "m", MODELS["plain"])
    with caplog.at_level(logging.WARNING):
        encode_texts(load(tmp_path / "m"), [Text("one two three four five six seven")])
    assert "reads 8 tokens" in caplog.text and "has 9" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        encode_texts(load(tmp_path / "m"), [Text("one two three four five six")])
    assert "tokens" not in caplog.text


def test_weights_that_changed_behind_the_image_tower_are_refused(tmp_path):
    write_model(tmp_path / "m", MODELS["plain"])
    encoder = load(tmp_path / "m")
    write_model(tmp_path / "other", MODELS["plain"], seed=4)
    (tmp_path / "other/open_clip_model.safetensors").replace(
        tmp_path / "m/open_clip_model.safetensors"
    )
    with pytest.raises(EncoderError, match="others than when the image tower was loaded"):
        encode_texts(encoder, [Text("a cat")])


def test_vocabularies_are_not_fetched_for_random_weights(tmp_path, monkeypatch):
    known = open_clip.factory
    for name in ("_MODEL_CONFIGS", "_MODEL_CONFIG_PATHS"):
        monkeypatch.setattr(known, name, type(getattr(known, name))(getattr(known, name)))
    foreign = {**MODELS["plain"], "text_cfg": {**TEXT, "hf_tokenizer_name": "somebody/words"}}
    (tmp_path / "foreign.json").write_text(json.dumps(foreign))
    open_clip.add_model_config(tmp_path)
    encoder = load_encoder(
        "open_clip:foreign", device="cpu", backend="eager", pretrained=False, image_size=32
    )
    with pytest.raises(EncoderError, match="vocabulary lies on the hub, and nothing is fetched"):
        encode_texts(encoder, [Text("a cat")])


def test_an_encoder_without_a_text_tower_says_so():
    encoder = load_encoder("timm:test_resnet", device="cpu", backend="eager", pretrained=False)
    with pytest.raises(EncoderError, match="timm:test_resnet has no text tower"):
        encode_texts(encoder, [Text("a cat")])


class Mean(torch.nn.Module):
    """The mean colour of a picture."""

    def forward(self, pixels):
        return pixels.mean((2, 3))


def colour(prompts):
    known = {"red": (1, 0, 0), "green": (0, 1, 0), "nothing": (0, 0, 0)}
    return np.array([known[prompt.split()[-1]] for prompt in prompts], dtype=np.float32)


def of_module(text):
    plain = Preprocessing(image_size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))
    return load_encoder(Mean(), preprocessing=plain, device="cpu", text=text)


def test_a_module_may_bring_a_text_tower():
    encoder = of_module(colour)
    texts = [Text("green"), Text("red", ["something {}"])]
    np.testing.assert_array_equal(encode_texts(encoder, texts), [[0, 1, 0], [1, 0, 0]])
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(encode_texts(again, texts), [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("tower", "error", "message"),
    [
        (lambda prompts: np.ones((len(prompts), 2)), EncoderError, r"returned \(1, 2\) for 1"),
        (lambda prompts: {}["x"], EncoderError, "cannot encode 'red'"),
        (lambda prompts: np.zeros((len(prompts), 3)), VectorError, "text tower of module:Mean"),
    ],
)
def test_a_text_tower_that_does_not_fit_is_named(tower, error, message):
    with pytest.raises(error, match=message):
        encode_texts(of_module(tower), [Text("red")])


def test_text_belongs_to_a_module():
    with pytest.raises(EncoderError, match="text= belongs to a torch module"):
        load_encoder("timm:test_resnet", pretrained=False, text=colour)


@pytest.mark.parametrize("words", ["", "   ", None, 3])
def test_a_query_needs_words(words):
    with pytest.raises(QueryError, match="needs some"):
        Text(words)


@pytest.mark.parametrize("templates", ["a photo of {}", [], ["a photo"], ["{} and {}"], [3], None])
def test_a_template_holds_the_words_once(templates):
    with pytest.raises(SettingError, match=r"\{\}"):
        Text("a cat", templates)


def test_braces_in_words_stay_what_they_are():
    assert Text("a {} cat", ["see {}!"]).prompts == ["see a {} cat!"]
