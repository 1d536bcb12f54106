"""Jobs in forked children: one that dies or hangs costs its own job, not the others."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Sequence
from typing import Any

MEMORY = 8 << 30


def outcomes(
    answer_all: Callable[[Sequence[Any], Callable[[str], None]], None],
    jobs: Sequence[Any],
    seconds: float,
) -> list[str]:
    """Return what came of each job; a child that dies or hangs is replaced by another.

    Args:
        answer_all: in a child, does job after job and tells the outcome of each.
        jobs: what it is given, from the first that has no outcome yet.
        seconds: after which a job that tells nothing counts as endless.
    """
    context, found = multiprocessing.get_context("fork"), []
    while len(found) < len(jobs):
        pipe, theirs = context.Pipe(duplex=False)
        given = (answer_all, jobs[len(found) :], theirs)
        child = context.Process(target=_work, args=given, daemon=True)
        child.start()
        theirs.close()
        while len(found) < len(jobs):
            if not pipe.poll(seconds):
                found.append("endless")
                break
            try:
                found.append(pipe.recv())
            except EOFError:
                found.append("the process died")
                break
        child.kill()
        child.join()
    return found


def _work(answer_all: Callable, jobs: Sequence[Any], pipe: Any) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    answer_all(jobs, pipe.send)
