"""The command line as a user meets it: what it prints, and the code it exits with."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
from functools import cache
from types import SimpleNamespace
from unittest.mock import patch

import typer.main

from patchrerank.cli.main import main
from prepared import python

commands = cache(typer.main.get_command)
"""Of 18 modules, read anew by each call otherwise, which takes longer than many a command."""


def run(*words, code=0, stdin=""):
    """Run a command in this process, since each fresh one takes seconds to import torch."""
    out, errors = io.StringIO(), io.StringIO()
    before = sys.argv, sys.stdin, signal.getsignal(signal.SIGINT)
    sys.argv, sys.stdin = ["patchrerank", *map(str, words)], io.StringIO(stdin)
    returned = 0
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
            patch("typer.main.get_command", commands),
        ):
            main()
    except SystemExit as stop:
        returned = stop.code or 0
    finally:
        sys.argv, sys.stdin = before[:2]
        signal.signal(signal.SIGINT, before[2])
    assert returned == code, (out.getvalue(), errors.getvalue())
    return SimpleNamespace(stdout=out.getvalue(), stderr=errors.getvalue())


def fresh(*words, stdin=""):
    """Run Python in an interpreter that has imported nothing yet."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, input=stdin)


def run_process(*words, code=0, stdin="", begun=python):
    """Run a command as a process of its own."""
    done = begun("-m", "patchrerank.cli.main", *words, stdin=stdin)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done
