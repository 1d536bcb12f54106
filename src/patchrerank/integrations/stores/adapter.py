"""What an adapter translates to and from one package; all else is the same for all stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from patchrerank.integrations.stores.records import Record
from patchrerank.types import Floats


class StoreAdapter(ABC):
    """One name (collection, table) in a store; keys are ids as text.

    Errors of the store's own client (no connection, no permission) pass through unchanged.

    Attributes:
        name: of the kind of store and the place in it, for messages.
        scores_there: whether the store computes max similarity over patches exactly.
        holds_local: whether it has room for local descriptors.
        most: how many images a search returns at most; None: any number.
    """

    name: str
    scores_there: ClassVar[bool] = True
    holds_local: ClassVar[bool] = True
    most: ClassVar[int | None] = None

    @property
    def one_writer(self) -> str:
        """Why no more than one process may write, in words; empty: several may."""
        return ""

    @abstractmethod
    def _read_space(self) -> str | None:
        """Return what :meth:`_create` was given; None if it never came to an end here."""

    @abstractmethod
    def _create(self, text: str, dim: int) -> None:
        """Make what is missing for vectors of ``dim`` dimensions, and then keep ``text``."""

    @abstractmethod
    def _keep(self, notes: Mapping[str, str]) -> None:
        """Insert or replace texts of at most 60,000 ASCII characters by their names."""

    @abstractmethod
    def _kept(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return those of these texts that are there."""

    @abstractmethod
    def _digests(self) -> Iterator[tuple[str, int]]:
        """Yield the key and digest of every image."""

    @abstractmethod
    def _write(self, records: Sequence[Record]) -> None:
        """Insert images, or replace those of the same keys; seen by searches on return."""

    @abstractmethod
    def _delete(self, keys: Sequence[str]) -> None:
        """Delete images; keys that are not there are no error."""

    @abstractmethod
    def _held(self, keys: Sequence[str]) -> set[str]:
        """Return which of the keys are there."""

    @abstractmethod
    def _fetch(self, keys: Sequence[str]) -> Iterable[Record]:
        """Return images of these keys, in any order, without those that are not there.

        Local descriptors are left where they are.
        """

    def _fetch_local(self, keys: Sequence[str]) -> Iterable[tuple[str, bytes]]:
        """Return the local descriptors of those images that have any, in any order."""
        raise NotImplementedError

    @abstractmethod
    def _nearest(self, vectors: Floats, size: int) -> list[list[tuple[str, float]]]:
        """Return for each unit vector ``(Q, d)`` the nearest images: key and cosine."""

    def _best(self, vector: Floats, keys: Sequence[str]) -> Mapping[str, float]:
        """Return the highest cosine of each image's patches to a unit vector ``(d,)``, exactly.

        Images that are not there, or have no patches, are left out.
        """
        raise NotImplementedError
