"""Encoders carried to another process: as the call that loads them, and loaded again there.

What runs a network (OpenVINO, ONNX Runtime, compiled code) cannot be carried, and weights that lie
in a file need not be. The digest says whether the other process found the same ones.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from patchrerank.encoders.spec_names import LOCAL, split_file
from patchrerank.errors import EncoderError, short_reason

Remade = tuple[Callable[..., Any], tuple[Any, ...]]
"""What ``__reduce__`` returns: a function, and what to call it with."""


class Unchanging:
    """An object that does not change when it is used: a copy of it, deep or not, is itself."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class Recorded(Protocol):
    """An encoder as far as it says what it is."""

    spec: str
    architecture: str
    weights: str
    fingerprint: str


Kind = TypeVar("Kind", bound=Recorded)


@dataclass(frozen=True)
class EncoderRecipe(Generic[Kind]):
    """An encoder as the call that loads it; its files by absolute path.

    Attributes:
        load: the function that loads it.
        source: what it loads: a spec, or the network of a torch module.
        settings: its keywords.
        spec: as recorded.
        weights: sha256 (hex) of its weights.
        fingerprint: its identity.
    """

    load: Callable[..., Kind]
    source: object
    settings: dict[str, Any]
    spec: str
    weights: str
    fingerprint: str

    @classmethod
    def of(
        cls,
        encoder: Kind,
        load: Callable[..., Kind],
        settings: dict[str, Any],
        source: object = None,
    ) -> EncoderRecipe[Kind]:
        """Return an encoder's recipe; what it is loaded from is its spec, unless it is given."""
        return cls(
            load=load,
            source=absolute_spec(encoder.spec) if source is None else source,
            settings=settings,
            spec=encoder.spec,
            weights=encoder.weights,
            fingerprint=encoder.fingerprint,
        )

    def open(self) -> Kind:
        """Load the encoder.

        Raises:
            EncoderError: it cannot be loaded here, or is another one than that of the recipe.
        """
        encoder = self.load(self.source, **self.settings)
        check_same(
            self.spec, (self.fingerprint, encoder.fingerprint), (self.weights, encoder.weights)
        )
        return encoder


def absolute_spec(spec: str) -> str:
    """Return a spec whose file or folder, if it has one, is named by its absolute path."""
    prefix, colon, rest = spec.partition(":")
    if rest.startswith(LOCAL):
        return f"{prefix}:{LOCAL}{Path(rest.removeprefix(LOCAL)).absolute()}"
    model, file = split_file(rest)
    if not colon or file is None or not Path(file).is_file():
        return spec
    return f"{prefix}:{model}/{Path(file).absolute()}"


def from_module(encoder: Recorded) -> bool:
    """Return whether an encoder was made from a torch module, so that no spec names it."""
    return encoder.architecture.startswith("module:")


def by_value(encoder: Recorded, backend: str) -> Remade:
    """Return how an encoder made from a torch module is made again: from all that it holds.

    Raises:
        EncoderError: the module cannot be pickled, or does not run in torch.
    """
    if backend != "eager":
        raise EncoderError(
            f"{encoder!r} was made from a torch module and runs in {backend}, which "
            "cannot be pickled; load it with backend='eager'"
        )
    return _unpickled, (type(encoder), _pickled(vars(encoder), encoder.spec))


def by_recipe(recipe: EncoderRecipe[Kind]) -> Remade:
    """Return how an encoder made from a torch module is made again: its network placed anew.

    Raises:
        EncoderError: the module cannot be pickled.
    """
    return _open_pickled, (_pickled(recipe, recipe.spec),)


def _pickled(content: object, spec: str) -> bytes:
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


def _unpickled(kind: type[Kind], content: bytes) -> Kind:
    encoder = kind.__new__(kind)
    vars(encoder).update(pickle.loads(content))
    return encoder


def _open_pickled(content: bytes) -> Recorded:
    recipe: EncoderRecipe[Recorded] = pickle.loads(content)
    return recipe.open()


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
