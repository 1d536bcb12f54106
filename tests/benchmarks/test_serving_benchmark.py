"""A service under load: 16 clients beside one that asks one thing after the other.

``pytest tests/benchmarks/test_serving_benchmark.py -m slow -s --benchmark-enable``: two minutes;
``SERVING_SECONDS=10`` makes it shorter. K = 400 of a gallery of ``SERVING_IMAGES`` (2,000) images
of 30 patches, float16, 256-d; answers hold ``SERVING_TOP`` (10) results; 0: all 400, 110 KB of
JSON each. The service is a process of its own; the clients are threads of this one, which do little
but wait. ``SERVING_RATIO`` (1.4) is the least that company must be quicker; with answers of 110 KB
it is hardly, for all of their JSON is one process's Python.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from drawn_galleries import draw_gallery

SECONDS = float(os.environ.get("SERVING_SECONDS", "60"))
IMAGES = int(os.environ.get("SERVING_IMAGES", "2000"))
TOP = int(os.environ.get("SERVING_TOP", "10"))
PATCHES, DIM, K, CLIENTS, ROUNDS = 30, 256, 400, 16, 4
RATIO = float(os.environ.get("SERVING_RATIO", "1.4"))
SPREAD, GROWTH = 5.0, 0.05


def bodies(gallery, count=64):
    """Requests as bytes: a vector, 400 ids of the gallery, and the first stage's scores."""
    import orjson

    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        vector = rng.standard_normal(DIM).astype(np.float32)
        vector /= np.linalg.norm(vector)
        ids = gallery.ids.at(rng.permutation(len(gallery))[:K])
        body = {"query": {"vector": vector.tolist()}, "documents": ids, "top_n": TOP}
        body["scores"] = (-np.sort(-rng.uniform(0, 1, K))).round(6).tolist()
        raw = orjson.dumps(body)
        head = f"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
        found.append(head.encode() + raw)
    return found


def ask(sock, request):
    """Post one request; return the status and the length of the answer."""
    sock.sendall(request)
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += sock.recv(1 << 18)
    head = data[:end].lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    have = len(data) - end - 4
    while have < length:
        have += len(sock.recv(1 << 18))
    return int(head[9:12]), length


def load(port, requests, clients, seconds):
    """Return the seconds of each request of so many clients, and how many failed."""
    spent, failed, until = [], [], time.perf_counter() + seconds

    def run(number):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            while (begun := time.perf_counter()) < until:
                status, _ = ask(sock, requests[number % len(requests)])
                spent.append(time.perf_counter() - begun)
                failed.extend([status] * (status != 200))
                number += clients

    threads = [threading.Thread(target=run, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return spent, failed


def memory(pid):
    """Resident bytes of a process that are its own."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


@pytest.fixture
def service(tmp_path):
    names = [f"photos/{number:09d}.jpg" for number in range(IMAGES)]
    gallery = draw_gallery(tmp_path / "g", names, PATCHES, DIM)
    command = [sys.executable, "-m", "patchrerank.cli.main", "serve", str(gallery.folder), "--lazy"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--poll", "0"], stdout=subprocess.PIPE, text=True
    )
    address = process.stdout.readline().split(" at http://127.0.0.1:")[1]
    yield process.pid, int(address.split(";")[0]), bodies(gallery)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_service_under_load(service):
    pid, port, requests = service
    load(port, requests, CLIENTS, 3)  # what is read once is read
    alone, together, sizes = [], [], [memory(pid)]
    for _ in range(ROUNDS):  # in turns, for the machine is not ours alone
        one, failed_one = load(port, requests, 1, SECONDS / ROUNDS / 2)
        many, failed_many = load(port, requests, CLIENTS, SECONDS / ROUNDS)
        assert failed_one + failed_many == []
        alone.append(len(one) / (SECONDS / ROUNDS / 2))
        together.append(len(many) / (SECONDS / ROUNDS))
        sizes.append(memory(pid))
    quiet, median = statistics.median(one), statistics.median(many)
    late = float(np.percentile(many, 99))
    ratio = statistics.median(np.divide(together, alone))
    print(
        f"\n{IMAGES} images, K={K}, top_n={TOP}: one at a time {statistics.median(alone):.0f}/s "
        f"({1000 * quiet:.1f} ms), {CLIENTS} clients {statistics.median(together):.0f}/s = "
        f"{ratio:.2f}×; of these median {1000 * median:.1f} ms, p99 {1000 * late:.1f} ms = "
        f"{late / median:.1f}×; own memory {sizes[0] / 2**20:.0f} → {sizes[-1] / 2**20:.0f} MiB"
    )
    assert late < SPREAD * median
    assert sizes[-1] < (1 + GROWTH) * sizes[1]
    assert ratio > RATIO
