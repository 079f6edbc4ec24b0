"""A real uvicorn in a process of its own, on the loopback address."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Uvicorn", "ask_over_http", "run_to_its_end", "running_uvicorn"]

_REPOSITORY = Path(__file__).resolve().parents[2]
_SECONDS = 60.0


class Uvicorn:
    """A server that accepts connections."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port


def _start(target: str, *options: str, env: Mapping[str, str], port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "uvicorn", target, "--port", str(port), *options]
    return subprocess.Popen(
        command,
        cwd=_REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(_REPOSITORY), **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_to_its_end(
    target: str, *options: str, env: Mapping[str, str], port: int
) -> tuple[int, str]:
    """Run a server that is expected to stop by itself; return its exit code and its log."""
    process = _start(target, *options, env=env, port=port)
    try:
        _, log = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        _, log = process.communicate()
    return process.returncode, log


@contextmanager
def running_uvicorn(
    target: str, *options: str, env: Mapping[str, str], port: int
) -> Iterator[Uvicorn]:
    """Run a server until the block ends."""
    process = _start(target, *options, env=env, port=port)
    assert process.stderr is not None
    try:
        seen = ""
        for line in process.stderr:
            seen += line
            if "Uvicorn running" in line:
                break
        else:
            raise AssertionError(f"uvicorn did not start:\n{seen}")
        yield Uvicorn(process, port)
    finally:
        process.terminate()
        process.communicate(timeout=_SECONDS)


def ask_over_http(
    port: int, path: str, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Send one GET request; a body that breaks off raises ``IncompleteRead``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()
