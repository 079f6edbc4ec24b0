"""A process that owns an embedded server and does nothing else; the tests end it in every way.

Usage: ``python owner.py [data_dir]``. Prints one JSON line with what it started, then waits. With
``FORK=1`` in front of the folder it also leaves a forked child that outlives it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from asgi_guard.testing import EmbeddedPostgres


def main() -> None:
    """Start, report, wait."""
    arguments = sys.argv[1:]
    fork = "FORK=1" in arguments
    folders = [word for word in arguments if word != "FORK=1"]
    with EmbeddedPostgres(folders[0] if folders else None, durable=False) as postgres:
        supervisor = int(
            Path(f"/proc/{postgres.pid}/stat").read_text().rpartition(")")[2].split()[1]
        )
        child = os.fork() if fork else 0
        if fork and child == 0:
            postgres.stop()  # a forked child must not be able to stop its parent's server
            time.sleep(600)
            os._exit(0)
        report = {
            "pid": postgres.pid,
            "supervisor": supervisor,
            "home": str(postgres.home),
            "dsn": postgres.dsn(),
            "child": child,
        }
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    main()
