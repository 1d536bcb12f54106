"""``patchrerank storage``: bytes of a gallery, raw and compressed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import SettingError

UNITS = {"B": 1, "kB": 1000, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20}
STORES = (
    *("float32", "float16", "int8", "pq", "ivfpq"),
    *("rabitq1", "rabitq2", "rabitq3", "rabitq4"),
)

TABLE7 = """\
Published Table 7 prints these rows in mixed units: raw INSTRE L0-L1 and ILIAS in MiB, raw INSTRE \
L2-L3 in GiB x 1000; quantised in MB of 10^6 bytes, except INSTRE L3, in MiB. Here one unit serves \
all. Quantised is IVF4096,PQ64 with 8 bits a code."""

EXAMPLE = "patchrerank storage --images 1000000 --dim 512 --level 3"


def command(
    gallery: Annotated[
        Path | None, typer.Argument(help="A gallery on disk; or give --images and --dim.")
    ] = None,
    images: Annotated[int | None, typer.Option(help="Number of images.")] = None,
    dim: Annotated[int | None, typer.Option(help="Dimensions of a vector.")] = None,
    level: Annotated[int, typer.Option(help="Grid level: 1, 5, 14, 30 patches an image.")] = 3,
    store: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join(STORES)}, or two such as rabitq2+int8; may be repeated. [all]"
        ),
    ] = None,
    m: Annotated[int, typer.Option("--m", help="Sub-quantisers of pq and ivfpq.")] = 64,
    nbits: Annotated[int, typer.Option(help="Bits of each sub-code.")] = 8,
    nlist: Annotated[int, typer.Option(help="Inverted lists of ivfpq.")] = 4096,
    unit: Annotated[str, typer.Option(help=", ".join(UNITS))] = "MB",
    table7: Annotated[
        bool, typer.Option("--table7", help="Reproduce Patchify's published storage table.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """Report exact bytes of patch vectors, raw and compressed, in one unit."""
    if m < 1:
        raise SettingError(f"--m must be at least 1, got {m}")
    if unit not in UNITS:
        raise SettingError(f"unit {unit!r} is unknown; use one of {', '.join(UNITS)}")
    if table7:
        _show_table7(unit, as_json=json)
        return
    from patchrerank.gallery.storage import patches_at, storage_of

    counted = _gallery_counts(gallery) if gallery is not None else None
    if counted is None and (images is None or dim is None):
        raise SettingError("give a gallery, or --images and --dim")
    vectors, width = counted or ((images or 0) * patches_at(level), dim or 0)
    records = {
        name: storage_of(vectors, width, name, m=m, nbits=nbits, nlist=nlist)
        for name in store or [s for s in STORES if width % m == 0 or "pq" not in s]
    }
    if json:
        printing.print_json(
            {
                name: {"vectors": r.vectors, "raw": r.raw, "stored": r.stored, "ratio": r.ratio}
                for name, r in records.items()
            }
        )
        return
    scale = UNITS[unit]
    printing.print_table(
        f"{vectors:,} vectors of {width} dimensions, {unit}",
        ("store", f"float32 {unit}", f"stored {unit}", "ratio"),
        [
            (name, f"{r.raw / scale:,.2f}", f"{r.stored / scale:,.2f}", f"{r.ratio:.2f}")
            for name, r in records.items()
        ],
    )
    if gallery is not None:
        _show_files(gallery, unit)


def _gallery_counts(folder: Path) -> tuple[int, int]:
    from patchrerank.gallery import Gallery

    made = Gallery(folder).manifest
    return made.patches, made.dim


def _show_files(folder: Path, unit: str) -> None:
    from patchrerank.gallery import Gallery

    opened = Gallery(folder)
    rows = [(name, f"{size / UNITS[unit]:,.2f}") for name, size in opened.nbytes().items()]
    printing.print_table(f"on disk, {opened.manifest.store}", ("array", unit), rows)


def _show_table7(unit: str, *, as_json: bool) -> None:
    from patchrerank.analysis.storage_table import published_storage

    rows = published_storage()
    if as_json:
        printing.print_json({"note": TABLE7, "rows": [row.as_dict() for row in rows]})
        return
    scale = UNITS[unit]
    printing.print_line(TABLE7)
    printing.print_table(
        f"computed in {unit}; printed in the paper's units",
        ("data set", "level", f"raw {unit}", f"quantised {unit}", "ratio",
         "printed raw", "ours in its unit", "printed quantised", "ours in its unit",
         "printed ratio"),
        [
            (
                row.dataset,
                f"L{row.level}",
                f"{row.raw / scale:,.2f}",
                f"{row.quantised / scale:,.2f}",
                f"{row.raw / row.quantised:.2f}",
                row.printed_raw,
                f"{row.raw_in_printed_unit} {row.raw_unit}",
                row.printed_quantised,
                f"{row.quantised_in_printed_unit} {row.quantised_unit}",
                row.printed_ratio,
            )
            for row in rows
        ],
    )  # fmt: skip
