"""Encoders from OpenCLIP: ``open_clip:<model>/<tag or checkpoint file>``, or a hub name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from patchrerank.encoders.complete_weights import complete_weights
from patchrerank.encoders.local_folders import check_folder
from patchrerank.encoders.network import Network, Request, fixed_seed, hash_weights
from patchrerank.encoders.openclip_text import load_open_clip_text
from patchrerank.encoders.preprocessing import Preprocessing, check_image_size
from patchrerank.encoders.quick_gelu import native_open_clip
from patchrerank.encoders.spec_names import LOCAL, from_hub, known_interpolation, shown, split_file
from patchrerank.encoders.text_encoder import TextEncoder
from patchrerank.errors import EncoderError, near_matches
from patchrerank.hub_access import FETCH, bounded_hub

SHOWN = 400
"""How many characters of a library's message an error quotes."""


def load_open_clip(request: Request) -> Network:
    """Return the image tower of an OpenCLIP model; the descriptor is its image embedding.

    Size, mean, std and interpolation are those of the weights. A checkpoint file does not say
    them: where all published weights of its model agree, theirs are taken, else OpenCLIP's
    defaults (``preprocessing=`` overrides both). Weights that OpenCLIP lists as trained with
    QuickGELU run with it, under the name of the model with or without ``-quickgelu``; for a file,
    the model's name decides.

    Raises:
        EncoderError: unknown model or tag, no tag, a file that does not fit, weights that cannot
            be fetched or are not all there, an image size that the model refuses.
    """
    name, weights = split_file(request.name)
    if not from_hub(name):
        _check_name(name, weights, pretrained=request.pretrained)
        name = native_open_clip(name, weights) if request.pretrained else name
    elif request.pretrained:
        check_folder(name)
    model = _create(name, weights, request)
    pooling = _pooling(model.visual)
    digest = hash_weights(model.visual.state_dict())
    create = partial(_create, name, weights, request)
    return Network(
        architecture="open_clip:hub" if from_hub(name) else f"open_clip:{name}",
        module=_image_tower(model),
        preprocessing=request.preprocessing or _preprocessing(model),
        weights=digest,
        pooling=pooling,
        own_pooling=pooling,
        text=TextEncoder(
            partial(load_open_clip_text, name, create, digest, online=request.pretrained)
        ),
    )


def _check_name(name: str, weights: str | None, *, pretrained: bool) -> None:
    import open_clip

    if "?" in name:
        model, _, option = name.partition("?")
        raise EncoderError(
            f"open_clip:{model} pools as it was trained, ?{option} cannot change that; leave it out"
        )
    if name not in open_clip.list_models():
        raise EncoderError(
            f"open_clip has no model {shown(name)}{near_matches(name, open_clip.list_models())}"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    listed = f"its tags: {', '.join(tags) or 'none'}"
    if weights is None and pretrained:
        raise EncoderError(
            f"open_clip:{name} needs weights: open_clip:{name}/<tag or file> ({listed}); "
            "pretrained=False gives random ones"
        )
    if weights is not None and weights not in tags and not Path(weights).is_file():
        raise EncoderError(
            f"open_clip:{name} has no weights {shown(weights)}, and no such file exists "
            f"({listed}){near_matches(weights, tags)}"
        )


def _create(name: str, weights: str | None, request: Request) -> Any:
    import open_clip

    is_file = weights is not None and Path(weights).is_file()
    load = is_file or request.pretrained
    online = not name.startswith(LOCAL) and (from_hub(name) or (load and not is_file))
    try:
        with fixed_seed(), complete_weights(f"open_clip:{name}"), bounded_hub(online):
            return open_clip.create_model(
                name,
                pretrained=weights if load else None,
                load_weights=load,
                require_pretrained=load,
                force_image_size=_side_or_pair(request.image_size),
                force_preprocess_cfg=None if from_hub(name) else _published(name, weights),
                pretrained_text=False,
                weights_only=True,
            )
    except EncoderError:
        raise
    except Exception as error:
        raise _creation_error(name, weights, is_file, error) from error


def _side_or_pair(size: tuple[int, int] | None) -> int | tuple[int, int] | None:
    """Return a square size as one number, which is all that some towers take."""
    return size[0] if size is not None and size[0] == size[1] else size


def _creation_error(
    name: str, weights: str | None, is_file: bool, error: Exception
) -> EncoderError:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    reason = text if len(text) <= SHOWN else f"{text[:SHOWN]} …"
    if is_file:
        return EncoderError(f"{weights} does not fit open_clip:{name} ({reason})")
    if (weights is None and not from_hub(name)) or name.startswith(LOCAL):
        return EncoderError(f"open_clip cannot build {name} ({reason})")
    return EncoderError(
        f"could not fetch or load {f'the weights {weights!r} of ' if weights else ''}{name} "
        f"({reason}); {FETCH.format('open_clip:<model>/<file>')}"
    )


def _published(name: str, weights: str | None) -> dict[str, Any] | None:
    """Return the preprocessing on which the published weights (of that tag, or all) agree."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    wanted = [weights] if weights in tags else tags
    found = []
    for tag in wanted:
        config = open_clip.get_pretrained_cfg(name, tag) or {}
        found.append({key: config.get(key) for key in ("mean", "std", "interpolation")})
    if not found or any(other != found[0] for other in found):
        return None
    return {key: value for key, value in found[0].items() if value is not None}


def _pooling(tower: Any) -> str | None:
    """Return how a tower pools, by the names of ``?pool=`` where it is one of those."""
    from patchrerank.encoders.timm_pooling import pooling_of

    if getattr(tower, "attn_pool", None) is not None or hasattr(tower, "attnpool"):
        return "map"
    kind = getattr(tower, "pool_type", None) or pooling_of(getattr(tower, "trunk", None))
    return "token" if kind == "tok" else kind


def _image_tower(model: Any) -> Any:
    from patchrerank.encoders.towers import FirstOutput

    several = getattr(model.visual, "output_tokens", False)
    return (FirstOutput(model.visual) if several else model.visual).eval()


def _preprocessing(model: Any) -> Preprocessing:
    from open_clip import get_model_preprocess_cfg

    config = get_model_preprocess_cfg(model)
    size = config["size"]
    return Preprocessing(
        image_size=check_image_size(size if isinstance(size, int) else tuple(size)),
        mean=config["mean"],
        std=config["std"],
        interpolation=known_interpolation(config["interpolation"]),
    )
