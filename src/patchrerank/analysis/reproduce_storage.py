"""Table 7 of Patchify's supplement, computed again without any data."""

from __future__ import annotations

from patchrerank.analysis.charts import LEVEL_TICKS, Panel, Series
from patchrerank.analysis.reproduction import Line, Reproduction, Value
from patchrerank.analysis.storage_table import StorageRow, published_storage

UNITS = (
    "The printed table mixes units: raw sizes are MiB, but GiB x 1000 for INSTRE L2 and L3; "
    "quantised ones are MB of 10^6 bytes, but MiB for INSTRE L3. Each computed figure is shown in "
    "the unit of the one printed below it; `patchrerank storage --table7` gives one unit "
    "throughout."
)


def table7() -> Reproduction:
    """Storage, from counts of images alone; needs no data set."""
    rows = published_storage()
    lines = [line for row in rows for line in _storage_lines(row)]
    series = tuple(
        Series(
            f"{dataset}, {kind}",
            tuple(float(row.level) for row in rows if row.dataset == dataset),
            tuple(getattr(row, kind) / 1e6 for row in rows if row.dataset == dataset),
        )
        for dataset in ("INSTRE", "ILIAS")
        for kind in ("raw", "quantised")
    )
    return Reproduction(
        "table7",
        "bytes of patch vectors, d = 1024, IVF4096,PQ64 with 8 bits a code",
        ("data set", "level"),
        tuple(lines),
        0.0,
        "both",
        {},
        ("Compared digit by digit.", UNITS),
        (),
        (Panel("Storage", "level", "MB (10^6 bytes)", LEVEL_TICKS, series, log=True),),
    )


def _storage_lines(row: StorageRow) -> tuple[Line, Line]:
    label = (row.dataset, f"L{row.level}")
    raw, small = row.raw_in_printed_unit, row.quantised_in_printed_unit
    ours: dict[str, Value] = {
        "raw": raw,
        "raw unit": row.raw_unit,
        "quantised": small,
        "quantised unit": row.quantised_unit,
        "ratio": f"{float(raw) / float(small):.2f}",
    }
    theirs: dict[str, Value] = {
        **ours,
        "raw": row.printed_raw,
        "quantised": row.printed_quantised,
        "ratio": row.printed_ratio,
    }
    wrong = tuple(name for name in ours if ours[name] != theirs[name])
    return Line(label, "computed", ours, tuple(ours), wrong), Line(label, "published", theirs)
