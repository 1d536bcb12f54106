"""The pixels that reach the network of every preset, for a picture that is not square."""

from __future__ import annotations

import numpy as np
import open_clip.factory
import pytest
import timm
import torch
from PIL import Image
from timm.models import get_pretrained_cfg

from patchrerank.encoders import PRESETS, load_encoder

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
AS_THEY_ARE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)

EXPECTED = {
    "efficientnet_lite0": (224, LITE, "area"),
    "vgg16": (224, IMAGENET, "bilinear"),
    "resnet101": (224, IMAGENET, "bilinear"),
    "inception_v4": (299, HALF, "bicubic"),
    "convnext_base_in1k": (224, IMAGENET, "bicubic"),
    "dinov2_large": (518, IMAGENET, "bicubic"),
    "openclip_vit_l14": (224, OPENAI, "bicubic"),
    "convnext_large_laion2b": (256, OPENAI, "bicubic"),
    "siglip_large_384": (384, HALF, "bicubic"),
    "siglip2_base_256": (256, HALF, "bicubic"),
    "siglip2_large_384": (384, HALF, "bicubic"),
    "siglip2_so400m_384": (384, HALF, "bicubic"),
    "siglip2_base_512": (512, HALF, "bicubic"),
    "siglip2_large_512": (512, HALF, "bicubic"),
    "siglip2_so400m_512": (512, HALF, "bicubic"),
    "dinov3_vit_small": (256, IMAGENET, "bicubic"),
    "dinov3_vit_base": (256, IMAGENET, "bicubic"),
    "dinov3_vit_large": (256, IMAGENET, "bicubic"),
    "dinov3_convnext_tiny": (224, IMAGENET, "bicubic"),
    "dinov3_convnext_base": (224, IMAGENET, "bicubic"),
    "tipsv2_base": (448, AS_THEY_ARE, "bicubic"),
    "tipsv2_large": (448, AS_THEY_ARE, "bicubic"),
    "tipsv2_so400m": (448, AS_THEY_ARE, "bicubic"),
    "cradiov4_so400m": (512, OPENAI, "bicubic"),
    "cradiov4_huge": (512, OPENAI, "bicubic"),
    "pe_spatial_base": (512, HALF, "bicubic"),
    "pe_spatial_large": (448, HALF, "bicubic"),
    "pe_core_base": (224, HALF, "bilinear"),
    "pe_core_large_336": (336, HALF, "bilinear"),
    "mobileclip2_s2": (256, AS_THEY_ARE, "bilinear"),
}
"""Side, (mean, std) and filter that each was published with; every picture is squashed."""


class Seen(torch.nn.Module):
    """Stands where the network would, and keeps what it is given."""

    def __init__(self, *_: object, **settings) -> None:
        super().__init__()
        self.pixels: list[torch.Tensor] = []
        self.logit_scale, self.logit_bias = torch.nn.Parameter(torch.ones([])), None
        if "vision_cfg" in settings:  # as a whole CLIP model, its image tower is what sees
            self.visual = Seen()
            self.visual.image_size = settings["vision_cfg"].get("image_size", 224)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.pixels.append(pixels)
        return pixels.mean(dim=(2, 3)) + 1.0

    def extract_features(self, pixels: torch.Tensor) -> torch.Tensor:
        self.pixels.append(pixels)
        return pixels + 1.0

    def reset_classifier(self, num_classes: int, global_pool: str) -> None:
        self.global_pool = global_pool


def timm_stand_in(name: str, **_: object) -> Seen:
    network = Seen()
    network.pretrained_cfg = get_pretrained_cfg(name).to_dict()
    return network


@pytest.fixture
def networks(monkeypatch) -> None:
    """No network is built: what the libraries say about it is theirs, the rest is a stand-in."""
    monkeypatch.setattr(timm, "create_model", timm_stand_in)
    for kind in ("CLIP", "CustomTextCLIP", "CoCa"):
        monkeypatch.setattr(open_clip.factory, kind, Seen)
    import efficientnet_lite_pytorch

    monkeypatch.setattr("patchrerank.encoders.folding.fold_efficientnet", lambda network: None)
    monkeypatch.setattr(efficientnet_lite_pytorch.EfficientNet, "from_name", lambda *a, **k: Seen())


def picture(width: int = 150, height: int = 90) -> np.ndarray:
    """Another in every direction and channel, and rough: crops, turns and filters would show."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = [across / width, down / height, (across + 2 * down) / (width + 2 * height)]
    waves = 0.1 * np.sin(across / 5) * np.cos(down / 7)
    rough = np.random.default_rng(0).uniform(-0.1, 0.1, (height, width, 3))
    shades = np.stack(channels, axis=2) * 0.6 + 0.2 + waves[..., None] + rough
    return (shades.clip(0, 1) * 255).astype(np.uint8)


def squashed(pixels: np.ndarray, side: int, filter_: str) -> np.ndarray:
    if filter_ == "area":  # both sides grow: bilinear
        filter_ = "bilinear"
    how = Image.Resampling[filter_.upper()]
    return np.asarray(Image.fromarray(pixels).resize((side, side), how))


def test_every_preset_is_here():
    assert EXPECTED.keys() == PRESETS.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_network_sees_the_whole_picture_squashed_and_normalised(networks, name):
    side, (mean, std), filter_ = EXPECTED[name]
    pixels = picture()
    encoder = load_encoder(name, pretrained=False, backend="eager", device="cpu")
    encoder.encode_images([Image.fromarray(pixels)])
    module = encoder.backend._module
    seen = [part for part in module.modules() if isinstance(part, Seen) and part.pixels][-1]
    expected = (squashed(pixels, side, filter_) / 255.0 - np.array(mean)) / np.array(std)
    found = seen.pixels[-1][0].permute(1, 2, 0).numpy()
    assert found.shape == (side, side, 3)
    steps = 1e-4 if filter_ == "bicubic" else 1.01  # our bilinear rounds otherwise than Pillow's
    np.testing.assert_allclose(found, expected, atol=steps / 255 / min(std))
