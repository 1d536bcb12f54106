"""Dense encoders carried to another process: see :mod:`patchrerank.encoders.pickling`."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrerank.encoders.pickling import (
    Remade,
    absolute_spec,
    check_same,
    from_module,
    pickled,
)

if TYPE_CHECKING:
    from patchrerank.encoders.dense_encoder import DenseEncoder
    from patchrerank.encoders.detector import Selection
    from patchrerank.encoders.preprocessing import Preprocessing


@dataclass(frozen=True)
class DenseRecipe:
    """A dense encoder as what it is loaded from; its files by absolute path.

    Attributes:
        source: spec, or :class:`~patchrerank.encoders.network.Network` of a torch module.
        spec: as recorded.
        preprocessing: of the network, at its own size.
        settings: keywords of ``load_dense_encoder`` beside these.
        selection: which descriptors are kept.
        stride: of a module's map.
        fingerprint: identity, sizes and selection.
        weights: sha256 (hex) of its weights.
    """

    source: Any
    spec: str
    preprocessing: Preprocessing
    settings: dict[str, Any]
    selection: Selection
    stride: int
    fingerprint: str
    weights: str

    def open(self) -> DenseEncoder:
        """Load the dense encoder.

        Raises:
            EncoderError: it cannot be loaded here, or is another one than that of the recipe.
        """
        encoder = self._load()
        found = (encoder.fingerprint, encoder.weights)
        check_same(self.spec, (self.fingerprint, found[0]), (self.weights, found[1]))
        return encoder

    def _load(self) -> DenseEncoder:
        from patchrerank.encoders.dense import load_dense_encoder
        from patchrerank.encoders.dense_encoder import DenseEncoder
        from patchrerank.encoders.dense_network import DenseNetwork

        how = dict(self.settings)
        if isinstance(self.source, str):
            how |= {"preprocessing": self.preprocessing, "selection": self.selection}
            return load_dense_encoder(self.source, **how)
        placed = {name: how[name] for name in ("device", "precision")}
        runs = DenseNetwork(self.source, **placed, stride=self.stride)
        size, scales = how["image_size"], how["scales"]
        return DenseEncoder(self.spec, runs, size, scales, self.selection, how["batch_size"])


def reduce_dense(encoder: DenseEncoder) -> Remade:
    """Return how a dense encoder is made again: loaded from its spec, or its module by value.

    Raises:
        EncoderError: it was made from a module that cannot be pickled.
    """
    runs, selection = encoder._runs, encoder.selection
    names = ("image_size", "scales", "device", "precision", "batch_size", "pretrained")
    detector = selection.detector and Path(selection.detector).absolute()
    recipe = DenseRecipe(
        source=absolute_spec(encoder.spec),
        spec=encoder.spec,
        preprocessing=runs.network.preprocessing,
        settings={name: getattr(encoder, name) for name in names},
        selection=replace(selection, detector=detector),
        stride=runs.stride[0],
        fingerprint=encoder.fingerprint,
        weights=encoder.weights,
    )
    if from_module(encoder):
        recipe = replace(recipe, source=runs.network)
        return _open_pickled, (pickled(recipe, encoder.spec),)
    return recipe.open, ()


def _open_pickled(content: bytes) -> DenseEncoder:
    recipe: DenseRecipe = pickle.loads(content)
    return recipe.open()
