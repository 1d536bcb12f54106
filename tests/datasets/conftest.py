import importlib.util
import sys
from pathlib import Path

import pytest


def _load_drawings():
    spec = importlib.util.spec_from_file_location(
        "dataset_drawings", Path(__file__).with_name("drawings.py")
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def drawings():
    return _load_drawings()


@pytest.fixture(scope="session")
def objects(tmp_path_factory, drawings):
    return drawings.fill(tmp_path_factory.mktemp("in") / "objects", drawings.cutout, 6)


@pytest.fixture(scope="session")
def photos(tmp_path_factory, drawings):
    return drawings.fill(tmp_path_factory.mktemp("in") / "photos", drawings.photo, 5, ".jpg")
