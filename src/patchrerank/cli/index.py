"""``patchrerank index``: build, finish or extend a gallery."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from patchrerank.addresses import is_address
from patchrerank.cli import options as opt
from patchrerank.cli import printing, ray_option
from patchrerank.cli.local_pass import LocalPass
from patchrerank.cli.tuned_option import was_given
from patchrerank.cli.views_option import KeptBackgrounds
from patchrerank.errors import GalleryError

MADE_WITH = ("encoder", "image_size", "precision", "random_weights")
"""Options that say which encoder; a gallery's own record says so too."""

EXAMPLE = "patchrerank index photos/ gallery/ --encoder open_clip:ViT-B-32/laion2b_s34b_b79k"


def command(
    context: typer.Context,
    images: Annotated[
        str,
        typer.Argument(
            help="Folder of pictures, or a text file of paths; tar shards (WebDataset) or Parquet "
            "files: one, a folder, or a pattern such as 'shards/{00000..00041}.tar'. All of that "
            "at an address, too: s3://BUCKET/PREFIX, gs://…"
        ),
    ],
    gallery: Annotated[Path, typer.Argument(help="Gallery folder to write.")],
    encoder: opt.EncoderSpec = "efficientnet_lite0",
    regions: Annotated[
        str,
        typer.Option(
            help="grid:L, sliding:L:stride, selective:TOP, grounding_dino:TOP:PROMPT:CHECKPOINT, "
            "boxes:FILE.json, coco:FILE.json[:RESULTS.json], or coco_stored:… for boxes of pixels "
            "as they are stored, before EXIF rotation."
        ),
    ] = "grid:3",
    one_pass: Annotated[
        str | None,
        typer.Option(
            help="Pool regions from few passes over the whole picture, in place of one pass a "
            "region: sides in pixels such as 448, or 224,288x2:p2 (whole, and 2 x 2 tiles, pooled "
            "by a power mean)."
        ),
    ] = None,
    store: Annotated[
        opt.Store | None,
        typer.Option(
            help=f"{opt.STORES} pq is trained on all of them, and the float32 gallery stays beside "
            "it as GALLERY.float32. [int8 if whitened, else float32]"
        ),
    ] = None,
    whiten: opt.IndexWhiten = None,
    m: opt.Parts = 64,
    nbits: opt.Bits = 8,
    image_size: opt.ImageSize = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "fp32",
    backend: opt.BackendOption = "auto",
    random_weights: opt.RandomWeights = False,
    on_error: Annotated[
        opt.OnError,
        typer.Option(
            help="raise: stop at a picture that is broken, lacks boxes or has a vector of zeros, "
            "or at a malformed box; skip: record it and go on."
        ),
    ] = "raise",
    append: Annotated[bool, typer.Option("--append", help="Add to a complete gallery.")] = False,
    root: opt.Root = None,
    id_key: Annotated[
        str | None,
        typer.Option(
            "--id-key",
            "--id-column",
            help="Ids of tar shards: key, shard/key, or a field of the JSON such as uid; of "
            "Parquet files: a column, or file/row. Default: found out.",
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(
            help="Column with the bytes of pictures, of Parquet files; the field of a sample that "
            "is its picture, of tar shards. Default: found out."
        ),
    ] = None,
    backgrounds: KeptBackgrounds = 64,
    max_regions: opt.MaxRegions = opt.MOST_REGIONS,
    workers: ray_option.Workers = None,
    engine: ray_option.Engine = "local",
    address: ray_option.Address = None,
    cpus_per_worker: ray_option.Cpus = 1.0,
    gpus_per_worker: ray_option.Gpus = 0.0,
    block: ray_option.Block = None,
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            rich_help_panel=opt.LOCAL,
            help="Then store local descriptors too; a gallery that is complete is left as it is.",
        ),
    ] = False,
    local_image_size: Annotated[
        int,
        typer.Option(help="Side of the whole picture, in pixels.", rich_help_panel=opt.LOCAL),
    ] = 448,
    local_scales: Annotated[
        str,
        typer.Option(
            help="Factors on that side, such as 0.7071,1,1.4142.", rich_help_panel=opt.LOCAL
        ),
    ] = "1.0",
    local_count: Annotated[
        int | None,
        typer.Option(
            help="Local descriptors kept an image; default: all.", rich_help_panel=opt.LOCAL
        ),
    ] = None,
    local_store: Annotated[
        Literal["float16", "int8", "binary", "float32"],
        typer.Option(help="How local descriptors are stored.", rich_help_panel=opt.LOCAL),
    ] = "float16",
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Encode a folder of pictures into a gallery; run it again to resume after an interruption."""
    from patchrerank.encoders import load_encoder, load_one_pass
    from patchrerank.encoders.spectrum import STEP as SPECTRUM_STEP
    from patchrerank.gallery import (
        BuildOptions,
        CompressOptions,
        Gallery,
        build_gallery,
        load_own_encoder,
    )
    from patchrerank.gallery.manifest import BUILDING, MANIFEST
    from patchrerank.gallery.stores import split_store
    from patchrerank.gallery.whitening import explained
    from patchrerank.regions import FixedBoxes, parse_regions

    ray_option.check_engine(context)
    logging.getLogger("patchrerank.gallery.whiten_choice").setLevel(logging.INFO)
    dense = LocalPass(local_image_size, local_scales, local_count, local_store) if local else None
    quantised = split_store(store or "")[0] == "pq" and not (gallery / MANIFEST).exists()
    target = gallery.with_name(f"{gallery.name}.float32") if quantised else gallery
    begun_before = any((target / name).exists() for name in (MANIFEST, BUILDING))
    if quantised and whiten is None and not begun_before and SPECTRUM_STEP % m:
        whiten = "none"  # its dimensions might not be a multiple of m
    how = BuildOptions(
        store="float32" if quantised else store,
        on_error=on_error,
        whiten=opt.whitening(whiten),
        append=append,
        workers=2 if workers is None else workers,
        progress=not quiet,
        root=root,
        id_key=id_key,
        image_column=image_column,
        backgrounds=backgrounds,
    )
    begun, maps, strategy = time.perf_counter(), None, None
    if engine == "ray":
        strategy = parse_regions(regions, most=max_regions, on_error=how.on_error)
        built = ray_option.build(context, target, _source(images), strategy, how, dense)
        ran = {"engine": "ray"}
    else:
        finished = dense is not None and not append and (gallery / MANIFEST).exists()
        if finished and not any(was_given(context, name) for name in MADE_WITH):
            model = load_own_encoder(Gallery(gallery), device)
        else:
            model = load_encoder(**ray_option.encoder_settings(context))
        maker = load_one_pass(model, one_pass) if one_pass is not None else model
        # what the network cannot do is said before the gallery is built
        maps = None if dense is None else dense.encoder_of(model)
        begun = time.perf_counter()
        if quantised and (target / MANIFEST).exists():  # killed while compressing: check settings
            how = replace(how, append=True)
        if finished:
            built = Gallery(target, root=root)
        else:
            strategy = parse_regions(regions, most=max_regions, on_error=how.on_error)
            built = build_gallery(target, _source(images), maker, strategy, how)
        ran = {"device": model.device, "backend": model.backend.name}
    if quantised:
        small = CompressOptions(store or "pq", m=m, nbits=nbits, progress=not quiet)
        ray_option.squeeze(context, built, gallery, small)
        built = Gallery(gallery)
    found = None
    if dense is not None:
        found = built.local if maps is None else dense.run(built, maps, how)
    seconds = time.perf_counter() - begun
    skipped, learned = built.manifest.skipped, built.manifest.whitening
    if json:
        record: dict[str, object] = {
            "images": built.live_count,
            "patches": built.manifest.patches,
            "seconds": seconds,
        }
        record |= {"whitening": asdict(learned)} if learned is not None else {}
        record |= {"descriptors": found.manifest.descriptors} if found is not None else {}
        if isinstance(strategy, FixedBoxes):
            record["left_out_boxes"] = len(strategy.left_out)
        printing.print_json({**record, **ran, "gallery": gallery, "skipped": skipped})
        return
    where = "on Ray" if engine == "ray" else f"{ran['backend']} on {ran['device']}"
    printing.print_line(f"{built!r} in {seconds:.1f} s ({where})")
    if learned is not None:
        printing.print_line(explained(learned))
    if found is not None:
        printing.print_line(repr(found))
        skipped = (*skipped, *found.manifest.skipped)
    for name, reason in skipped:
        printing.print_line(f"skipped {name}: {reason}")


def _source(images: str) -> str | list[str]:
    """Return the paths and addresses in a text file; anything else as it is."""
    from patchrerank.gallery import is_packed

    if is_packed(images) or not Path(images).is_file():
        return images
    try:
        lines = Path(images).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise GalleryError(
            f"{images}: not a text file of paths; pass a folder, or a list of paths"
        ) from error
    return [line if is_address(line) else str(Path(line)) for line in lines if line.strip()]
