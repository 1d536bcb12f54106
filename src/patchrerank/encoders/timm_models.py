"""Encoders from timm: ``timm:<model>[.<tag>][/<checkpoint file>]``, or a hub name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from patchrerank.encoders.checkpoints import load_strictly, read_checkpoint
from patchrerank.encoders.network import Network, Request, fixed_seed, hash_weights
from patchrerank.encoders.preprocessing import Preprocessing
from patchrerank.encoders.spec_names import from_hub, known_interpolation, split_file
from patchrerank.errors import EncoderError, near_matches

if TYPE_CHECKING:
    import torch


def load_timm(request: Request) -> Network:
    """Return a timm model without its classifier; the descriptor is its pooled feature.

    The preprocessing is the model's own data configuration (size, mean, std, interpolation).
    Another image size is set with ``set_input_size`` where a model has it (transformers); a
    convolutional network takes it as it is.

    Raises:
        EncoderError: unknown model or tag, a file that does not fit, weights that cannot be
            fetched, an image size that the model refuses.
    """
    name, file = split_file(request.name)
    fetch = request.pretrained and file is None
    if not from_hub(name):
        _check_name(name, fetch=fetch)
    model = _create(name, fetch=fetch)
    if file is not None:
        load_strictly(model, _without_classifier(model, read_checkpoint(file)), origin=file)
    preprocessing = _preprocessing(model, request)
    _set_size(model, preprocessing.image_size, name)
    return Network(
        architecture=f"timm:{model.pretrained_cfg.get('architecture') or name.partition('.')[0]}",
        module=model.eval(),
        preprocessing=preprocessing,
        weights=hash_weights(model.state_dict()),
    )


def _check_name(name: str, *, fetch: bool) -> None:
    import timm
    from timm.models import is_model_pretrained

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise EncoderError(
            f"timm has no model {architecture!r}{near_matches(architecture, timm.list_models())}"
        )
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        raise EncoderError(
            f"timm's {architecture} has no weights tagged {tag!r}; "
            f"there are: {', '.join(tagged) or 'none'}"
        )
    if fetch and not is_model_pretrained(name):
        raise EncoderError(
            f"timm publishes no weights for {name!r}; give a file (timm:{architecture}/<file>) or "
            "pretrained=False for random weights"
        )


def _create(name: str, *, fetch: bool) -> Any:
    import timm

    try:
        with fixed_seed():
            return timm.create_model(name, pretrained=fetch, num_classes=0)
    except Exception as error:
        if not fetch and not from_hub(name):
            raise EncoderError(f"timm cannot build {name!r}: {error}") from error
        raise EncoderError(
            f"could not fetch {_source(name)} for timm:{name} ({type(error).__name__}: {error}); "
            "check the connection, or give a local file: timm:<model>/<file>"
        ) from error


def _source(name: str) -> str:
    from timm.models import get_pretrained_cfg

    if from_hub(name):
        return name
    config = get_pretrained_cfg(name)
    return str((config and (config.hf_hub_id or config.url or config.file)) or "the weights")


def _without_classifier(model: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return ``state`` without the classifier's tensors, which the model no longer has."""
    classifier = model.pretrained_cfg.get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    prefixes = tuple(f"{name}." for name in names)
    expected = model.state_dict()
    return {k: v for k, v in state.items() if k in expected or not k.startswith(prefixes)}


def _preprocessing(model: Any, request: Request) -> Preprocessing:
    from timm.data import resolve_model_data_config

    if request.preprocessing is not None:
        return request.preprocessing
    config = resolve_model_data_config(model)
    return Preprocessing(
        image_size=request.image_size or tuple(config["input_size"][1:]),
        mean=config["mean"],
        std=config["std"],
        interpolation=known_interpolation(config["interpolation"]),
    )


def _set_size(model: Any, size: tuple[int, int], name: str) -> None:
    native = tuple(model.pretrained_cfg["input_size"][1:])
    if size == native or not hasattr(model, "set_input_size"):
        return
    try:
        model.set_input_size(img_size=size)
    except Exception as error:
        raise EncoderError(
            f"timm:{name} refuses images of {size[0]} × {size[1]} pixels (its own size is "
            f"{native[0]} × {native[1]}): {error}"
        ) from error
