"""Studies in data bases and behind Optuna's gRPC proxy, for workers on many machines."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zlib import crc32

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage

from patchrerank.errors import MissingExtraError, SettingError, short_reason

if TYPE_CHECKING:
    from sqlalchemy import Engine

PROXY = "grpc"
PROXY_PORT = 13000
TRIES = 8
"""Of opening a data base: workers that make its tables at once trip each other up."""

MADE_AT_ONCE = ("IntegrityError", "ProgrammingError", "OperationalError", "InternalError")
"""What SQLAlchemy raises then, and for much else: the last try tells."""

LOCKS = {
    "postgresql": ("SELECT pg_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)"),
    "mysql": ("SELECT GET_LOCK(:key, -1)", "SELECT RELEASE_LOCK(:key)"),
    "mariadb": ("SELECT GET_LOCK(:key, -1)", "SELECT RELEASE_LOCK(:key)"),
}
"""By data base: how to wait for one's turn, and how to end it; it ends with the connection, too."""

EXTRAS = {"psycopg": "postgres", "psycopg2": "postgres", "grpc": "grpc"}


def open_database(url: str) -> BaseStorage:
    """Open a data base, or a proxy (``grpc://host:port``), as a storage for Optuna.

    An empty data base gets its tables; workers may start on it at once.

    Raises:
        SettingError: it cannot be opened; the password is not repeated.
        MissingExtraError: the driver's package is absent.
    """
    for number in range(TRIES):
        try:
            return _proxy(url) if is_proxy(url) else optuna.storages.get_storage(url)
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        except Exception as error:  # whatever a data base raises
            if isinstance(error.__cause__, ModuleNotFoundError):
                raise _missing(error.__cause__) from error
            if type(error).__name__ not in MADE_AT_ONCE or number == TRIES - 1:
                raise cannot_open(url, error) from error
            time.sleep(random.uniform(0, 0.1 * 2**number) if number < 4 else 1.0)
    raise AssertionError


def cannot_open(url: str, error: Exception) -> SettingError:
    """Return the error for a data base that does not answer as one."""
    reason = short_reason(error)
    password = urlsplit(url).password
    if password:
        reason = reason.replace(password, "***")
    return SettingError(f"storage {shown_url(url)}: cannot be opened ({reason})")


def shown_url(url: str) -> str:
    """Return a URL without its password."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    before, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{before.partition(':')[0]}:***@{place}").geturl()


def is_proxy(url: str) -> bool:
    """Tell Optuna's gRPC proxy from a data base."""
    return urlsplit(url).scheme == PROXY


def takes_turns(url: str) -> bool:
    """Tell whether workers on this data base can wait for one another."""
    return urlsplit(url).scheme.partition("+")[0] in LOCKS


@contextmanager
def database_turn(url: str, study: str) -> Iterator[None]:
    """Let one worker at a time, on whatever machine, take a trial from a study.

    Whoever is killed gives up the turn with its connection. Where the data base knows no such
    locks, everybody goes on, and what was taken once too often is given back
    (:mod:`~patchrerank.tuning.trials.surplus`).
    """
    if not takes_turns(url):
        yield
        return
    from sqlalchemy import text

    take, leave = map(text, LOCKS[urlsplit(url).scheme.partition("+")[0]])
    key: Any = crc32(f"patchrerank {study}".encode())
    with _engine(url).connect() as connection:
        connection.execute(take, {"key": key})
        try:
            yield
        finally:
            connection.execute(leave, {"key": key})


@lru_cache(maxsize=8)
def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine

    return create_engine(url, pool_size=1, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


def _proxy(url: str) -> BaseStorage:
    from optuna.storages import GrpcStorageProxy

    parts = urlsplit(url)
    if not parts.hostname:
        raise SettingError(f"storage {url}: name the proxy's machine, as in grpc://host:13000")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        storage = GrpcStorageProxy(host=parts.hostname, port=parts.port or PROXY_PORT)
    storage.get_all_studies()  # says now whether anybody is there
    return storage


def _missing(error: ModuleNotFoundError) -> MissingExtraError:
    name = str(error.name).partition(".")[0]
    extra = EXTRAS.get(name)
    how = f'pip install "patchrerank[{extra}]"' if extra else f"install {name}"
    return MissingExtraError(f"this storage needs the package {name}: {how}")
