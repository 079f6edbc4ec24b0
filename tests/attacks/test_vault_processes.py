"""Several real processes, one expired token: the provider is asked once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asgi_guard.tenancy import use_context
from asgi_guard.vault import KeyRing, LocalMasterKey, TokenVault, write_master_key
from tests.support.tenancy_world import ACME, context
from tests.support.vault_fixtures import stores
from tests.support.vault_stores import Stores
from tests.support.vault_world import token

__all__ = ["stores"]

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 2

# A memory belongs to one process.
shared = pytest.mark.parametrize(
    "stores", ["file", pytest.param("sql", marks=pytest.mark.postgres)], indirect=True
)


@shared
async def test_the_provider_hears_from_one_process_only(stores: Stores, tmp_path: Path) -> None:
    """Each would use up the refresh token of the others."""
    write_master_key(tmp_path / "key")
    vault = TokenVault(
        store=stores.another(), keys=KeyRing(LocalMasterKey.from_file(tmp_path / "key"))
    )
    with use_context(context(ACME)):
        await vault.connect("google", token("old", ends=1.0))

    printed = await _run_all(stores, tmp_path)

    assert (tmp_path / "asked").read_text().count("asked") == 1
    assert [line.split()[-1] for line in printed] == ["new"] * PROCESSES


@shared
async def test_control_without_the_lock_every_process_asks(stores: Stores, tmp_path: Path) -> None:
    """Negative control: the same processes, and ``exclusive`` shuts nobody out."""
    write_master_key(tmp_path / "key")
    vault = TokenVault(
        store=stores.another(), keys=KeyRing(LocalMasterKey.from_file(tmp_path / "key"))
    )
    with use_context(context(ACME)):
        await vault.connect("google", token("old", ends=1.0))

    await _run_all(stores, tmp_path, "unlocked")

    assert (tmp_path / "asked").read_text().count("asked") > 1


async def _run_all(stores: Stores, tmp_path: Path, *flags: str) -> list[str]:
    """Start the processes, let them begin at once, and give what they printed."""
    arguments = [stores.kind, stores.address, str(tmp_path), str(PROCESSES), *flags]
    program = [sys.executable, "-m", "tests.support.vault_process", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [_start(program, environment) for _ in range(PROCESSES)]
    try:
        return [
            (await asyncio.to_thread(process.communicate, timeout=60))[0].strip()
            for process in started
        ]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _start(program: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(program, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
