"""The text tower of an OpenCLIP model, with the model's own tokeniser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from patchrerank.encoders.network import hash_weights
from patchrerank.encoders.spec_names import LOCAL, from_hub
from patchrerank.errors import EncoderError, short_reason
from patchrerank.hub_access import FETCH, bounded_hub
from patchrerank.types import Floats

if TYPE_CHECKING:
    from patchrerank.encoders.text_encoder import TextTower

logger = logging.getLogger(__name__)


class OpenClipText:
    """Prompts in, float32 vectors out, on the CPU; loaded from the weights of the image tower.

    A prompt that is longer than the model's context is cut by the tokeniser; a warning says so.
    """

    def __init__(self, name: str, model: Any, tokeniser: Any) -> None:
        self.name, self._model, self._tokeniser = name, model, tokeniser

    def __call__(self, prompts: Sequence[str]) -> Floats:
        """Return float32 ``(n, d)``."""
        import torch

        tokens = self._tokeniser(list(prompts))
        self._warn_of_length(prompts, tokens.shape[1])
        with torch.inference_mode():
            found: Floats = self._model.encode_text(tokens).float().numpy()
        return found

    def _warn_of_length(self, prompts: Sequence[str], context: int) -> None:
        for prompt in prompts:
            length = _length(self._tokeniser, prompt)
            if length > context:
                logger.warning(
                    "%s reads %d tokens of a prompt; %r has %d, and what is behind them is not "
                    "read: shorten it",
                    self.name,
                    context,
                    prompt[:60],
                    length,
                )


def load_open_clip_text(
    name: str, create: Callable[[], Any], weights: str, *, online: bool
) -> TextTower:
    """Return the text tower that belongs to an image tower.

    Args:
        name: of the model.
        create: makes the model again, as it was made for the image tower.
        weights: sha256 of the image tower, as :func:`hash_weights` gives it.
        online: whether the tokeniser's vocabulary may be fetched from the hub.

    Raises:
        EncoderError: the weights changed meanwhile, or there is no tokeniser.
    """
    model = create().eval()
    if hash_weights(model.visual.state_dict()) != weights:
        raise EncoderError(
            f"open_clip:{name}: the weights are others than when the image tower was loaded, so "
            "its words would not live among its pictures; load the encoder again"
        )
    model.visual = None  # only the words are wanted
    return OpenClipText(name, model, _tokeniser(name, online=online))


def _tokeniser(name: str, *, online: bool) -> Any:
    """Return a model's tokeniser; CLIP's own lies in open_clip, others come from the hub."""
    import open_clip

    fetched = not name.startswith(LOCAL) and _is_fetched(name)
    if fetched and not online:
        raise EncoderError(
            f"open_clip:{name}: its tokeniser's vocabulary lies on the hub, and nothing is fetched "
            "for random weights; use a model with CLIP's own tokeniser, such as ViT-B-32, or "
            "local-dir:<folder> with the tokeniser's files"
        )
    try:
        with bounded_hub(fetched):
            return open_clip.get_tokenizer(name)
    except Exception as error:
        raise EncoderError(
            f"the tokeniser of open_clip:{name} cannot be loaded ({short_reason(error)}); it needs "
            f"the package transformers, and its files: {FETCH.format('local-dir:<folder>')}"
        ) from error


def _is_fetched(name: str) -> bool:
    import open_clip

    if from_hub(name):
        return True
    text = (open_clip.get_model_config(name) or {}).get("text_cfg") or {}
    return bool(text.get("hf_tokenizer_name")) or "siglip" in name.lower()


def _length(tokeniser: Any, prompt: str) -> int:
    """Return how many tokens a prompt has, its marks of beginning and end included."""
    if hasattr(tokeniser, "encode"):
        return len(tokeniser.encode(prompt)) + 2
    return len(tokeniser.tokenizer(prompt)["input_ids"])
