"""An extra that is not installed is named, with the line that installs it."""

from __future__ import annotations

import subprocess
import sys

_WITHOUT = "import sys; sys.modules['fastapi'] = None; import asgi_guard.integrations.fastapi"


def test_without_fastapi_the_extra_is_named() -> None:
    """``No module named 'fastapi'`` does not say that there is an extra for it."""
    run = subprocess.run(
        [sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=False
    )

    assert run.returncode == 1
    assert "MissingExtraError" in run.stderr
    assert 'pip install "asgi-guard[fastapi]"' in run.stderr
