"""CLIP weights trained with QuickGELU, and the models that compute it.

OpenAI's weights, MetaCLIP's, DFN's and some of LAION's were trained with QuickGELU. Both libraries
also list them under the model with plain GELU, which gives other vectors and at best a warning.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

QUICK = "quickgelu"
ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activation", "open_clip.transformer")

logger = logging.getLogger(__name__)


def native_open_clip(name: str, tag: str | None) -> str:
    """Return the open_clip model whose activation the weights of that tag were trained with."""
    import open_clip

    listed = tag in open_clip.list_pretrained_tags_by_model(name)
    config = (open_clip.get_pretrained_cfg(name, tag) or {}) if listed else {}
    own = open_clip.get_model_config(name) or {}
    twin = f"{name}-{QUICK}"
    if not config.get("quick_gelu") or own.get("quick_gelu") or twin not in open_clip.list_models():
        return name
    _tell(f"open_clip:{name}/{tag}", f"open_clip:{twin}/{tag}")
    return twin


def native_timm(name: str) -> str:
    """Return the timm model (with its tag) whose activation the weights were trained with."""
    import timm
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    architecture = name.partition(".")[0]
    twin = architecture.replace("_clip_", f"_clip_{QUICK}_")
    if not config or not config.hf_hub_id or twin == architecture:
        return name
    tagged = f"{twin}.{config.tag}"
    listed = tagged in timm.list_models(f"{twin}.*", pretrained=True)
    if not listed or get_pretrained_cfg(tagged).hf_hub_id != config.hf_hub_id:
        return name
    _tell(f"timm:{name}", f"timm:{tagged}")
    return tagged


def activation_of(module: nn.Module) -> str:
    """Return the kinds of activation among a network's layers, such as ``QuickGELU``, by name."""
    kinds = {
        type(part).__name__
        for part in module.modules()
        if type(part).__module__.startswith(ACTIVATIONS) and not list(part.children())
    }
    return ", ".join(sorted(kind for kind in kinds if "LU" in kind or "wish" in kind))


def _tell(asked: str, native: str) -> None:
    logger.warning("%s: these weights were trained with QuickGELU; taken as %s", asked, native)
