import pytest

import drawings as drawings_module
import miniatures as miniatures_module


@pytest.fixture(scope="session")
def drawings():
    return drawings_module


@pytest.fixture(scope="session")
def objects(tmp_path_factory, drawings):
    return drawings.fill(tmp_path_factory.mktemp("in") / "objects", drawings.cutout, 6)


@pytest.fixture(scope="session")
def photos(tmp_path_factory, drawings):
    return drawings.fill(tmp_path_factory.mktemp("in") / "photos", drawings.photo, 5, ".jpg")


@pytest.fixture(scope="session")
def miniatures():
    return miniatures_module
