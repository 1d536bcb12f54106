"""Notes of any length in a store of short texts."""

from __future__ import annotations

import pytest

from patchrerank.errors import GalleryError
from patchrerank.integrations.stores.notes import PIECE, read_note, write_note


class Texts(dict):
    """A store of texts that counts what is written, and may be cut off."""

    left = 10**9

    def keep(self, notes):
        if len(notes) > self.left:
            raise KeyboardInterrupt
        self.left -= len(notes)
        assert all(len(text) <= PIECE for text in notes.values())
        self.update(notes)

    def kept(self, names):
        return {name: self[name] for name in names if name in self}


@pytest.mark.parametrize("length", [0, 1, 45_000, 45_001, 5_000_000])
def test_of_any_length(length):
    texts, content = Texts(), bytes(length)
    assert read_note("whitening", texts.kept, "store") is None
    write_note("whitening", content, texts.keep, texts.kept)
    assert read_note("whitening", texts.kept, "store") == content
    texts.left = 0  # it is there already
    write_note("whitening", content, texts.keep, texts.kept)


def test_one_that_was_cut_off_is_no_note_until_it_is_written_again():
    texts, content = Texts(), b"a" * 4_000_000
    texts.left = 70
    with pytest.raises(KeyboardInterrupt):
        write_note("sample", content, texts.keep, texts.kept)
    assert read_note("sample", texts.kept, "store") is None
    texts.left = 1000
    write_note("sample", content, texts.keep, texts.kept)
    texts.left = 70
    with pytest.raises(KeyboardInterrupt):
        write_note("sample", b"b" * 4_000_000, texts.keep, texts.kept)
    with pytest.raises(GalleryError, match="push the gallery again"):
        read_note("sample", texts.kept, "store")


def test_a_damaged_one_is_named():
    texts = Texts()
    write_note("sample", b"abc", texts.keep, texts.kept)
    texts["sample"] = "{"
    with pytest.raises(GalleryError, match="store: what it says of its sample is damaged"):
        read_note("sample", texts.kept, "store")
