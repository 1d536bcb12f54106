"""What each request would log again is logged once a minute."""

from __future__ import annotations

import logging
import signal

import httpx
import pytest

from drawn_galleries import draw_gallery
from patchrerank.serving import thinned_log
from patchrerank.serving.thinned_log import ThinnedLog
from served import served_process


def lines(monkeypatch, told):
    """What passes of ``(second, logger, level, wording, arguments)``."""
    written, clock = [], [0.0]
    monkeypatch.setattr(thinned_log.time, "monotonic", lambda: clock[0])
    handler = logging.Handler()
    handler.emit = lambda record: written.append(record.getMessage())
    handler.addFilter(ThinnedLog())
    for second, name, level, wording, *arguments in told:
        clock[0] = second
        handler.handle(logging.LogRecord(name, level, "", 0, wording, tuple(arguments), None))
    return written


def test_one_wording_a_minute_with_how_many_were_left_out(monkeypatch):
    scale, app = "patchrerank.rerankers.score_scale", "patchrerank.serving.posts"
    told = [(second, scale, logging.WARNING, "scores to %d", second) for second in range(130)]
    told += [(130, app, logging.WARNING, "%s", text) for text in "aab"]
    told += [(131, app, logging.ERROR, "failed")] * 2
    told += [(131, "patchrerank.serving.watching", logging.WARNING, "the old one stays")] * 2
    assert lines(monkeypatch, told) == [
        "scores to 0",
        "scores to 60 (59 more like it)",
        "scores to 120 (59 more like it)",
        *"ab",
        *["failed"] * 2,
        *["the old one stays"] * 2,
    ]


@pytest.mark.slow
def test_a_service_does_not_log_it_with_each_request(tmp_path):
    gallery = draw_gallery(tmp_path / "g", [f"{number}.jpg" for number in range(9)], 2, 8)
    body = {"query": {"id": "0.jpg"}, "box": [0, 0, 1, 1]}
    with served_process(gallery.folder, "--lazy") as (process, address):
        for _ in range(5):
            assert httpx.post(f"{address}/search", json=body).status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read().count("0.jpg: no such file") == 1
