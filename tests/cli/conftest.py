"""Commands of one session share their encoders, but in a process that forks."""

from __future__ import annotations

import os

import pytest

from alone import ALONE
from loaded_once import encoders_loaded_once


@pytest.fixture(scope="module", autouse=True)
def shared_encoders():
    if ALONE in os.environ:  # threads of a network would not live on in a fork
        yield
        return
    with encoders_loaded_once():
        yield
