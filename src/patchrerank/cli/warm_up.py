"""``patchrerank warm-up``: kernels compiled before anybody waits for them."""

from __future__ import annotations

from dataclasses import asdict

from patchrerank.cli import options as opt
from patchrerank.cli import printing

EXAMPLE = "patchrerank warm-up"


def command(json: opt.Json = False) -> None:
    """Compile every kernel for this processor, so that no request waits for it.

    They are kept in NUMBA_CACHE_DIR, beside the modules, or in your cache folder: the first that
    can be written. They are read from all of these, read-only or not: run it when a container
    is built, on the kind of processor that it will run on.
    """
    from patchrerank.warming import warm_up

    found = warm_up()
    if json:
        printing.print_json(asdict(found))
        return
    printing.print_line(
        f"{found.kernels} kernels are ready for {found.processor}; "
        f"{found.compiled or 'no'} forms of them were compiled now, {found.seconds:.1f} s"
    )
    for folder in found.folders:
        printing.print_line(f"in {folder}")
    if not found.folders:
        printing.print_line("kept nowhere: no folder can be written; set NUMBA_CACHE_DIR to one")
