"""The README keeps its promises: two set-up commands, no gaps, and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def text():
    return README.read_text(encoding="utf-8")


def test_the_two_commands(text):
    assert re.findall(r"^pip install .*$", text, flags=re.M) == [
        'pip install ".[demo]" && patchrerank demo',
        'pip install ".[test]" && pytest -n auto',
    ]


def test_no_gaps_are_left(text):
    assert "@@" not in text
    assert "TODO" not in text


def test_every_command_it_names_exists(text):
    from patchrerank.cli.main import COMMANDS

    known = {module.__name__.rpartition(".")[2] for module in COMMANDS}
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S))
    named = set(re.findall(r"^patchrerank ([a-z]+)", blocks, flags=re.M))
    assert named
    assert named <= known, named - known
