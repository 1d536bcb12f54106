"""How a timm model makes one vector of its last map or tokens, and making it do so otherwise."""

from __future__ import annotations

import logging
from typing import Any

from patchrerank.errors import EncoderError

CLASS_TOKEN_UPSTREAM = ("_dinov3", "sapiens2")
"""Parts of names of models that timm lets average their tokens, and their authors do not."""

logger = logging.getLogger(__name__)


def pooling_of(model: Any) -> str | None:
    """Return a model's pooling, such as ``token``, ``avg``, ``map``; None if it does not say."""
    for owner in (model, getattr(model, "head", None)):
        pool = getattr(owner, "global_pool", None)
        kind = pool if isinstance(pool, str) else getattr(pool, "pool_type", None)
        if kind:
            return str(kind)
    return None


def set_pooling(model: Any, pool: str | None, name: str) -> str | None:
    """Let a loaded model pool as asked; returns what its own pooling was.

    The final norm stays where the weights have it: ``token`` is the class token behind the norm,
    ``avg`` the mean of the patch tokens (class and register tokens do not count, but in the few
    models that always pool over them) behind the norm, or, where a model's own pooling is
    ``avg``, as that model does it.

    Args:
        model: as timm made it, with its weights, without a classifier.
        pool: one of ``POOLS``, or None for the model's own.
        name: the model's, for messages.

    Raises:
        EncoderError: the network has no class token, or no attention pooling, or only one way.
    """
    own = pooling_of(model)
    if pool is None and own == "avg" and any(part in name for part in CLASS_TOKEN_UPSTREAM):
        logger.warning(
            "timm:%s returns the mean of its patch tokens, timm's choice; its authors take the "
            "class token: ?pool=token (?pool=avg behind the model says that the mean is meant)",
            name,
        )
    if pool is None or pool == own:
        return own
    if pool == "map":
        raise _impossible(name, pool, own, "it has no weights for attention pooling")
    try:
        model.reset_classifier(0, global_pool=pool)
    except Exception as error:
        raise _impossible(name, pool, own, " ".join(str(error).split())) from error
    if pooling_of(model) != pool:
        raise _impossible(name, pool, own, "it pools in one way only")
    return own


def _impossible(name: str, pool: str, own: str | None, reason: str) -> EncoderError:
    return EncoderError(
        f"timm:{name} cannot pool by {pool!r} ({reason}); leave ?pool= out for its own"
        f"{f', {own!r}' if own else ''}"
    )
