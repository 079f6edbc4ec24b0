"""Replays across workers: two real processes on one store are one app (CWE-294)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import MemoryStore
from tests.support.oidc_provider import SmallProvider
from tests.support.oidc_world import (
    FETCH,
    Browser,
    Sessions,
    provider_settings,
    sessions_app,
    world,
)
from tests.support.tenancy_world import MovedClock


@asynccontextmanager
async def worker(issuer: str, shared: str) -> AsyncIterator[str]:
    """Run one worker until the block ends; gives its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.oidc_worker",
        issuer,
        shared,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def two_workers(shared: str) -> AsyncIterator[tuple[SmallProvider, list[str]]]:
    """Run a provider and two workers."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(
            SmallProvider.serving(MovedClock(SYSTEM_CLOCK.now()))
        )
        started = [stack.enter_async_context(worker(provider.issuer, shared)) for _ in range(2)]
        yield provider, list(await asyncio.gather(*started))


async def callbacks(provider: SmallProvider, workers: list[str], count: int) -> list[int]:
    """Begin at the first worker, and come back *count* times at once, to each in turn."""
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        begun = await client.get(f"{workers[0]}/auth/login/small")
        cookie = begun.headers["set-cookie"].partition(";")[0]
        back = provider.authorize(begun.headers["location"])
        answers = await asyncio.gather(
            *(
                client.get(
                    f"{workers[(1 + number) % 2]}/auth/callback/small",
                    params=back,
                    headers={"cookie": cookie},
                )
                for number in range(count)
            )
        )
    return sorted(answer.status_code for answer in answers)


async def test_one_of_many_callbacks_at_two_workers_logs_in(tmp_path: Path) -> None:
    """A replay wins nothing by arriving at another process, or at the same moment."""
    async with two_workers(str(tmp_path / "state.db")) as (provider, workers):
        assert await callbacks(provider, workers, 1) == [303]
        assert await callbacks(provider, workers, 8) == [303, *[400] * 7]
        assert provider.calls.count("POST /token") == 2  # one code each


async def test_workers_that_share_nothing_would_be_caught() -> None:
    """Negative control: with a memory each, the second one knows nothing of the first."""
    async with world() as w:
        there = w.browser()
        back = w.provider.authorize(await w.begin(there))
        other = Browser(
            sessions_app(
                [provider_settings(w.provider)], Sessions(), store=MemoryStore(), fetch=FETCH
            )
        )
        other.cookies = there.cookies

        assert (await other.go("/auth/callback/small", **back)).status == 400
        assert w.refusal() == "state_unknown"
