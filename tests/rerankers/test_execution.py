"""How many threads score: torch's number at that moment, unless one is given."""

from __future__ import annotations

import threading

import pytest
import torch

from local_twins import FakeGallery
from patchrerank.rerankers import AMES, Execution
from patchrerank.rerankers.execution import one_torch_thread, run_batches
from patchrerank.rerankers.networks.ames_network import AmesNetwork
from patchrerank.rerankers.networks.configs import AmesConfig


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def workers(how):
    """The number of threads that work on two batches, which wait for each other if they can."""
    meeting, seen = threading.Barrier(2), set()

    def work():
        seen.add(threading.get_ident())
        try:
            meeting.wait(timeout=0.5)
        except threading.BrokenBarrierError:
            meeting.reset()

    run_batches(how, work, [(), ()])
    return len(seen)


def test_a_reranker_made_before_a_timing_is_timed_on_one_thread(two_threads):
    network = AmesNetwork(AmesConfig(12, 16, 2, 1, 16))
    free, fixed = (AMES(FakeGallery(None), network=network, execution=how).execution for how in
                   (Execution(), Execution(threads=2)))  # fmt: skip
    assert (workers(free), workers(fixed)) == (2, 2)
    with one_torch_thread():
        assert (workers(free), workers(fixed)) == (1, 2)
    assert torch.get_num_threads() == 2
