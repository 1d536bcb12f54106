"""Commands of one session share their encoders, but in a process that forks, and their options."""

from __future__ import annotations

import os

import pytest

from alone import ALONE
from command_line import commands
from loaded_once import encoders_loaded_once


@pytest.fixture(scope="module", autouse=True)
def shared_encoders():
    if ALONE in os.environ:  # threads of a network would not live on in a fork
        yield
        return
    with encoders_loaded_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_commands():
    """Let typer's own runner read them once, as ``command_line.run`` does."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("typer.testing._get_command", commands)
        yield
