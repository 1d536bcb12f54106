"""``patchrerank encoders``: the encoders that have a short name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXPLAINED = """\
--encoder takes a name or a spec; any other timm:MODEL or open_clip:MODEL works as well, and a name
or timm:MODEL with ?pool=token|avg|map behind it pools otherwise. Size: side of the network's input
in pixels (--image-size changes it). Weights that are not at hand are fetched when first used. The
eight from vgg16 to siglip_large_384 are those of the published tables."""

EXAMPLE = "patchrerank encoders --at-hand"


def command(
    at_hand: Annotated[
        bool, typer.Option("--at-hand", help="Only those whose weights are on this machine.")
    ] = False,
    json: opt.Json = False,
) -> None:
    """List named encoders: dimension, parameters, and which weights are at hand."""
    from patchrerank.encoders.presets import PRESETS

    places = {name: preset.weights_at_hand() for name, preset in PRESETS.items()}
    shown = [preset for name, preset in PRESETS.items() if places[name] or not at_hand]
    if json:
        printing.print_json(
            [{**asdict(preset), "at_hand": places[preset.name]} for preset in shown]
        )
        return
    rows = [
        (
            preset.name,
            preset.spec,
            str(preset.image_size),
            str(preset.dim),
            f"{preset.parameters:.1f}",
            "yes" if places[preset.name] else "no",
        )
        for preset in shown
    ]
    headers = ("name", "spec", "size", "dim", "M params", "at hand")
    printing.print_table("", headers, rows)
    printing.print_line(EXPLAINED)
