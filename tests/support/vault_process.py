"""A process of an app that wants one user's token: ``kind where folder how-many [unlocked]``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.tenancy import use_context
from asgi_guard.vault import (
    Connector,
    FileVaultStore,
    KeyRing,
    LocalMasterKey,
    OAuthToken,
    TokenVault,
    VaultStore,
)
from asgi_guard.vault.slot import Slot
from tests.support.tenancy_world import ACME, context
from tests.support.vault_stores import sql_store
from tests.support.vault_world import token

__all__ = ["main"]


async def main(kind: str, where: str, folder: Path, expected: int, *, unlocked: bool) -> None:
    """Wait until all are there, then get the token."""
    store: VaultStore = FileVaultStore(where) if kind == "file" else sql_store(where)
    if unlocked:
        _unlock(store)

    async def refresh(_old: OAuthToken) -> OAuthToken:
        with (folder / "asked").open("a") as file:
            file.write("asked\n")
        await asyncio.sleep(1.0)  # the others arrive meanwhile
        return token("new", refresh="r1", ends=SYSTEM_CLOCK.now() + 3600)

    vault = TokenVault(
        store=store,
        keys=KeyRing(LocalMasterKey.from_file(folder / "key")),
        connectors=[Connector(provider="google", refresh=refresh)],
    )
    (folder / f"ready-{os.getpid()}").touch()
    while len(list(folder.glob("ready-*"))) < expected:  # noqa: ASYNC110, ASYNC240 - other processes
        await asyncio.sleep(0.01)
    with use_context(context(ACME)):
        got = await vault.get("google")
    sys.stdout.write(f"\n{got.access_token.reveal()}\n")


def _unlock(store: VaultStore) -> None:
    @asynccontextmanager
    async def exclusive(_slot: Slot, *, hold: float = 60.0) -> AsyncIterator[VaultStore]:
        yield store

    store.exclusive = exclusive  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    asyncio.run(
        main(
            sys.argv[1],
            sys.argv[2],
            Path(sys.argv[3]),
            int(sys.argv[4]),
            unlocked="unlocked" in sys.argv,
        )
    )
