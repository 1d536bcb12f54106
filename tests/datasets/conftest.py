import importlib.util
import sys
from pathlib import Path

import pytest


def _load(name):
    spec = importlib.util.spec_from_file_location(
        f"dataset_{name.removesuffix('.py')}", Path(__file__).with_name(name)
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def drawings():
    return _load("drawings.py")


@pytest.fixture(scope="session")
def objects(tmp_path_factory, drawings):
    return drawings.fill(tmp_path_factory.mktemp("in") / "objects", drawings.cutout, 6)


@pytest.fixture(scope="session")
def photos(tmp_path_factory, drawings):
    return drawings.fill(tmp_path_factory.mktemp("in") / "photos", drawings.photo, 5, ".jpg")


@pytest.fixture(scope="session")
def miniatures():
    return _load("miniatures.py")
