"""A gallery of photographs with local descriptors, its service with the page, and a browser."""

from __future__ import annotations

import shutil

import pytest

from command_line import run
from patchrerank.serving import Engine
from patchrerank.serving.explorer import explorer_pages, explorer_routes
from served import served

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
ENCODER = ["--encoder", "timm:test_resnet", "--random-weights", "--image-size", 64]
LOCAL = ["--local", "--local-image-size", 96, "--local-count", 20]
STAGES = "patchify:all:0.3:4,dense_correlation:25:0.7:1"
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip


def explored(engine, **options):
    """A running service with the page."""
    routes = explorer_routes(engine, **options)
    return served(engine, routes=routes, pages=explorer_pages())


@pytest.fixture(scope="session")
def photo_gallery(tmp_path_factory, photo_folder):
    folder = tmp_path_factory.mktemp("explored") / "gallery"
    run("index", photo_folder, folder, *ENCODER, "--regions", "grid:2", *LOCAL, "--quiet")
    return folder


@pytest.fixture(scope="session")
def photos(photo_gallery):
    """An engine of them."""
    return Engine(photo_gallery, STAGES, query_crop="box", load_encoder=True)


@pytest.fixture(scope="session")
def site(photos):
    with explored(photos) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """A driver keeps its event loop running, so it must not outlive the module that needs it."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """A fresh page; what it complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(90_000)  # for a state, on a machine at other work
    broken = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.on("console", lambda said: "Policy" in said.text and broken.append(said.text))
    yield opened
    context.close()
    assert not broken
