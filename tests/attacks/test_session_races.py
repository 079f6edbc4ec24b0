"""Every order in which two calls can meet: nothing that ended comes back, and nothing doubles.

The store stops before each of its operations, and a test drives the callers through all the orders
there are. A race that needs luck to be seen in production is seen here each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from asgi_guard.auth.sessions import IssuedSession, SessionService
from asgi_guard.auth.sessions.record import encode
from asgi_guard.auth.sessions.table import Found, Gone, SessionTable
from asgi_guard.errors import AuthenticationError
from asgi_guard.observability import SecurityEvent, subscribe
from tests.support.sessions_world import SteppedStore, World, alive, every_order, run_now, world
from tests.support.tenancy_world import ACME


class Nobody:
    """A reader that drops its events: thousands of orders are not worth a log line each."""

    def emit(self, event: SecurityEvent) -> None:
        """Drop *event*."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    unsubscribe = subscribe(Nobody())
    yield
    unsubscribe()


def logged_in(**changes: Any) -> tuple[World, IssuedSession]:
    made = world(kind=SteppedStore, **changes)
    return made, run_now(made.login())


def still_alive(made: World, sid: Any) -> bool:
    return run_now(alive(made.sessions, sid))


def usable(made: World) -> int:
    """Count the entries in the store that would let somebody in."""
    ids = [
        key.partition(":")[2]
        for key in made.store.inner._entries  # type: ignore[attr-defined]
        if key.startswith("session:")
    ]
    found = [run_now(made.sessions._table.find(each)) for each in ids]
    return sum(isinstance(each, Found) for each in found)


def standing(made: World) -> int:
    """Count the entries that would let somebody in if nothing else had ended them; quick."""
    entries = made.store.inner._entries  # type: ignore[attr-defined]
    raws = [value for key, (_, value) in entries.items() if key.startswith("session:")]
    return sum(b'"pending":false' in raw for raw in raws)


def test_of_two_renewals_one_wins_and_never_do_two_sids_work() -> None:
    """Two would be a session that survives the logout of the other."""
    known: list[IssuedSession] = []

    def make() -> tuple[World, list[Awaitable[Any]]]:
        made, issued = logged_in()
        known[:] = [issued]
        return made, [made.sessions.renew(issued.sid), made.sessions.renew(issued.sid)]

    def one_at_most(made: World) -> None:
        assert standing(made) <= 1

    orders = 0
    for made, race in every_order(make, between=one_at_most):
        orders += 1
        winners = [each for each in race.results if isinstance(each, IssuedSession)]
        assert len(winners) == 1, race
        assert usable(made) == 1
    assert orders > 50


def test_a_logout_is_never_lost_to_a_renewal() -> None:
    """One tab logs out while another raises the rights: the user has logged out."""
    known: list[IssuedSession] = []

    def make() -> tuple[World, list[Awaitable[Any]]]:
        made, issued = logged_in()
        known[:] = [issued]
        return made, [made.sessions.renew(issued.sid), made.sessions.terminate(issued.sid)]

    orders = 0
    for made, race in every_order(make):
        orders += 1
        assert race.results[1] is True, race
        assert usable(made) == 0, race
    assert orders > 50


Calls = dict[str, Any]


def contenders(made: World, issued: IssuedSession) -> Calls:
    return {
        "use": lambda: made.sessions.judge(issued.sid),
        "extend": lambda: made.sessions.extend(issued.sid),
        "renew": lambda: made.sessions.renew(issued.sid),
        "switch": lambda: made.sessions.switch_tenant(issued.sid, tenant_id=OTHER),
    }


OTHER = "00000000-0000-0000-0000-0000000610be"


@pytest.mark.parametrize("what", ["use", "extend", "renew", "switch"])
@pytest.mark.parametrize("ending", ["terminate", "all"])
def test_what_was_ended_does_not_come_back(what: str, ending: str) -> None:
    """A touch that writes what it read a moment ago would undo a logout."""

    def make() -> tuple[World, list[Awaitable[Any]]]:
        made, issued = logged_in()
        made.clock.move(60)  # a use is recorded now: a write
        end = made.sessions.terminate(issued.sid)
        if ending == "all":
            end.close()
            end = made.sessions.terminate_all(user_id="alice")  # type: ignore[assignment]
        return made, [contenders(made, issued)[what](), end]

    orders = 0
    for made, race in every_order(make):
        orders += 1
        assert usable(made) == 0, race
    assert orders >= 3


def test_a_login_that_began_before_the_end_of_all_is_ended_or_comes_after_it() -> None:
    """Whoever was logging in with the stolen password at that moment must not be left."""
    outcomes = set()

    def make() -> tuple[World, list[Awaitable[Any]]]:
        made = world(kind=SteppedStore)
        return made, [made.login(), made.sessions.terminate_all(tenant_id=ACME)]

    for made, race in every_order(make):
        assert isinstance(race.results[0], IssuedSession)
        survived = still_alive(made, race.results[0].sid)
        # It survives only if it looked for endings after that one was written.
        first_read, ending = race.order.index(0), race.order.index(1)
        outcomes.add(survived)
        if survived:
            assert ending < max(i for i, who in enumerate(race.order) if who == 0)
            assert first_read < len(race.order)
    assert outcomes == {True, False}


def test_of_two_that_each_spare_themselves_not_both_are_left() -> None:
    """Two devices log all others out at once: one of them is an other."""
    known: list[IssuedSession] = []

    def make() -> tuple[World, list[Awaitable[Any]]]:
        made = world(kind=SteppedStore)
        known[:] = [run_now(made.login()), run_now(made.login())]
        return made, [
            made.sessions.terminate_all(user_id="alice", keep=each.session.session_id)
            for each in known
        ]

    for made, race in every_order(make):
        survivors = [each for each in known if still_alive(made, each.sid)]
        assert len(survivors) == 1, race
        assert sum(isinstance(each, AuthenticationError) for each in race.results) == 1


class _PlainTouch(SessionTable):
    """Writes whatever was there: what a cache's ``set`` does."""

    async def touch(self, found: Found) -> Found | Gone:
        fresh = replace(found.record, seen_at=self._clock.now())
        raw = encode(fresh)
        await self._store.put(f"session:{found.session_id}", raw, ttl=900)
        return Found(found.session_id, raw, fresh, found.endings)


class _Careless(SessionService):
    """A service whose touch is a plain write."""

    def __init__(self, store: Any, **options: Any) -> None:
        super().__init__(store, **options)
        self._table = _PlainTouch(
            store, endings=self._endings, idle=self.limits.idle, clock=self.clock
        )


def test_control_a_plain_write_brings_an_ended_session_back() -> None:
    """Negative control: the same orders find the leak in a service that touches carelessly."""

    def make() -> tuple[World, list[Awaitable[Any]]]:
        made, issued = logged_in(service=_Careless)
        made.clock.move(60)
        return made, [made.sessions.judge(issued.sid), made.sessions.terminate(issued.sid)]

    assert any(usable(made) for made, _ in every_order(make))


class _TwoStepsRenewal(SessionTable):
    """Gives out the new session before the old one has stepped back."""

    async def hand_over(self, found: Found, session_id: str, pending: Any) -> bool:
        await self._activate(session_id, pending)
        await self._store.delete(f"session:{found.session_id}")
        return True


class _Doubling(SessionService):
    """A service that renews in two steps."""

    def __init__(self, store: Any, **options: Any) -> None:
        super().__init__(store, **options)
        self._exchange._table = _TwoStepsRenewal(
            store, endings=self._endings, idle=self.limits.idle, clock=self.clock
        )


def test_control_a_renewal_in_two_steps_is_found_out() -> None:
    """Negative control: two sids that work at once are seen between the steps."""
    most = [0]

    def make() -> tuple[World, list[Awaitable[Any]]]:
        made, issued = logged_in(service=_Doubling)
        return made, [made.sessions.renew(issued.sid), made.sessions.renew(issued.sid)]

    for _ in every_order(make, between=lambda made: most.append(standing(made))):
        if max(most) > 1:
            break

    assert max(most) > 1
