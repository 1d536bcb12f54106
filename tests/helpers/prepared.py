"""Python processes that begin with the heavy packages imported, forked from one that has no thread.

A fresh interpreter imports torch and timm for seconds, which is most of a small command. What is
the library's own is imported by each process itself. Run as a script, this file is that process:
it forks one for each request at a socket, in the folder that it is given. Workers of one run of
pytest share it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

PACKAGES = (
    *("numpy", "scipy.special", "scipy.stats", "PIL.Image", "PIL.JpegImagePlugin", "h5py"),
    *("torch", "timm", "numba", "numba.np.ufunc.parallel", "faiss", "optuna", "tqdm", "typer"),
    *("rich.table", "uvicorn", "starlette.applications", "prometheus_client", "pytest"),
)
HERE = sys.platform == "linux"  # elsewhere a fork of what has imported these may not live


class Prepared:
    """A process that runs, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, words, cwd=None, env=None, stdin=""):
        job = {"words": words, "cwd": str(cwd or os.getcwd()), "env": {**(env or os.environ)}}
        out, errors = os.pipe(), os.pipe()
        self._told = socket.socket(socket.AF_UNIX)
        self._told.connect(_forking())
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            text = json.dumps(job).encode() + b"\n"
            sent = socket.send_fds(self._told, [text], [given.fileno(), out[1], errors[1]])
            self._told.sendall(text[sent:])
        for end in (out[1], errors[1]):
            os.close(end)
        self.stdout, self.stderr = (os.fdopen(pipe[0]) for pipe in (out, errors))
        self._heard = b""
        self.pid, self.returncode = self._number(), None

    def _number(self):
        while b"\n" not in self._heard:
            found = self._told.recv(100)
            assert found, "nobody forks any more"
            self._heard += found
        line, _, self._heard = self._heard.partition(b"\n")
        return int(line)

    def wait(self, timeout=None):
        """Return its exit code, as ``subprocess`` tells it."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = self._number()
            except TimeoutError as error:
                raise subprocess.TimeoutExpired(str(self.pid), timeout) from error
            self._told.close()
        return self.returncode

    def poll(self):
        with suppress(subprocess.TimeoutExpired):
            return self.wait(1e-6)

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """Return all that it says, once it has ended."""
        said: list[str] = []
        reading = threading.Thread(target=lambda: said.append(self.stderr.read()))
        reading.start()
        text = self.stdout.read()
        reading.join()
        self.wait(timeout)
        self.stdout.close()
        self.stderr.close()
        return text, said[0]


def start(*words, cwd=None, env=None, stdin=""):
    """Start Python with the words of its command line."""
    given = [str(word) for word in words]
    if HERE:
        return Prepared(given, cwd, env, stdin)
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *given], cwd=cwd, env=env, **how)


def python(*words, cwd=None, env=None, stdin=""):
    """Run Python with the words of its command line, to its end."""
    started = start(*words, cwd=cwd, env=env, stdin=stdin)
    said = started.communicate()
    return subprocess.CompletedProcess(words, started.returncode, *said)


@cache
def _forking():
    """Start the process that forks, or find that of a worker beside this one; returns its socket.

    It ends when nobody who asked for it holds its standard input open any more.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    folder = Path(tempfile.gettempdir()) / f"prepared-{run}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with alone_in(folder):
        if begun := not (folder / "socket").exists():
            os.mkfifo(folder / "held")
        reading = os.open(folder / "held", os.O_RDONLY | os.O_NONBLOCK)
        atexit.register(os.close, os.open(folder / "held", os.O_WRONLY))
        if begun:
            command = [sys.executable, __file__, folder]
            how = {"stdin": reading, "stdout": subprocess.PIPE, "cwd": Path(__file__).parents[2]}
            forking = subprocess.Popen(command, **how)
            assert forking.stdout.readline() == b"ready\n"
            _begun.append(forking)
        os.close(reading)
    return str(folder / "socket")


_begun: list[subprocess.Popen] = []


@contextmanager
def alone_in(folder):
    """Let one process at a time begin, find or end what forks."""
    import fcntl

    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def unheld(folder):
    """Whether nobody holds it; then nobody finds it any more either."""
    with alone_in(folder):
        if not select.select([sys.stdin], [], [], 0)[0]:
            return False
        shutil.rmtree(folder)
        return True


def requested(folder):
    """Fork for each request until stdin ends; returns in each fork, with what it shall do."""
    for name in PACKAGES:
        with suppress(ImportError):
            importlib.import_module(name)
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, "a fork would lose threads"
    gc.collect()
    gc.freeze()  # so that no fork copies what it only looks at
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "socket"))
    listening.listen()
    print("ready", flush=True)
    while True:
        if listening not in select.select([listening, sys.stdin], [], [])[0]:
            if unheld(folder):
                break
            continue
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        connection = listening.accept()[0]
        if os.fork() == 0:
            listening.detach()
            return in_fork(connection)
        connection.close()
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    sys.exit()


def in_fork(connection):
    """Fork once more, to tell how it ends."""
    text, files, *_ = socket.recv_fds(connection, 1 << 20, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 20)
    child = os.fork()
    if child:
        connection.sendall(b"%d\n" % child)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(OSError):
            connection.sendall(b"%d\n" % status)
        os._exit(0)
    connection.detach()
    for end, file in enumerate(files):
        os.dup2(file, end)
    os.closerange(3, 100)
    return json.loads(text)


def begin(job):
    """Look as a process of its own does, and run."""
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(end, mode, 1 if end == 2 else -1) for end, mode in enumerate(("r", "w", "w"))
    )
    kind, *words = job["words"]
    added = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:1] = [job["cwd"], *(place for place in added if place not in sys.path)]
    sys.path.append(str(Path(__file__).parent))  # with what else helps tests
    if kind == "-c":
        sys.argv = ["-c", *words[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(words[0], "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = [kind, *words], os.path.dirname(kind)
        runpy.run_path(kind, run_name="__main__")


def end(code):
    """End as an interpreter does, but do not free, module by module, all that was imported."""
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    asked = requested(Path(sys.argv[1]))
    try:
        begin(asked)
    except SystemExit as stop:
        end(stop.code)
    end(0)
