#!/usr/bin/env bash
# huggingface_hub 2.4.0: where every connection is refused, each single file name costs six requests
# and over 20 seconds before the error comes.
#
# The endpoint is a closed port of this machine, so that each connection is refused at once. For a file
# that is not in the cache hf_hub_download asks once and five times more, with waits of 1, 2, 4, 8 and 8
# seconds, and for the next file name it begins anew: a caller that tries several possible names of a
# weights file seems to hang for minutes. With local_files_only=True (or HF_HUB_OFFLINE=1) the same
# error comes at once.
# What to do: stop at the first LocalEntryNotFoundError whose cause is a connection, for all names.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check huggingface_hub==2.4.0

cat >show.py <<'PYTHON'
import logging
import os
import socket
import time
from importlib.metadata import version

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{port}", HF_HOME="home", NO_PROXY="127.0.0.1")
for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE"):
    os.environ.pop(name, None)
from huggingface_hub import hf_hub_download  # noqa: E402  (reads the settings above)
from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: E402


class Count(logging.Handler):
    refused = 0

    def emit(self, record):
        self.refused += "thrown while requesting" in record.getMessage()


count = Count()
log = logging.getLogger("huggingface_hub")
log.handlers = [count]
log.propagate = False

print("huggingface_hub", version("huggingface_hub"))
for file, local in (("a.json", True), ("a.json", False), ("b.json", False)):
    count.refused, start = 0, time.monotonic()
    try:
        hf_hub_download("own/model", file, local_files_only=local)
    except LocalEntryNotFoundError as error:
        slow = time.monotonic() - start > 20
        print(f"{file}, local_files_only={local}: {type(error).__name__},",
              f"{count.refused} refusals, over 20 s: {slow}")
PYTHON

cat >expected.txt <<'EXPECTED'
huggingface_hub 2.4.0
a.json, local_files_only=True: LocalEntryNotFoundError, 0 refusals, over 20 s: False
a.json, local_files_only=False: LocalEntryNotFoundError, 6 refusals, over 20 s: True
b.json, local_files_only=False: LocalEntryNotFoundError, 6 refusals, over 20 s: True
EXPECTED

venv/bin/python -I show.py | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
