"""The ``patchrerank`` command.

Exit codes: 0 all is well; 1 the work was done and found something wrong (``info --verify``);
2 bad usage or bad input, with one sentence on standard error; 130 interrupted.
"""

from __future__ import annotations

import logging
import signal
import sys
from types import FrameType, ModuleType
from typing import Annotated

import typer

from patchrerank.cli import (
    backgrounds,
    bench,
    compact,
    compare,
    composite,
    compress,
    convert,
    demo,
    encoders,
    evaluate,
    exhaustive,
    explore,
    export,
    import_,
    index,
    info,
    merge,
    plan,
    remove,
    report,
    reproduce,
    rerank,
    search,
    serve,
    storage,
    sync,
    train,
    tune,
    warm_up,
)
from patchrerank.cli.help_pages import CommandsInGroups, SectionedCommand
from patchrerank.cli.wording import as_options
from patchrerank.errors import LONGEST_MESSAGE, PatchRerankError, shortened
from patchrerank.version import __version__

app = typer.Typer(
    name="patchrerank",
    help="Rescore an image-search shortlist with local evidence, with a box on every hit.",
    cls=CommandsInGroups,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
GROUPS: dict[str, tuple[ModuleType, ...]] = {
    "Start": (demo, index, search, rerank, explore, serve),
    "Measure and tune": (composite, tune, evaluate, compare, report),
    "Galleries": (
        info,
        backgrounds,
        sync,
        remove,
        compact,
        merge,
        import_,
        export,
        compress,
        storage,
        plan,
        encoders,
    ),
    "Paper and research": (reproduce, exhaustive, train, convert, bench, warm_up),
}


def command_name(module: ModuleType) -> str:
    """Return what a command is called: ``import`` of ``import_``, ``warm-up`` of ``warm_up``."""
    return module.__name__.rpartition(".")[2].rstrip("_").replace("_", "-")


for group, modules in GROUPS.items():
    for module in modules:
        app.command(
            name=module.__name__.rpartition(".")[2]
            .rstrip("_")
            .replace("_", "-"),  # import_, warm_up
            cls=SectionedCommand,
            short_help=(module.command.__doc__ or "").partition("\n\n")[0],
            epilog=module.EXAMPLE,
            context_settings=getattr(module, "CONTEXT", None),
            rich_help_panel=group,
        )(module.command)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"patchrerank {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Rescore an image-search shortlist with local evidence, with a box on every hit."""


class _Interrupted(BaseException):
    """Ctrl-C; unlike KeyboardInterrupt, no library on the way turns it into something else."""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise _Interrupted


def main() -> None:
    """Run the command line; turn errors that a user can mend into one line and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except PatchRerankError as error:
        sys.stderr.write(f"patchrerank: {as_options(str(error))}\n")
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        sys.stderr.write(f"patchrerank: {shortened(str(error), LONGEST_MESSAGE)}\n")
        sys.exit(2)
    except _Interrupted:
        sys.stderr.write("patchrerank: interrupted; finished work is kept, run it again\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
