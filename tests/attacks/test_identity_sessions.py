"""Sessions whose end gets lost halfway, and stores that answer less than they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.sessions import IssuedSession, SessionService
from asgi_guard.errors import AuthenticationError, UnavailableError
from asgi_guard.observability import subscribe
from tests.support.exchange import Events
from tests.support.sessions_world import world
from tests.support.tenancy_world import ACME


class Faltering(MemoryStore):
    """A store that fails, or hangs, at one of its operations, once told at which."""

    at = 0
    hangs = False

    async def _falter(self) -> None:
        self.at -= 1
        if self.at == 0 and self.hangs:
            await asyncio.Event().wait()
        if self.at == 0:
            raise UnavailableError("store_unreachable")

    async def get(self, key: str) -> bytes | None:
        await self._falter()
        return await super().get(key)

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        await self._falter()
        return await super().replace(key, old, new, ttl=ttl)

    async def take(self, key: str) -> bytes | None:
        await self._falter()
        return await super().take(key)


async def broken_off(end: Coroutine[Any, Any, object]) -> None:
    """Begin *end*, and go away if it hangs."""
    task = asyncio.ensure_future(end)
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError, UnavailableError):
        await task


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
@pytest.mark.parametrize("by", ["logout", "provider"])
async def test_a_logout_that_broke_off_anywhere_is_done_by_the_next_one(
    hangs: bool,  # noqa: FBT001 - a parameter of the test
    by: str,
) -> None:
    """Renewed since, a session is found by a trail; half a logout must not wipe it out."""
    for step in range(1, 16):
        made = world()
        store = Faltering(clock=made.clock)
        sessions = SessionService(store, memberships=made.members, clock=made.clock)
        first = await sessions.create(user_id="alice", tenant_id=ACME)
        last = await sessions.renew((await sessions.renew(first.sid)).sid)

        def end(
            sessions: SessionService = sessions, first: IssuedSession = first
        ) -> Coroutine[Any, Any, bool]:
            if by == "logout":
                return sessions.terminate(first.sid)
            return sessions.terminate_origin(first.session.session_id)

        store.at, store.hangs = step, hangs
        await broken_off(end())
        store.at = 0
        await end()

        with pytest.raises(AuthenticationError):
            await sessions.validate(last.sid)


class Partial(MemoryStore):
    """A store whose "get many" answers less than it was asked, once told how."""

    how = ""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = await super().get_many(keys)
        if self.how == "without what it has not":
            return [each for each in found if each is not None]
        return found[:1] if self.how == "the first alone" else found


@pytest.mark.parametrize("how", ["without what it has not", "the first alone"])
@pytest.mark.parametrize("known", [True, False])
async def test_a_store_that_answers_less_than_it_was_asked_opens_nothing(
    how: str,
    known: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The session is there; whether all of the user's were ended is what it does not say."""
    made = world()
    store = Partial(clock=made.clock)
    sessions = SessionService(store, clock=made.clock)
    issued = await sessions.create(user_id="alice", tenant_id=ACME)
    other = await sessions.create(user_id="alice", tenant_id=ACME)
    await sessions.validate(issued.sid)
    await sessions.terminate_all(user_id="alice", tenant_id=ACME)
    store.how = how

    with pytest.raises((UnavailableError, AuthenticationError)):
        await sessions.validate(issued.sid if known else other.sid)
    with pytest.raises(UnavailableError):
        await sessions.create(user_id="alice", tenant_id=ACME)


async def test_a_list_that_is_none_is_a_store_that_does_not_answer() -> None:
    """Rubbish under one key is the operator's to mend, and no 500."""
    made = world()
    await made.login()
    for key in list(made.store.keys):
        if key.startswith("session-list:"):
            await made.store.put(key, b"\xff", ttl=60)

    with pytest.raises(UnavailableError):
        await made.sessions.list_sessions(user_id="alice", tenant_id=ACME)


@pytest.mark.parametrize("step", ["create", "renew", "terminate"])
async def test_a_caller_who_hangs_up_anywhere_leaves_one_event(step: str) -> None:
    """Whoever cuts the connection at the right moment must not act unseen."""
    name = {"create": "SESSION_CREATED", "renew": "SESSION_RENEWED"}.get(step)
    for at in range(1, 14):
        made = world()
        store = Faltering(clock=made.clock)
        sessions = SessionService(store, memberships=made.members, clock=made.clock)
        first = await sessions.create(user_id="alice", tenant_id=ACME)
        events = Events()
        unsubscribe = subscribe(events)
        store.at, store.hangs = at, True

        if step == "create":
            await broken_off(sessions.create(user_id="alice", tenant_id=ACME))
        elif step == "renew":
            await broken_off(sessions.renew(first.sid))
        else:
            await broken_off(sessions.terminate(first.sid))

        unsubscribe()
        store.at = 0
        named = [event.name for event in events.seen]
        if name is not None:
            assert named == [name], at
        else:
            gone = await store.get(f"session:{first.session.session_id}") is None
            assert named == ["SESSION_TERMINATED"] * gone, at
