"""How the source holds together: no import circles, private things stay at home, short modules."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from prepared import python

SOURCE = Path(__file__).parents[1] / "src"
MOST_LINES = 250


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in sorted((SOURCE / "patchrerank").rglob("*.py"))}


def imports_of(name: str) -> set[tuple[str, str]]:
    """Every import, also in functions and under TYPE_CHECKING: the module, and the name in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: line {node.lineno}: imports are absolute"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                found.add((module, "") if module in FILES else (str(node.module), alias.name))
    return {(module, wanted) for module, wanted in found if module in FILES}


@cache
def imports() -> dict[str, list[tuple[str, str]]]:
    return {name: sorted(imports_of(name)) for name in FILES}


def circle_from(name: str, path: list[str], done: set[str]) -> list[str]:
    if name in path:
        return [*path[path.index(name) :], name]
    if name not in done:
        for other, _ in imports()[name]:
            if found := circle_from(other, [*path, name], done):
                return found
        done.add(name)
    return []


def test_no_import_leads_back():
    done: set[str] = set()
    found = next((circle for name in FILES if (circle := circle_from(name, [], done))), [])
    assert not found, f"imports in a circle: {' → '.join(found)}"


def test_private_things_stay_in_their_package():
    wrong = [
        f"{name} imports {module} {wanted}".rstrip()
        for name in FILES
        for module, wanted in imports()[name]
        if not may_see(name, module, wanted)
    ]
    assert not wrong, "\n".join(wrong)


def may_see(name: str, module: str, wanted: str) -> bool:
    """Whether the part with an underscore, if there is one, lies in a package around ``name``."""
    parts = [*module.split("."), wanted] if wanted.startswith("_") else module.split(".")
    hidden = next((at for at, part in enumerate(parts) if part.startswith("_")), None)
    if hidden is None or wanted.startswith("__"):
        return True
    home = parts[: hidden - 1] if parts[hidden] == wanted and not is_package(module) else None
    return f"{name}.".startswith(".".join(home or parts[:hidden]) + ".")


def is_package(module: str) -> bool:
    return FILES[module].name == "__init__.py"


def test_modules_are_short():
    lines = {name: len(file.read_text().splitlines()) for name, file in FILES.items()}
    long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert not long, f"modules of more than {MOST_LINES} lines: {long}"


ALONE = """
import importlib, sys
import h5py, numpy, numba, PIL.Image, rich, scipy.sparse, torch, typer
for name in sys.argv[1:]:
    for known in [known for known in sys.modules if known.startswith("patchrerank")]:
        del sys.modules[known]
    importlib.import_module(name)
"""


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([name for name in FILES if is_package(name)], id="packages"),
        pytest.param(list(FILES), id="all"),
    ],
)
@pytest.mark.slow
def test_every_module_can_be_imported_first(names):
    """As they can where no import leads back: this is the long proof."""
    done = python("-c", ALONE, *names)
    assert not done.returncode, done.stderr
