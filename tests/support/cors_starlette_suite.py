"""Starlette's own tests of its CORS middleware, fetched for the installed version."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from tests.support.availability import unavailable

__all__ = ["REDIRECT", "starlette_sources"]

_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "starlette"

REDIRECT = """
import warnings
import starlette.middleware.cors
from asgi_guard.cors.compat import CORSMiddleware, UnsafeCORSWarning
warnings.simplefilter("ignore", UnsafeCORSWarning)
starlette.middleware.cors.CORSMiddleware = CORSMiddleware
"""
"""A pytest plugin: whoever imports Starlette's class gets ours."""


def starlette_sources() -> Path:
    """Return the unpacked sdist of the installed Starlette; skip where it cannot be had."""
    name = f"starlette-{version('starlette')}"
    unpacked = _CACHE / name
    if not (unpacked / "tests" / "middleware" / "test_cors.py").is_file():
        _unpack(_fetch(name), unpacked)
    return unpacked


def _fetch(name: str) -> Path:
    archive = _CACHE / f"{name}.tar.gz"
    if archive.is_file():
        return archive
    _CACHE.mkdir(parents=True, exist_ok=True)
    wanted = name.replace("starlette-", "starlette==")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:"]
    try:
        done = subprocess.run(
            [*download, "--no-deps", "--dest", str(_CACHE), wanted],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    except subprocess.TimeoutExpired:
        unavailable("Starlette's sdist", "the download took too long")
    if done.returncode or not archive.is_file():
        unavailable("Starlette's sdist", (done.stderr.strip().splitlines() or ["no file"])[-1])
    return archive


def _unpack(archive: Path, unpacked: Path) -> None:
    with tarfile.open(archive) as content:
        content.extractall(_CACHE, filter="data")
    if not (unpacked / "tests" / "middleware" / "test_cors.py").is_file():
        unavailable("Starlette's tests", "the sdist does not hold them")
