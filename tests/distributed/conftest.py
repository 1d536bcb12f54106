"""One node of Ray for all that needs no other."""

from __future__ import annotations

import pytest

from ray_cluster import end, shared_node


@pytest.fixture(scope="package")
def ending():
    yield
    end()


@pytest.fixture(scope="module")
def ray(ending):
    return shared_node()
