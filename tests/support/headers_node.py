"""The graders of security headers that are written for node, installed once into ``.cache``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.availability import unavailable

__all__ = ["installed_graders", "run_grader"]

_SOURCES = Path(__file__).parent / "headers_graders"
_CACHE = Path(__file__).resolve().parents[2] / ".cache"
_INSTALL_SECONDS = 300
_RUN_SECONDS = 60


def installed_graders() -> Path:
    """Return the folder of the graders, as the committed lock file pins them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        unavailable("node", "node and npm are not installed (Debian: apt-get install nodejs npm)")
    digest = hashlib.sha256((_SOURCES / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = _CACHE / f"header-graders-{digest}"
    if not folder.exists():
        _install(folder)
    for script in _SOURCES.glob("*.mjs"):
        shutil.copy(script, folder)
    return folder


def _install(folder: Path) -> None:
    """Install beside *folder* and move into place, so that two runs cannot meet half-way."""
    _CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as made:
        target = Path(made) / "graders"
        shutil.copytree(_SOURCES, target)
        # Install scripts stay off: one would download lists that these tests do not need.
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=target,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            unavailable("the header graders", f"npm ci failed: {done.stderr[-300:]}")
        try:
            target.rename(folder)
        except OSError:
            if not folder.exists():  # another run was first, or it is a real failure
                raise


async def run_grader(folder: Path, script: str, *arguments: str, **variables: str) -> Any:
    """Run one script and return the JSON it prints."""
    process = await asyncio.create_subprocess_exec(
        "node",
        script,
        *arguments,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_RUN_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()[-2000:]
    return json.loads(out)
