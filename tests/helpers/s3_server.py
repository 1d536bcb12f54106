"""A server of S3's, on loopback."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from patchrerank.remote_files import file_system


@contextmanager
def s3_server(bucket: str = "photos") -> Iterator[Any]:
    """Run one with an empty bucket; yields pyarrow's view of it."""
    server = pytest.importorskip("moto.server")
    fs = pytest.importorskip("pyarrow.fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # each request is a line
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    given = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with patch.dict(os.environ, given):
            file_system.cache_clear()
            files = fs.S3FileSystem(
                endpoint_override=given["AWS_ENDPOINT_URL"],
                region="us-east-1",
                allow_bucket_creation=True,
            )
            files.create_dir(bucket)
            yield files
    finally:
        file_system.cache_clear()
        running.stop()


def upload(files: Any, folder: Path, place: str) -> None:
    """Copy all files of a folder to ``bucket/prefix``."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with files.open_output_stream(f"{place}/{path.relative_to(folder).as_posix()}") as out:
                out.write(path.read_bytes())
