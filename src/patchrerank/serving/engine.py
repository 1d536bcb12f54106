"""A gallery and its reranker as a service holds them: replaced whole when a file changes."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from patchrerank.errors import SettingError
from patchrerank.first_stage.factory_strings import check_factory
from patchrerank.gallery import Gallery, load_own_encoder
from patchrerank.gallery.identity import is_imported, is_module
from patchrerank.gallery.manifest import MANIFEST
from patchrerank.images import PictureBytes
from patchrerank.pipeline import DEFAULT_STAGES, Recipe, Tuned, load_reranker
from patchrerank.pipeline.loading import read_recipe
from patchrerank.serving.loaded import Loaded, Stamp

if TYPE_CHECKING:
    from patchrerank.encoders import Encoder


@dataclass(frozen=True)
class Places:
    """What an engine is loaded from.

    Attributes:
        gallery: its folder.
        stages: as :func:`patchrerank.pipeline.load_reranker` takes them, as text.
        tuned: a ``tuned.json`` or recipe in place of them.
        root: the folder that the gallery's pictures are in now; None: where they were.
        device: of the encoder.
        first_stage: a faiss index-factory string.
        load_encoder: whether the encoder is loaded at once, and not when a picture comes.
        on_device: where the reranker scores; see :meth:`patchrerank.rerankers.Ranker.on_device`.
        device_memory: bytes that the gallery may take there; None: see there.
        rescore: see :class:`patchrerank.Gallery`.
    """

    gallery: Path
    stages: str = DEFAULT_STAGES
    tuned: Path | None = None
    root: Path | None = None
    device: str = "auto"
    first_stage: str = "Flat"
    load_encoder: bool = False
    on_device: str = "cpu"
    device_memory: int | None = None
    rescore: int | None = None

    @property
    def stamp(self) -> Stamp:
        """What tells whether the gallery or the recipe changed."""
        return tuple(
            _stamp(path) for path in (self.gallery / MANIFEST, self.tuned) if path is not None
        )


class Engine:
    """What a service answers with; safe under threads.

    Attributes:
        current: the newest gallery and reranker; take it once for one request.

    Args:
        gallery: its folder.
        stages: as :func:`patchrerank.pipeline.load_reranker` takes them, as text.
        tuned: a ``tuned.json`` or recipe in place of them, which is read again when it changes.
        root: the folder that the gallery's pictures are in now, where they have moved.
        device: of the encoder.
        first_stage: a faiss index-factory string, for searches.
        load_encoder: load the encoder at once, and not when the first picture or word comes.
        encoder: one that is loaded already, in place of the gallery's own.
        on_device: where the reranker scores; see :meth:`patchrerank.rerankers.Ranker.on_device`.
        device_memory: bytes that the gallery may take there; None: see there.
        rescore: see :class:`patchrerank.Gallery`.
        settings: of :meth:`patchrerank.pipeline.Recipe.parse`, beside stages as text.

    Raises:
        PatchRerankError: see :func:`patchrerank.pipeline.load_reranker`.
    """

    def __init__(
        self,
        gallery: str | os.PathLike[str],
        stages: str = DEFAULT_STAGES,
        *,
        tuned: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        device: str = "auto",
        first_stage: str = "Flat",
        load_encoder: bool = False,
        encoder: Encoder | None = None,
        on_device: str = "cpu",
        device_memory: int | None = None,
        rescore: int | None = None,
        **settings: Any,
    ) -> None:
        if tuned is not None and settings:
            raise SettingError(f"{tuned} decides {', '.join(settings)}; leave them out")
        self._places = Places(
            Path(gallery),
            stages,
            None if tuned is None else Path(tuned),
            None if root is None else Path(root),
            device,
            first_stage,
            load_encoder,
            on_device,
            device_memory,
            rescore,
        )
        self._settings = settings
        self._given, self._encoder = encoder, cast("tuple[str, Encoder] | None", None)
        self._lock = threading.Lock()
        self.current = self._load()

    @property
    def files(self) -> list[Path]:
        """The folders and files that messages may name."""
        places, made = self._places, self.current.gallery.manifest
        named = [places.gallery, places.tuned, places.root, made.root]
        found = [Path(each) for each in named if each]
        return [*found, *(path.absolute() for path in found)]

    @property
    def on_disk(self) -> Stamp:
        """What the gallery and the recipe are on disk now."""
        return self._places.stamp

    @property
    def changed(self) -> bool:
        """Whether they are others than those that are loaded."""
        return self.on_disk != self.current.stamp

    def reload(self) -> Loaded:
        """Open the gallery and read the recipe again; what began with the old ones ends with them.

        Raises:
            PatchRerankError: they cannot be read; the old ones stay.
        """
        with self._lock:
            self.current = self._load()
            return self.current

    def picture(self, image_id: Any) -> Path | PictureBytes:
        """Return the picture of a gallery's image: a file, or its bytes.

        Raises:
            ShortlistError: the gallery does not hold it.
            ImageError: its picture is not where it was.
        """
        now = self.current
        return now.gallery.pictures[now.row_of(image_id)]

    def _load(self) -> Loaded:
        places, stamp = self._places, self._places.stamp
        gallery = Gallery(places.gallery, root=places.root, rescore=places.rescore)
        check_factory(places.first_stage, gallery.dim, gallery.live_count or None)
        made = self._recipe()
        encoder = self._given
        if encoder is None and places.load_encoder:
            encoder = self._own_encoder(gallery)
        reranker = load_reranker(gallery, made, encoder=encoder, device=places.device)
        reranker = reranker.on_device(places.on_device, places.device_memory)
        recipe = made.recipe if isinstance(made, Tuned) else made
        found = Loaded(gallery, reranker, recipe, places.first_stage, stamp)
        found.warm_up()
        return found

    def _own_encoder(self, gallery: Gallery) -> Encoder | None:
        """Load a gallery's encoder, or return the one that is loaded if that is the same."""
        made = gallery.manifest
        if is_imported(made.encoder) or is_module(made.encoder):
            return None  # only its owner has it
        if self._encoder is None or self._encoder[0] != made.identity:
            self._encoder = made.identity, load_own_encoder(gallery, self._places.device)
        return self._encoder[1]

    def _recipe(self) -> Recipe | Tuned:
        if self._places.tuned is not None:
            return read_recipe(self._places.tuned)
        return Recipe.parse(self._places.stages, **self._settings)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
