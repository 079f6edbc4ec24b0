"""A queue that is not installed is named, with the line that installs it."""

from __future__ import annotations

import subprocess
import sys

QUEUES = ("arq", "celery", "dramatiq", "procrastinate", "taskiq")
_WITHOUT = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    sys.modules[name] = None
    try:
        import_module(f"asgi_guard.integrations.{name}")
    except ImportError as error:
        print(type(error).__name__, error)
"""


def test_without_a_queue_its_extra_is_named() -> None:
    """``No module named 'celery'`` does not say that there is an extra for it."""
    told = subprocess.run(
        [sys.executable, "-c", _WITHOUT, *QUEUES], capture_output=True, text=True, check=True
    )

    lines = told.stdout.splitlines()
    assert len(lines) == len(QUEUES)
    for name, line in zip(QUEUES, lines, strict=True):
        assert line.startswith("MissingExtraError")
        assert f'pip install "asgi-guard[{name}]"' in line
