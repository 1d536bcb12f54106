"""Grounding DINO: proposals for whatever a prompt names."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from patchrerank.boxes import Floats
from patchrerank.errors import MissingExtraError, RegionError
from patchrerank.hub_access import bounded_hub
from patchrerank.regions.base import MOST_REGIONS, check_count
from patchrerank.regions.proposals import Proposals, suppress

if TYPE_CHECKING:
    import torch
    from PIL import Image

HUB = "hf-hub:"
OVERLAP = 0.8
"""The most that two kept boxes may overlap: many of the network's queries find the same thing."""


class GroundingDINO(Proposals):
    """The whole image and up to ``top`` boxes of Grounding DINO.

    Source: Liu et al., Grounding DINO (ECCV 2024); as region proposals: Patchify (WACV 2026),
    supplement, up to 20 boxes an image. A box's confidence is that of its best prompt token.

    Args:
        checkpoint: a folder with a checkpoint of transformers (``config.json``, the weights as
            safetensors, image processor and tokenizer), or a hub name whose files are in the
            local cache. ``hf-hub:<org>/<name>`` may be fetched over the network.
        prompt: what to look for, names parted by dots, such as ``a bottle. a logo.``; lower case.
        top: the most boxes beside the whole image, at least 1.
        threshold: the least confidence, in [0, 1].
        device: ``auto`` (CUDA, else the CPU), ``cpu``, ``cuda`` or ``cuda:<number>``.
        most: the most boxes allowed; None: no limit.

    Raises:
        RegionError: impossible settings, or a checkpoint that is absent or of another kind.
        MissingExtraError: transformers is not installed.
    """

    def __init__(
        self,
        checkpoint: str,
        prompt: str = "object.",
        top: int = 20,
        *,
        threshold: float = 0.1,
        device: str = "auto",
        most: int | None = MOST_REGIONS,
    ) -> None:
        if top < 1:
            raise RegionError(f"Grounding DINO needs a top of at least 1, got {top}")
        check_count(f"Grounding DINO with a top of {top}", [top], most)
        if not 0.0 <= threshold <= 1.0:
            raise RegionError(f"Grounding DINO's threshold must lie in [0, 1], got {threshold}")
        self.prompt = _as_prompt(prompt)
        self.top, self.threshold, self.checkpoint = top, threshold, checkpoint
        self._processor, model = _load(checkpoint)
        self._digest = _digest(model.state_dict())
        self._device = _choose(device)
        self._model = model.eval().requires_grad_(False).to(self._device)
        self._one_at_a_time = threading.Lock()

    def __reduce__(self) -> tuple[Callable[..., GroundingDINO], tuple[object, ...]]:
        folder = Path(self.checkpoint)
        checkpoint = str(folder.absolute()) if folder.is_dir() else self.checkpoint
        made = checkpoint, self.prompt, self.top, self.threshold, self._device
        return _loaded_again, (*made, self.checkpoint, self._digest)

    @property
    def spec(self) -> str:
        """``grounding_dino:top:prompt:checkpoint``, the threshold, and a digest of the weights."""
        made = f"grounding_dino:{self.top}:{self.prompt}:{self.checkpoint}"
        return f"{made} over {self.threshold:g} ({self._digest[:16]})"

    def propose(self, picture: Image.Image) -> Floats:
        """Return up to ``top`` relative boxes, most confident first (see ``Proposals``)."""
        import torch

        with self._one_at_a_time, torch.inference_mode():  # its tokenizer knows no threads
            inputs = self._processor(images=picture, text=self.prompt, return_tensors="pt")
            found = self._model(**inputs.to(self._device))
            scores = found.logits[0].float().sigmoid().amax(dim=-1).cpu().numpy()
            boxes = _corners(found.pred_boxes[0].float().cpu().numpy())
        order = np.argsort(-scores, kind="stable")
        usable = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (scores >= self.threshold)
        return suppress(boxes[order[usable[order]]], OVERLAP)[: self.top]


def _loaded_again(
    checkpoint: str,
    prompt: str,
    top: int,
    threshold: float,
    device: str,
    recorded: str,
    digest: str,
) -> GroundingDINO:
    """Load what was pickled; galleries go on recording the checkpoint as it was named first.

    Raises:
        RegionError: the weights there are others than when it was pickled.
    """
    how: dict[str, Any] = {"threshold": threshold, "device": device, "most": None}
    made = GroundingDINO(checkpoint, prompt, top, **how)
    if made._digest != digest:
        raise RegionError(
            f"Grounding DINO: the weights in {checkpoint!r} are others than when it was pickled "
            f"(then {digest[:12]}…, now {made._digest[:12]}…)"
        )
    made.checkpoint = recorded
    return made


def _as_prompt(prompt: str) -> str:
    text = " ".join(prompt.lower().split())
    if not text.strip(". "):
        raise RegionError("Grounding DINO needs a prompt, such as 'a bottle. a logo.'")
    return text if text.endswith(".") else f"{text}."


def _load(checkpoint: str) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "Grounding DINO needs the package transformers; install it with: "
            'pip install "patchrerank[proposals]"'
        ) from error
    name, local = checkpoint.removeprefix(HUB), not checkpoint.startswith(HUB)
    how: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    try:
        with bounded_hub(not local):
            config = transformers.GroundingDinoConfig.from_pretrained(name, **how)
            processor = transformers.GroundingDinoProcessor.from_pretrained(name, **how)
            network: Any = transformers.GroundingDinoForObjectDetection
            how |= {"config": config, "use_safetensors": True, "output_loading_info": True}
            model, loaded = network.from_pretrained(name, **how)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        remedy = (
            f"give a folder, or {HUB}{name} to fetch it"
            if local
            else "check the connection, or give a folder"
        )
        raise RegionError(
            f"Grounding DINO cannot be loaded from {name!r} ({text}); {remedy}"
        ) from error
    _check_complete(name, loaded)
    return processor, model


def _check_complete(name: str, loaded: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that left parts of the network at random, of which transformers warns.

    Raises:
        RegionError: names the first such part.
    """
    absent = sorted(map(str, [*loaded["missing_keys"], *loaded["mismatched_keys"]]))
    if absent:
        raise RegionError(
            f"Grounding DINO: the weights in {name!r} do not hold {len(absent)} parts of the "
            f"network ({absent[0]} …), which would stay random; were they saved from another model?"
        )


def _choose(device: str) -> str:
    import torch

    cuda = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if cuda else "cpu"
    if device != "cpu" and not (device.partition(":")[0] == "cuda" and cuda):
        raise RegionError(f"device {device!r} is unknown or not there; use auto, cpu or cuda")
    return device


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _corners(boxes: Floats) -> Floats:
    """Return boxes given by centre and size as corners, cut to the image."""
    half = boxes[:, 2:] / 2
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return np.asarray(corners.clip(0.0, 1.0), dtype=np.float32)
