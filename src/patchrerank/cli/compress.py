"""``patchrerank compress``: a gallery with smaller patch vectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

if TYPE_CHECKING:
    from patchrerank.boxes import Floats
    from patchrerank.gallery import Gallery

EXAMPLE = "patchrerank compress gallery/ small/ --store int8"


def command(
    gallery: Annotated[Path, typer.Argument(help="Gallery with float patches.")],
    out: Annotated[Path, typer.Argument(help="Gallery folder to write.")],
    store: Annotated[opt.Store, typer.Option(help=opt.STORES)] = "int8",
    whiten: opt.Whiten = None,
    m: opt.Parts = 64,
    nbits: opt.Bits = 8,
    train_on: Annotated[
        str,
        typer.Option(
            help="What pq is trained on: all, L0 … L3 (levels of the gallery's grid), boxes (see "
            "--boxes), or a .npy file of vectors."
        ),
    ] = "all",
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="For --train-on boxes: a data set folder, or JSON {image id: [[x0,y0,x1,y1], …]}."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of sampling and clustering.")] = 0,
    device: opt.Device = "auto",
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Copy a gallery with its patch vectors stored another way; report bytes and what is lost."""
    from patchrerank.gallery import CompressOptions, Gallery, compress
    from patchrerank.gallery.stores import split_store
    from patchrerank.gallery.whitening import explained

    opened, quantised = Gallery(gallery), split_store(store)[0] == "pq"
    how = CompressOptions(
        store=store,
        whiten=opt.whitening(whiten),
        m=m,
        nbits=nbits,
        train=_training_vectors(opened, train_on, boxes, device) if quantised else None,
        train_on=train_on,
        seed=seed,
        progress=not quiet,
    )
    result = compress(opened, out, how)
    learned = Gallery(out).manifest.whitening if whiten is not None else None
    if json:
        record = {"gallery": out, "store": store, **asdict(result)}
        printing.print_json(record | ({"whitening": asdict(learned)} if learned else {}))
        return
    if learned is not None:
        printing.print_line(explained(learned))
    ratio = result.bytes_before / max(result.bytes_after, 1)
    printing.print_line(
        f"patch vectors: {result.bytes_before:,} → {result.bytes_after:,} bytes ({ratio:.1f}×), "
        f"cosine with the original {result.mean_cosine:.5f} on average, "
        f"{result.worst_cosine:.5f} at worst"
    )


def _training_vectors(
    gallery: Gallery, train_on: str, boxes: Path | None, device: str
) -> Floats | None:
    from patchrerank.analysis.training_vectors import training_vectors
    from patchrerank.gallery import load_own_encoder

    encoder = load_own_encoder(gallery, device) if train_on == "boxes" else None
    return training_vectors(gallery, train_on, boxes, encoder)
