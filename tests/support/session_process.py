"""Processes of an app that share sessions: ``race|kill kind address rounds``.

``race``: two, forked from one that has loaded everything, each with a store and a service of its
own, do the same or the opposite at once; prints what was found, by race. ``kill``: one renews,
keeps data with and ends a session, killed (SIGKILL) during one call to the store after the other;
prints what another process finds afterwards.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.sessions import SessionService
from asgi_guard.errors import AuthenticationError
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.protocols import KeyValueStore
from tests.support.store_kinds import opened

__all__ = ["kill", "race"]

_PATIENCE = 60.0
Wait = Callable[[], Any]


class Quiet:
    def emit(self, _event: SecurityEvent) -> None:
        """Print nothing: the program's output is its result."""


async def alive(sessions: SessionService, sid: str) -> bool:
    try:
        await sessions.judge(sid)
    except AuthenticationError:
        return False
    return True


class Racer:
    """One of the two: *first* makes what both then use."""

    def __init__(self, store: KeyValueStore, *, first: bool, run_id: str, wait: Wait) -> None:
        self.store, self.first, self.run_id, self.wait = store, first, run_id, wait
        self.sessions = SessionService(store)

    async def shared(self, number: int) -> str:
        """Return the sid of a session that both have validated, and so remember."""
        key = f"{self.run_id}-{number}"
        if self.first:
            issued = await self.sessions.create(user_id=self.run_id, tenant_id="acme")
            await self.store.put(key, issued.sid.reveal().encode(), ttl=60)
        self.wait()
        sid = (await self.store.get(key) or b"").decode()
        await self.sessions.validate(sid)
        self.wait()
        return sid

    async def renewals(self, number: int) -> Any:
        """Both renew: who wins has the only session."""
        sid, new = await self.shared(number), ""
        try:
            new = (await self.sessions.renew(sid)).sid.reveal()
        except AuthenticationError:
            new = ""
        self.wait()
        return [
            bool(new),
            await alive(self.sessions, sid),
            bool(new) and await alive(self.sessions, new),
        ]

    async def logout(self, number: int) -> Any:
        """One ends it while the other renews and uses it: nothing is left."""
        sid, known = await self.shared(number), [""]
        if self.first:
            await self.sessions.terminate(sid)
        else:
            known = [sid]
            try:
                await self.sessions.extend(sid)
                known.append((await self.sessions.renew(sid)).sid.reveal())
            except AuthenticationError:
                known.append("")
        self.wait()
        return [await alive(self.sessions, each) for each in known]

    async def logout_everywhere(self, number: int) -> Any:
        """One ends all of the user's sessions: the other has none from the next look on."""
        sid = await self.shared(number)
        if self.first:
            await self.sessions.terminate_all(user_id=self.run_id, tenant_id="acme")
        self.wait()
        return await alive(self.sessions, sid)


RACES = ("renewals", "logout", "logout_everywhere")


def race(kind: str, address: str, rounds: int) -> None:
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(2, timeout=_PATIENCE), fork.SimpleQueue()
    run_id = uuid4().hex

    async def racing(first: bool) -> dict[str, list[Any]]:  # noqa: FBT001 - which of two
        async with opened(kind, address, SYSTEM_CLOCK) as store:
            found: dict[str, list[Any]] = {}
            for name in RACES:
                racer = Racer(store, first=first, run_id=f"{run_id}-{name}", wait=barrier.wait)
                found[name] = [await getattr(racer, name)(number) for number in range(rounds)]
                barrier.wait()
            return found

    def process(first: bool) -> None:  # noqa: FBT001 - which of two
        results.put((first, asyncio.run(racing(first))))

    racers = [fork.Process(target=process, args=(first,)) for first in (True, False)]
    for each in racers:
        each.start()
    for each in racers:
        each.join()
    if any(each.exitcode for each in racers):
        sys.exit("a process failed")
    both = dict([results.get(), results.get()])
    pairs = {name: list(zip(both[True][name], both[False][name], strict=True)) for name in RACES}
    sys.stdout.write(json.dumps(pairs))


class Dying:
    """A store whose process is killed during its *left*-th call: sent, and not yet answered."""

    def __init__(self, store: KeyValueStore, left: int) -> None:
        self._store, self._left = store, left

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Awaitable[Any]] = getattr(self._store, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left >= 0:
                return await method(*arguments, **options)
            asyncio.get_running_loop().call_later(0.0005, os.kill, os.getpid(), signal.SIGKILL)
            await method(*arguments, **options)
            return await asyncio.Event().wait()

        return call


def _died(kind: str, address: str, sid: str, step: int) -> bool:
    async def work() -> None:
        async with opened(kind, address, SYSTEM_CLOCK) as store:
            await store.get("warm")  # the connection is there: what is cut off is the call
            sessions = SessionService(Dying(store, step))  # type: ignore[arg-type]
            renewed = await sessions.renew(sid, roles=["admin"])
            await sessions.persist(renewed.sid, {"n": 1}, version=0)
            await sessions.terminate(renewed.sid)

    child = os.fork()
    if child == 0:
        asyncio.run(work())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


async def _made(kind: str, address: str, users: list[str]) -> list[str]:
    async with opened(kind, address, SYSTEM_CLOCK) as store:
        made = [
            await SessionService(store).create(user_id=each, tenant_id="acme") for each in users
        ]
        return [issued.sid.reveal() for issued in made]


async def _found(kind: str, address: str, sessions_of: dict[str, str]) -> list[dict[str, Any]]:
    async with opened(kind, address, SYSTEM_CLOCK) as store, asyncio.timeout(30):
        sessions = SessionService(store)
        return [await _state(sessions, user, sid) for user, sid in sessions_of.items()]


async def _state(sessions: SessionService, user: str, sid: str) -> dict[str, Any]:
    before = await alive(sessions, sid)
    listed = await sessions.list_sessions(user_id=user, tenant_id="acme")
    again = await sessions.create(user_id=user, tenant_id="acme")
    works = await alive(sessions, (await sessions.renew(again.sid)).sid.reveal())
    await sessions.terminate_all(user_id=user, tenant_id="acme")
    left = await sessions.list_sessions(user_id=user, tenant_id="acme")
    return {"old": before, "listed": len(listed), "works": works, "left": len(left)}


def kill(kind: str, address: str, most: int) -> None:
    stride = 3 if kind == "asyncpg" else 1  # each child builds its statements anew
    users = [uuid4().hex for _ in range(most // stride)]
    sids = asyncio.run(_made(kind, address, users))
    died: list[bool] = []
    for step, sid in enumerate(sids):
        died.append(_died(kind, address, sid, step * stride))
        if not died[-1]:
            break
    states = asyncio.run(_found(kind, address, dict(zip(users, sids, strict=True))))
    ends = [{"died": each, **state} for each, state in zip(died, states, strict=False)]
    sys.stdout.write(json.dumps(ends))


if __name__ == "__main__":
    subscribe(Quiet())
    {"race": race, "kill": kill}[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
