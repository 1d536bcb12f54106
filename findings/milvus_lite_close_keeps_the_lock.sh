#!/usr/bin/env bash
# pymilvus 3.0.2 with milvus-lite 3.2.2: after client.close() the database is still locked, and whoever
# opens it next finds its collections released.
#
# Milvus Lite runs in the process that opens a file. close() leaves that server running until the
# process ends, so another process cannot open the file: "Open local milvus failed" (the lock is only
# told of in the log). A process that may open it finds every collection in the state 'released', also
# one that was made loaded: query and search are refused until load_collection was called.
# What to do: open the file in the last process that needs it, and call load_collection first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -qq --disable-pip-version-check pymilvus==3.0.2 milvus-lite==3.2.2

cat >show.py <<'PYTHON'
import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

logging.disable(logging.CRITICAL)
Path("ask.py").write_text("""
import logging
from pymilvus import MilvusClient
logging.disable(logging.CRITICAL)
try:
    client = MilvusClient("milvus.db")
    for load in (False, True):
        if load:
            client.load_collection("c")
        try:
            print(len(client.query("c", filter="id >= 0")), "rows")
        except Exception as error:
            print(str(error).partition("message=")[2].partition(";")[0])
except Exception as error:
    print(str(error).partition("message=")[2].rstrip(")>"))
""")


def asked():
    done = subprocess.run(
        [sys.executable, "-I", "ask.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout.splitlines()


from pymilvus import MilvusClient

print("pymilvus", version("pymilvus"), "milvus-lite", version("milvus-lite"))
if sys.argv[1] == "write":
    client = MilvusClient("milvus.db")
    client.create_collection("c", dimension=4)
    client.insert("c", [{"id": 1, "vector": [1.0, 0.0, 0.0, 0.0]}])
    print("here:", len(client.query("c", filter="id >= 0")), "rows")
    client.close()
    print("another process, after close():", *asked())
else:
    print("another process, later:", *asked(), sep="\n  ")
PYTHON

cat >expected.txt <<'EXPECTED'
pymilvus 3.0.2 milvus-lite 3.2.2
here: 1 rows
another process, after close(): Open local milvus failed
pymilvus 3.0.2 milvus-lite 3.2.2
another process, later:
  Collection 'c' is in state 'released'
  1 rows
EXPECTED

for when in write later; do venv/bin/python -I show.py "$when" 2>/dev/null; done | tee seen.txt
diff expected.txt seen.txt || { echo "changed: the output is not the expected one" >&2; exit 1; }
