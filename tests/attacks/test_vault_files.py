"""The file store against links, loose modes, foreign files, and the power cut."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi_guard.errors import ConfigError, GuardError, VaultOpenError, VaultUnavailableError
from asgi_guard.secret import Secret
from asgi_guard.tenancy import use_context
from asgi_guard.vault import (
    FileVaultStore,
    KeyRing,
    LocalMasterKey,
    TokenVault,
    write_master_key,
)
from tests.support.tenancy_world import ACME, GLOBEX, context
from tests.support.vault_world import World, token

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def acme() -> Iterator[None]:
    with use_context(context(ACME)):
        yield


async def filled(folder: Path) -> tuple[TokenVault, Path]:
    """Give a vault with one token, and the folder of its tenant."""
    world = World()
    vault = world.vault(FileVaultStore(folder))
    await vault.connect("google", token("token of alice"))
    return vault, tenant_folders(folder)[0]


def tenant_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


async def test_every_file_and_folder_is_private(tmp_path: Path) -> None:
    """Whatever the umask of the process."""
    before = os.umask(0)
    try:
        await filled(tmp_path / "vault")
    finally:
        os.umask(before)

    found = [tmp_path / "vault", *(tmp_path / "vault").rglob("*")]
    assert len(found) > 4
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}


@pytest.mark.parametrize("part", ["keys", "heads", "secrets"])
@pytest.mark.parametrize("trick", ["wider", "link", "pipe", "noise", "empty", "list", "newer"])
async def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, part: str, trick: str) -> None:
    """With our error, and without hanging on a pipe."""
    vault, folder = await filled(tmp_path / "vault")
    path = folder / f"{part}.json"
    if trick == "wider":
        path.chmod(0o644)
    elif trick in {"noise", "empty", "list", "newer"}:
        path.write_text({"noise": "{", "empty": "", "list": "[]", "newer": '{"format": 2}'}[trick])
    else:
        path.rename(tmp_path / "elsewhere")
        if trick == "link":
            path.symlink_to(tmp_path / "elsewhere")
        else:
            os.mkfifo(path, 0o600)

    with pytest.raises((ConfigError, VaultOpenError)):
        await vault.get("google")


@pytest.mark.parametrize("part", ["keys", "heads", "secrets"])
async def test_another_tenants_file_is_refused(tmp_path: Path, part: str) -> None:
    """Copied into the place of ours, byte for byte."""
    vault, folder = await filled(tmp_path / "vault")
    with use_context(context(GLOBEX)):
        await vault.connect("google", token("token of globex"))
    other = next(path for path in tenant_folders(tmp_path / "vault") if path != folder)
    (folder / f"{part}.json").write_bytes((other / f"{part}.json").read_bytes())

    with pytest.raises(VaultOpenError, match="vault_swapped"):
        await vault.get("google")


async def test_an_earlier_file_put_back_is_found_out(tmp_path: Path) -> None:
    """The secrets of last week's backup beside today's heads."""
    world = World()
    vault = world.vault(FileVaultStore(tmp_path / "vault"))
    await vault.connect("google", token("old"))
    path = next((tmp_path / "vault").glob("*/secrets.json"))
    backup = path.read_bytes()
    await vault.reconnect("google", token("new"))

    path.write_bytes(backup)

    with pytest.raises(VaultOpenError, match="vault_rolled_back"):
        await world.vault(FileVaultStore(tmp_path / "vault")).get("google")


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """And one that is a link."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("open", "link"):
        with pytest.raises(ConfigError):
            FileVaultStore(tmp_path / name)


async def test_a_disk_that_fails_is_unavailable(tmp_path: Path) -> None:
    """Not an error with a path in it for the caller."""
    vault, folder = await filled(tmp_path / "vault")
    (folder / "secrets.json.new").mkdir()

    with pytest.raises(VaultUnavailableError) as caught:
        await vault.reconnect("google", token("new"))
    assert str(tmp_path) not in str(caught.value)
    assert (await vault.get("google")).access_token.reveal() == "token of alice"


WRITER = """
import asyncio, sys
from pathlib import Path
from asgi_guard.secret import Secret
from asgi_guard.tenancy import UserExecutionContext, use_context
from asgi_guard._internal.events import subscribe
from asgi_guard.vault import FileVaultStore, KeyRing, LocalMasterKey, TokenVault

class Quiet:
    def emit(self, event): pass

async def main(folder, key, tenant, user, turns):
    subscribe(Quiet())
    vault = TokenVault(store=FileVaultStore(folder), keys=KeyRing(LocalMasterKey.from_file(key)))
    with use_context(UserExecutionContext(tenant_id=tenant, user_id=user)):
        for turn in range(int(turns)):
            await vault.put_secret("smtp", Secret(f"{user} {turn}"))
            print(turn, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def start_writer(tmp_path: Path, user: str, turns: int) -> subprocess.Popen[str]:
    arguments = [str(tmp_path / "vault"), str(tmp_path / "key"), ACME, user, str(turns)]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


async def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """``kill -9`` between any two steps: the old or the new secret is there, whole."""
    write_master_key(tmp_path / "key")
    keys = KeyRing(LocalMasterKey.from_file(tmp_path / "key"))
    for turns_before_the_kill in (1, 2, 3, 5, 8, 13):
        writer = start_writer(tmp_path, "alice", 1000)
        try:
            acknowledged = await asyncio.to_thread(_read_turns, writer, turns_before_the_kill)
        finally:
            writer.send_signal(signal.SIGKILL)
            rest = writer.communicate()[0].split()
        newest = max([acknowledged, *map(int, rest)])

        vault = TokenVault(store=FileVaultStore(tmp_path / "vault"), keys=keys)
        found = int((await vault.get_secret("smtp")).reveal().split()[1])

        assert found in {newest, newest + 1}


def _read_turns(writer: subprocess.Popen[str], turns: int) -> int:
    if writer.stdout is None:
        raise LookupError("no output")
    return [int(writer.stdout.readline()) for _ in range(turns)][-1]


async def test_processes_of_one_host_do_not_overwrite_each_other(tmp_path: Path) -> None:
    """Four processes write into one file, each its own user's secret, and none is lost."""
    write_master_key(tmp_path / "key")
    users = ["alice", "bob", "carol", "dave"]
    writers = [start_writer(tmp_path, user, 10) for user in users]
    for writer in writers:
        await asyncio.to_thread(writer.communicate)

    keys = KeyRing(LocalMasterKey.from_file(tmp_path / "key"))
    vault = TokenVault(store=FileVaultStore(tmp_path / "vault"), keys=keys)
    assert [writer.returncode for writer in writers] == [0] * 4
    for user in users:
        with use_context(context(ACME, user)):
            assert (await vault.get_secret("smtp")).reveal() == f"{user} 9"


async def test_control_without_the_lock_processes_would_overwrite_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the same race, in threads, with the lock taken away."""
    from contextlib import nullcontext  # noqa: PLC0415 - of this test alone

    monkeypatch.setattr("asgi_guard.vault.file_store.locked", lambda _path: nullcontext())
    store = FileVaultStore(tmp_path / "vault")
    vault = World().vault(store)
    lost = 0
    for turn in range(20):
        with use_context(context(ACME, "first")):
            await vault.put_secret(f"warm-{turn}", Secret("x"))

        async def put(user: str, name: str) -> str:
            try:
                with use_context(context(ACME, user)):
                    await vault.put_secret(name, Secret(user))
                    return (await vault.get_secret(name)).reveal()
            except GuardError as error:
                return error.code

        names = [f"user-{number}" for number in range(6)]
        back = await asyncio.gather(*(put(name, f"turn-{turn}") for name in names))
        lost += back != names
        if lost:
            break

    assert lost
