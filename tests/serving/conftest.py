"""A catalogue whose right answers are plain to see, and a service of it."""

from __future__ import annotations

import pytest

from patchrerank.serving import Engine, ServiceSettings
from patchrerank.testing.colours import colour_encoder, colour_gallery
from served import served


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    return colour_gallery(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def stages():
    return "patchify:all:0.2:4"


@pytest.fixture(scope="session")
def engine(colours, stages):
    return Engine(colours.folder, stages, encoder=colour_encoder())


@pytest.fixture(scope="session")
def running(engine):
    with served(engine, ServiceSettings(max_documents=100, max_pixels=1_000_000)) as found:
        yield found


@pytest.fixture(scope="session")
def client(running):
    with running.client() as found:
        yield found
