"""Encoders from timm: ``timm:<model>[.<tag>][?pool=…][/<checkpoint file>]``, or a hub name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from patchrerank.encoders.checkpoints import load_strictly, read_checkpoint
from patchrerank.encoders.complete_weights import complete_weights
from patchrerank.encoders.local_folders import check_folder
from patchrerank.encoders.network import Network, Request, fixed_seed, hash_weights
from patchrerank.encoders.preprocessing import Preprocessing
from patchrerank.encoders.quick_gelu import native_timm
from patchrerank.encoders.spec_names import (
    LOCAL,
    check_file,
    from_hub,
    known_interpolation,
    shown,
    split_file,
    split_pool,
)
from patchrerank.encoders.timm_pooling import pooling_of, set_pooling
from patchrerank.errors import EncoderError, near_matches, short_reason
from patchrerank.hub_access import FETCH, bounded_hub

if TYPE_CHECKING:
    import torch


def load_timm(request: Request) -> Network:
    """Return a timm model without its classifier; the descriptor is its pooled feature.

    The preprocessing is the model's own data configuration (size, mean, std, interpolation).
    Another image size is set with ``set_input_size`` where a model has it (transformers); a
    convolutional network takes it as it is. Without ``?pool=`` the pooling is timm's own for that
    model (see :func:`patchrerank.encoders.timm_pooling.set_pooling`). CLIP weights that were
    trained with QuickGELU get it, under either of the two names that timm has for them.

    Raises:
        EncoderError: unknown model or tag, a file that does not fit, weights that cannot be
            fetched or are not all there, an image size or a pooling that the model refuses.
    """
    name, file = split_file(request.name)
    name, pool = split_pool(name)
    fetch = request.pretrained and file is None
    if not from_hub(name):
        _check_name(name, fetch=fetch)
        name = native_timm(name) if fetch or (file is not None and "." in name) else name
    elif fetch:
        check_folder(name)
    model = _create(name, fetch=fetch)
    if file is not None:
        check_file(file, f"timm:{name}")
        load_strictly(model, _without_classifier(model, read_checkpoint(file)), origin=file)
    own = set_pooling(model, pool, name)
    preprocessing = _preprocessing(model, request)
    _set_size(model, preprocessing.image_size, name)
    return Network(
        architecture=f"timm:{model.pretrained_cfg.get('architecture') or name.partition('.')[0]}",
        module=model.eval(),
        preprocessing=preprocessing,
        weights=hash_weights(model.state_dict()),
        pooling=pooling_of(model),
        own_pooling=own,
    )


def _check_name(name: str, *, fetch: bool) -> None:
    import timm
    from timm.models import is_model_pretrained

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise EncoderError(
            f"timm {timm.__version__} has no model {shown(architecture)}"
            f"{near_matches(architecture, timm.list_models())}"
        )
    tagged = timm.list_models(f"{architecture}.*", pretrained=True)
    if tag and name not in tagged:
        raise EncoderError(
            f"timm's {architecture} has no weights tagged {shown(tag)}; "
            f"there are: {', '.join(tagged) or 'none'}"
        )
    if fetch and not is_model_pretrained(name):
        raise EncoderError(
            f"timm publishes no weights for {name!r}; give a file (timm:{architecture}/<file>) or "
            "pretrained=False for random weights"
        )


def _create(name: str, *, fetch: bool) -> Any:
    import timm

    online = not name.startswith(LOCAL) and (fetch or from_hub(name))
    try:
        with fixed_seed(), complete_weights(f"timm:{name}"), bounded_hub(online):
            return timm.create_model(name, pretrained=fetch, num_classes=0)
    except EncoderError:
        raise
    except Exception as error:
        if not online:
            raise EncoderError(f"timm cannot build {name!r}: {short_reason(error)}") from error
        raise EncoderError(
            f"could not fetch {_source(name)} for timm:{name} ({short_reason(error)}); "
            f"{FETCH.format('timm:<model>/<file>')}"
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
