"""Patchify's published storage table (Table 7), from image counts and index settings alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from patchrerank.gallery.storage import patches_at, storage_of

DIM = 1024
IMAGES = {"INSTRE": 26_543, "ILIAS": 4_885}
"""Images behind the printed figures. INSTRE: 26,543 meets every printed digit; with 26,542 the
raw L1 figure would read 518.40 MiB instead of 518.42."""

UNITS = {"MiB": 1 << 20, "MB": 10**6, "GiB x 1000": (1 << 30) / 1000}

# data set, level, raw, its unit, quantised, its unit, ratio: as printed
PRINTED = (
    ("INSTRE", 0, "103.68", "MiB", "19.77", "MB", "5.24"),
    ("INSTRE", 1, "518.42", "MiB", "27.41", "MB", "18.91"),
    ("INSTRE", 2, "1420", "GiB x 1000", "44.61", "MB", "31.83"),
    ("INSTRE", 3, "3040", "GiB x 1000", "71.71", "MiB", "42.39"),
    ("ILIAS", 0, "19.08", "MiB", "18.21", "MB", "1.05"),
    ("ILIAS", 1, "95.41", "MiB", "19.62", "MB", "4.86"),
    ("ILIAS", 2, "267.15", "MiB", "22.78", "MB", "11.73"),
    ("ILIAS", 3, "572.46", "MiB", "28.41", "MB", "20.15"),
)


@dataclass(frozen=True)
class StorageRow:
    """One row: bytes computed here, figures printed there, and ours in the printed unit."""

    dataset: str
    level: int
    raw: int
    quantised: int
    printed_raw: str
    raw_unit: str
    raw_in_printed_unit: str
    printed_quantised: str
    quantised_unit: str
    quantised_in_printed_unit: str
    printed_ratio: str
    ratio_of_printed_units: str

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-able record."""
        return asdict(self)


def published_storage() -> list[StorageRow]:
    """Return the table, computed from images × patches, d = 1024 and IVF4096,PQ64."""
    return [_row(*printed) for printed in PRINTED]


def _row(
    dataset: str, level: int, raw: str, raw_unit: str, small: str, small_unit: str, ratio: str
) -> StorageRow:
    size = storage_of(IMAGES[dataset] * patches_at(level), DIM, "ivfpq")
    ours, ours_small = size.raw / UNITS[raw_unit], size.stored / UNITS[small_unit]
    return StorageRow(
        dataset=dataset,
        level=level,
        raw=size.raw,
        quantised=size.stored,
        printed_raw=raw,
        raw_unit=raw_unit,
        raw_in_printed_unit=_like(ours, raw),
        printed_quantised=small,
        quantised_unit=small_unit,
        quantised_in_printed_unit=_like(ours_small, small),
        printed_ratio=ratio,
        ratio_of_printed_units=f"{float(raw) / float(small):.2f}",
    )


def _like(value: float, printed: str) -> str:
    """Round as the printed figure is rounded: to its decimals, or to three leading digits."""
    decimals = len(printed.partition(".")[2])
    return f"{value:.{decimals}f}" if decimals else f"{float(f'{value:.3g}'):.0f}"
