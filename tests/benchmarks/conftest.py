"""What is timed here waits for the disk, as it does elsewhere."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_power_cuts():
    """Leave the system's calls as they are."""
