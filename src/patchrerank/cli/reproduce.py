"""``patchrerank reproduce``: the published tables and figures, measured again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing
from patchrerank.errors import EncoderError, MissingExtraError, SettingError
from patchrerank.files import SVG_MARK, check_target, json_with, marked, write_whole

if TYPE_CHECKING:
    from patchrerank.analysis.reproduction import Line, Reproduction
    from patchrerank.encoders import Encoder

EXAMPLE = "patchrerank reproduce table4 --dataset ilias/ --out table4.json"


def command(
    table: Annotated[
        str,
        typer.Argument(
            help="table4 … table9, figS1 (size, distance), figS2 (brightness) or regions."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help="Folder of ILIAS, INSTRE, revisited Oxford/Paris, or with index.json."),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Name (patchrerank encoders) or spec; may be repeated for tables of several. "
            "[those of the table whose weights are at hand]"
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(help="Tables 5, 6: search by this faiss index, such as IVF4096,PQ64."),
    ] = None,
    nprobe: Annotated[int, typer.Option(help="Lists that it visits.")] = 64,
    m: Annotated[int, typer.Option("--m", help="Tables 5, 6: parts of a quantiser.")] = 64,
    nbits: opt.Bits = 8,
    train_on: Annotated[
        str, typer.Option(help="Table 5: all (of the level), L0, boxes, or a .npy file.")
    ] = "all",
    changed: Annotated[
        Literal["both", "gallery", "queries"], typer.Option(help="figS2: what is darkened.")
    ] = "both",
    regions: Annotated[
        list[str] | None,
        typer.Option(help="regions: these strategies in place of the published ones."),
    ] = None,
    one_pass: Annotated[
        list[str] | None,
        typer.Option(help="regions: one-pass views, or none. [two that suit the encoder]"),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="regions: rounds of 8 images for the seconds; 0: none.")
    ] = 5,
    tolerance: Annotated[
        float, typer.Option(help="Points from which a figure is marked as different.")
    ] = 0.5,
    image_size: opt.ImageSize = None,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "fp32",
    backend: opt.BackendOption = "auto",
    random_weights: opt.RandomWeights = False,
    cache: opt.Cache = None,
    out: Annotated[Path | None, typer.Option(help="File for the record, as JSON.")] = None,
    figure: Annotated[Path | None, typer.Option(help="File for the figure, as SVG.")] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Print a published table's figures, measured, beside the printed ones."""
    from patchrerank.analysis.levels import Quantiser
    from patchrerank.analysis.reproduce import STORAGE, check_name, encoders_at_hand, reproduce
    from patchrerank.analysis.reproduce_request import Request
    from patchrerank.analysis.strategies import STRATEGIES
    from patchrerank.datasets import load_dataset
    from patchrerank.encoders import load_encoder
    from patchrerank.gallery import BuildOptions

    name = check_name(table)
    _check_files(out, figure)
    if name == STORAGE:
        _give(reproduce(name), out, figure, as_json=json)
        return
    if dataset is None:
        raise SettingError(f"{name} is measured on a data set: pass --dataset FOLDER")
    data = load_dataset(dataset)
    load = partial(
        load_encoder,
        image_size=image_size,
        device=device,
        precision=precision,
        pretrained=not random_weights,
        backend=backend,
    )
    models, failed = _load_all(encoder or encoders_at_hand(name), load)
    with tempfile.TemporaryDirectory(prefix="patchrerank-") as scratch:
        request = Request(
            dataset=data,
            encoders=models,
            cache=cache or Path(scratch),
            tolerance=tolerance,
            quantiser=Quantiser(m, nbits, index, nprobe),
            train_on=train_on,
            changed=changed,
            strategies=regions or STRATEGIES,
            views=[view for view in one_pass if view != "none"] if one_pass else None,
            rounds=rounds,
            build=BuildOptions(progress=not quiet),
        )
        found = reproduce(name, request)
    found = replace(found, missing=(*found.missing, *failed))
    _give(found, out, figure, as_json=json)


RECORD = json_with("a record", "name", "lines", "compared_with")
FIGURE = marked("a figure", SVG_MARK.encode())


def _check_files(out: Path | None, figure: Path | None) -> None:
    """Refuse files that cannot be written, before anything is measured."""
    for path, ours in ((out, RECORD), (figure, FIGURE)):
        if path is not None:
            check_target(path, ours)


def _load_all(
    names: Sequence[str], load: Callable[[str], Encoder]
) -> tuple[dict[str, Encoder], list[str]]:
    """Load encoders; of several, those that cannot be had are named instead."""
    models: dict[str, Encoder] = {}
    failed = []
    for name in names:
        try:
            models[name] = load(name)
        except (EncoderError, MissingExtraError) as error:
            if len(names) == 1:
                raise
            failed.append(f"{name} could not be loaded: {error}")
    if not models:
        raise EncoderError("; ".join(failed))
    return models, failed


def _give(found: Reproduction, out: Path | None, figure: Path | None, *, as_json: bool) -> None:
    record = printing.json_text(found.as_dict())
    for path, text, ours in ((out, record, RECORD), (figure, found.figure(), FIGURE)):
        if path is not None:
            write_whole(path, text.encode(), ours)
    if as_json:
        printing.print_json(found.as_dict())
        return
    if found.settings:
        printing.print_line(", ".join(f"{key} {value}" for key, value in found.settings.items()))
    printing.print_table(
        f"{found.name}: {found.title}",
        (*found.label_names, "", *found.columns),
        [
            (*line.labels, line.source, *(_cell(line, column) for column in found.columns))
            for line in found.lines
        ],
    )
    for note in (_verdict(found), *found.notes):
        printing.print_line(note)
    if found.missing:
        printing.print_line("To run it in full:")
        for sentence in found.missing:
            printing.print_line(f"- {sentence}")


def _cell(line: Line, column: str) -> str:
    value = line.values.get(column)
    text = value if isinstance(value, str) else printing.number(value, 2)
    return f"{text} ≠" if column in line.differs else text


def _verdict(found: Reproduction) -> str:
    if not found.checked:
        return "No figure was compared with a printed one."
    if not found.differing:
        return f"{found.checked} figures compared with the printed ones, none differs."
    return f"{found.checked} figures compared with the printed ones, {found.differing} differ."
