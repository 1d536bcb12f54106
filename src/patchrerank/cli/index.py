"""``patchrerank index``: build, finish or extend a gallery."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.errors import GalleryError


def command(
    images: Annotated[Path, typer.Argument(help="Folder of pictures, or a text file of paths.")],
    gallery: Annotated[Path, typer.Argument(help="Gallery folder to write.")],
    encoder: opt.EncoderSpec = "efficientnet_lite0",
    regions: Annotated[
        str, typer.Option(help="grid:L, sliding:L:stride or boxes:FILE.json.")
    ] = "grid:3",
    store: Annotated[
        str | None,
        typer.Option(
            help="Patch vectors as float32 (default), float16, int8 or pq (trained on all patches; "
            "the float32 gallery stays beside it as GALLERY.float32)."
        ),
    ] = None,
    image_size: opt.ImageSize = None,
    device: opt.Device = "auto",
    precision: opt.Precision = "fp32",
    backend: opt.Backend = "auto",
    random_weights: opt.RandomWeights = False,
    on_error: Annotated[
        str, typer.Option(help="raise: stop at a broken picture; skip: record it and go on.")
    ] = "raise",
    append: Annotated[bool, typer.Option("--append", help="Add to a complete gallery.")] = False,
    workers: Annotated[int, typer.Option(help="Threads that decode and cut.")] = 2,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Encode a folder of pictures into a gallery; run it again to resume after an interruption."""
    from patchrerank.encoders import load_encoder
    from patchrerank.gallery import (
        BuildOptions,
        CompressOptions,
        Gallery,
        build_gallery,
        compress,
    )
    from patchrerank.gallery.manifest import MANIFEST
    from patchrerank.regions import parse_regions

    quantised = store == "pq" and not (gallery / MANIFEST).exists()
    how = BuildOptions(
        store=None if quantised else store,
        on_error=on_error,  # type: ignore[arg-type]
        append=append,
        workers=workers,
        progress=not quiet,
    )
    model = load_encoder(
        encoder,
        image_size=image_size,
        device=device,
        precision=precision,  # type: ignore[arg-type]
        pretrained=not random_weights,
        backend=backend,
    )
    begun = time.perf_counter()
    target = gallery.with_name(f"{gallery.name}.float32") if quantised else gallery
    if quantised and (target / MANIFEST).exists():  # built before, killed while compressing
        built = Gallery(target)
    else:
        built = build_gallery(target, _source(images), model, parse_regions(regions), how)
    if quantised:
        compress(built, gallery, CompressOptions("pq", progress=not quiet))
        built = Gallery(gallery)
    seconds = time.perf_counter() - begun
    skipped = built.manifest.skipped
    if json:
        record = {"images": len(built), "patches": built.manifest.patches, "seconds": seconds}
        how_run = {"device": model.device, "backend": model.backend.name}
        opt.print_json({**record, **how_run, "gallery": gallery, "skipped": skipped})
        return
    opt.print_line(f"{built!r} in {seconds:.1f} s ({model.backend.name} on {model.device})")
    for name, reason in skipped:
        opt.print_line(f"skipped {name}: {reason}")


def _source(images: Path) -> Path | list[Path]:
    if images.is_file():
        try:
            lines = images.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise GalleryError(
                f"{images}: not a text file of paths; pass a folder, or a list of paths"
            ) from error
        return [Path(line) for line in lines if line.strip()]
    return images
