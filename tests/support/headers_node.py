"""The graders of security headers that are written for node."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from tests.support.node_install import installed_node_parts

__all__ = ["installed_graders", "run_grader"]

_SOURCES = Path(__file__).parent / "headers_graders"
_RUN_SECONDS = 60


def installed_graders() -> Path:
    """Return the folder of the graders."""
    return installed_node_parts(_SOURCES, "header-graders")


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
