"""Encoders carried to another process: as their spec, back end and digest, and loaded again there.

What runs a network (OpenVINO, ONNX Runtime, compiled code) cannot be carried, and weights that lie
in a file need not be. The digest says whether the other process found the same ones.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from patchrerank.encoders.spec_names import LOCAL, split_file
from patchrerank.errors import EncoderError, short_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from patchrerank.encoders.base import Encoder
    from patchrerank.encoders.dense_encoder import DenseEncoder
    from patchrerank.encoders.one_pass import OnePassEncoder
    from patchrerank.encoders.preprocessing import Preprocessing
    from patchrerank.encoders.views import OnePass

Remade = tuple["Callable[..., Any]", tuple[Any, ...]]
"""What ``__reduce__`` returns: a function, and what to call it with."""


class Unchanging:
    """An object that does not change when it is used: a copy of it, deep or not, is itself."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


@dataclass(frozen=True)
class EncoderRecipe:
    """An encoder as what it is loaded from; its files by absolute path.

    Attributes:
        spec: see :func:`patchrerank.encoders.load_encoder`, as all but the last two.
        weights: sha256 (hex) of its weights.
        fingerprint: its identity.
    """

    spec: str
    preprocessing: Preprocessing
    device: str
    precision: str
    batch_size: int
    pretrained: bool
    backend: str
    weights: str
    fingerprint: str

    @classmethod
    def of(cls, encoder: Encoder) -> EncoderRecipe:
        """Return an encoder's recipe; one made from a torch module has none."""
        return cls(
            spec=absolute_spec(encoder.spec),
            preprocessing=encoder.preprocessing,
            device=encoder.device,
            precision=encoder.precision,
            batch_size=encoder.batch_size,
            pretrained=encoder.pretrained,
            backend=encoder.backend.name,
            weights=encoder.weights,
            fingerprint=encoder.fingerprint,
        )

    def open(self) -> Encoder:
        """Load the encoder.

        Raises:
            EncoderError: it cannot be loaded here, or is another one than that of the recipe.
        """
        from patchrerank.encoders.loading import load_encoder

        encoder = load_encoder(
            self.spec,
            preprocessing=self.preprocessing,
            device=self.device,
            precision=self.precision,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            pretrained=self.pretrained,
            backend=self.backend,
        )
        check_same(
            self.spec, (self.fingerprint, encoder.fingerprint), (self.weights, encoder.weights)
        )
        return encoder


def reduce_encoder(encoder: Encoder) -> Remade:
    """Return how an encoder is made again: from its recipe, or from its torch module by value.

    Raises:
        EncoderError: it was made from a module that cannot be pickled, or does not run in torch.
    """
    from patchrerank.encoders.base import Encoder

    if type(encoder) is not Encoder:
        raise EncoderError(f"a {type(encoder).__name__} cannot be pickled; pickle what it wraps")
    if not from_module(encoder):
        return EncoderRecipe.of(encoder).open, ()
    if encoder.backend.name != "eager":
        raise EncoderError(
            f"{encoder!r} was made from a torch module and runs in {encoder.backend.name}, which "
            "cannot be pickled; load it with backend='eager'"
        )
    return _unpickled, (type(encoder), pickled(vars(encoder), encoder.spec))


def reduce_one_pass(encoder: OnePassEncoder) -> Remade:
    """Return how a one-pass encoder is made again: its crop encoder's recipe, and its views.

    Raises:
        EncoderError: its crop encoder was made from a torch module.
    """
    if from_module(encoder):
        raise EncoderError(
            f"{encoder!r} was made from torch modules and cannot be pickled; pickle the modules, "
            "and call load_one_pass where it is needed"
        )
    return _open_one_pass, (EncoderRecipe.of(encoder), encoder.settings)


def absolute_spec(spec: str) -> str:
    """Return a spec whose file or folder, if it has one, is named by its absolute path."""
    prefix, colon, rest = spec.partition(":")
    if rest.startswith(LOCAL):
        return f"{prefix}:{LOCAL}{Path(rest.removeprefix(LOCAL)).absolute()}"
    model, file = split_file(rest)
    if not colon or file is None or not Path(file).is_file():
        return spec
    return f"{prefix}:{model}/{Path(file).absolute()}"


def _open_one_pass(recipe: EncoderRecipe, settings: OnePass) -> OnePassEncoder:
    from patchrerank.encoders.one_pass_loading import load_one_pass

    return load_one_pass(recipe.open(), settings)


def from_module(encoder: Encoder | DenseEncoder) -> bool:
    """Return whether an encoder was made from a torch module, so that no spec names it."""
    return encoder.architecture.startswith("module:")


def pickled(content: object, spec: str) -> bytes:
    """Return what an encoder made from a torch module is carried as.

    Raises:
        EncoderError: the module cannot be pickled; says what to do.
    """
    try:
        return pickle.dumps(content)
    except Exception as error:
        raise EncoderError(
            f"{spec} was made from a torch module that cannot be pickled ({short_reason(error)}); "
            "define its classes and functions at the top level of an importable module"
        ) from error


def _unpickled(kind: type[Encoder], content: bytes) -> Encoder:
    encoder = kind.__new__(kind)
    vars(encoder).update(pickle.loads(content))
    return encoder


def check_same(spec: str, identities: tuple[str, str], weights: tuple[str, str]) -> None:
    """Compare what was pickled with what was loaded.

    Raises:
        EncoderError: they differ.
    """
    if identities[0] == identities[1]:
        return
    then, now = (digest[:12] for digest in (weights if weights[0] != weights[1] else identities))
    what = "weights" if weights[0] != weights[1] else "network or its settings"
    raise EncoderError(
        f"{spec}: the {what} are others than when this encoder was pickled (then {then}…, now "
        f"{now}…); restore the file, or use the versions of timm and open_clip it was loaded with"
    )
