"""The life of a session: made, used, renewed, moved, listed, ended."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.sessions import SessionLimits, SessionService
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    ConflictError,
    RejectionError,
    TenantAccessError,
    UnavailableError,
)
from asgi_guard.secret import Secret
from asgi_guard.tenancy import Status, use_context
from tests.support.passwords_people import listening
from tests.support.sessions_world import alive, world
from tests.support.tenancy_world import ACME, GLOBEX, context


async def refused(work: object) -> str:
    """Return the reason of the refusal that awaiting *work* ends in."""
    with pytest.raises(RejectionError) as caught:
        await work  # type: ignore[misc]
    return caught.value.reason


async def test_a_session_opens_what_the_login_gave_it() -> None:
    """And its id has 256 random bits."""
    made = world()
    issued = await made.login(
        roles=["admin"], scopes=["notes:read"], claims={"org": "a"}, label="x"
    )

    session = await made.sessions.validate(issued.sid)

    assert session == issued.session
    assert (session.user_id, session.tenant_id, session.label) == ("alice", ACME, "x")
    assert session.principal().auth_method == "session"
    assert session.principal().session_id == session.session_id
    assert session.principal().claims == {"org": "a"}
    assert session.principal().expires_at == made.clock.now() + 43_200
    assert len(issued.sid.reveal()) == 43
    assert len({(await made.login()).sid.reveal() for _ in range(5)}) == 5


async def test_the_store_holds_the_hash_and_never_the_sid() -> None:
    """Whoever reads the table, a backup or the wire to Redis must not become anybody."""
    made = world()
    issued = await made.login()
    renewed = await made.sessions.renew(issued.sid)
    await made.sessions.persist(renewed.sid, {"a": 1}, version=0)

    written = b"\n".join(made.store.values) + "\n".join(made.store.keys).encode()

    for each in (issued, renewed):
        assert each.sid.reveal().encode() not in written
        assert hashlib.sha256(each.sid.reveal().encode()).hexdigest() == each.session.session_id
        assert f"session:{each.session.session_id}" in made.store.keys


async def test_fifteen_idle_minutes_end_a_session_and_use_puts_that_off() -> None:
    """An unattended browser is somebody else's soon."""
    made = world()
    issued = await made.login()
    for _ in range(10):
        made.clock.move(899)
        await made.sessions.validate(issued.sid)

    made.clock.move(900)

    assert await refused(made.sessions.judge(issued.sid)) == "session_idle"


async def test_twelve_hours_end_a_session_whatever_it_does() -> None:
    """A stolen session that is kept warm must end as well; extending and renewing add nothing."""
    made = world()
    issued = await made.login()
    for _ in range(71):
        made.clock.move(600)
        await made.sessions.extend(issued.sid)
    issued = await made.sessions.renew(issued.sid)
    made.clock.move(599)
    assert await alive(made.sessions, issued.sid)

    made.clock.move(1)

    assert await refused(made.sessions.judge(issued.sid)) == "session_expired"


async def test_an_extension_begins_the_idle_time_anew() -> None:
    """A page with a long form can say that somebody is still there."""
    made = world()
    issued = await made.login()
    made.clock.move(30)  # too early to be recorded as use

    session = await made.sessions.extend(issued.sid)

    assert session.idle_at == made.clock.now() + 900
    assert session.expires_at == issued.session.expires_at


async def test_validating_writes_once_a_minute_at_most() -> None:
    """A write per request would make the store the app's limit. Counted, over an hour."""
    made = world()
    issued = await made.login()
    made.store.calls.clear()

    for _ in range(3600):
        made.clock.move(1)
        await made.sessions.validate(issued.sid)

    assert made.store.writes == 60
    assert (made.store.calls["get"], made.store.calls["get_many"]) == (1, 3600)


async def test_validating_twice_in_a_minute_writes_nothing() -> None:
    """Two reads the first time in a process, one read from then on, and nothing else."""
    made = world()
    issued = await made.login()
    made.store.calls.clear()

    await made.sessions.validate(issued.sid)
    assert dict(made.store.calls) == {"get": 1, "get_many": 1}
    await made.sessions.validate(issued.sid)

    assert dict(made.store.calls) == {"get": 1, "get_many": 2}


@pytest.mark.parametrize("sid", ["", "x", "x" * 43 + "=", "é" * 43, "x" * 10_000, None, 7])
async def test_what_is_no_sid_is_refused_before_the_store_is_asked(sid: object) -> None:
    """Nothing from outside becomes a key."""
    made = world()

    assert await refused(made.sessions.validate(sid)) == "session_malformed"  # type: ignore[arg-type]
    assert await made.sessions.terminate(sid) is False  # type: ignore[arg-type]
    assert made.store.calls.total() == 0


async def test_a_renewed_session_has_another_sid_and_the_old_one_is_dead() -> None:
    """Whoever saw the id before the rights grew has nothing of them."""
    made = world()
    issued = await made.login(roles=["member"])
    await made.sessions.persist(issued.sid, {"step": 1}, version=0)

    renewed = await made.sessions.renew(issued.sid, roles=["admin"])

    assert await refused(made.sessions.judge(issued.sid)) == "session_superseded"
    session = await made.sessions.judge(renewed.sid)
    assert session.roles == {"admin"}
    assert (session.created_at, session.expires_at) == (
        issued.session.created_at,
        issued.session.expires_at,
    )
    assert (await made.sessions.load(renewed.sid)).data == {"step": 1}
    listed = await made.sessions.list_sessions(user_id="alice", tenant_id=ACME)
    assert [each.session_id for each in listed] == [renewed.session.session_id]


async def test_a_logout_with_the_old_sid_ends_what_it_was_renewed_to() -> None:
    """Two tabs: one raised the rights, the other logs out. The user has logged out."""
    made = world()
    issued = await made.login()
    second = await made.sessions.renew(issued.sid)
    third = await made.sessions.renew(second.sid)

    assert await made.sessions.terminate(issued.sid)

    assert not await alive(made.sessions, third.sid)


async def test_a_login_ends_the_session_that_the_browser_came_with() -> None:
    """Else somebody could go on with what was there before, on a shared machine."""
    made = world()
    before = await made.login(user_id="mallory")

    after = await made.login(replaces=before.sid)

    assert not await alive(made.sessions, before.sid)
    assert (await made.sessions.judge(after.sid)).user_id == "alice"


async def test_another_tenant_is_another_session_that_takes_nothing_along() -> None:
    """Rights, facts and data of one customer mean nothing, or too much, at another."""
    made = world()
    issued = await made.login(roles=["owner"], scopes=["all"], claims={"tenant_id": ACME})
    await made.sessions.persist(issued.sid, {"draft": "of acme"}, version=0)

    moved = await made.sessions.switch_tenant(issued.sid, tenant_id=GLOBEX)

    assert not await alive(made.sessions, issued.sid)
    session = await made.sessions.judge(moved.sid)
    assert session.tenant_id == GLOBEX
    assert (session.roles, session.scopes, dict(session.claims)) == (frozenset(), frozenset(), {})
    assert (await made.sessions.load(moved.sid)).version == 0
    assert session.expires_at == issued.session.expires_at
    assert await made.sessions.list_sessions(user_id="alice", tenant_id=ACME) == []


@pytest.mark.parametrize("status", [None, Status.SUSPENDED, Status.DELETED])
async def test_a_user_goes_only_to_a_tenant_that_has_them(status: Status | None) -> None:
    """A user never names a tenant: it proves one. The session they have goes on."""
    made = world()
    made.members.members.pop(("alice", GLOBEX))
    if status is not None:
        made.members.put("alice", GLOBEX, member=status)
    issued = await made.login()

    with pytest.raises(TenantAccessError):
        await made.sessions.switch_tenant(issued.sid, tenant_id=GLOBEX)

    assert await alive(made.sessions, issued.sid)


async def test_without_memberships_nobody_switches() -> None:
    """Control: it is the look-up that proves."""
    sessions = SessionService(MemoryStore())
    issued = await sessions.create(user_id="alice", tenant_id=ACME)

    with pytest.raises(ConfigError):
        await sessions.switch_tenant(issued.sid, tenant_id=GLOBEX)


async def test_terminate_all_has_the_reach_that_it_was_given() -> None:
    """Of a user in a tenant, of a user everywhere, of a tenant: and nobody else's."""
    made = world()
    here, there = await made.login(), await made.login(tenant_id=GLOBEX)
    bob = await made.login(user_id="bob")

    await made.sessions.terminate_all(user_id="alice", tenant_id=ACME)
    assert [await alive(made.sessions, x.sid) for x in (here, there, bob)] == [False, True, True]
    await made.sessions.terminate_all(user_id="alice")
    assert [await alive(made.sessions, x.sid) for x in (there, bob)] == [False, True]
    again = await made.login()
    await made.sessions.terminate_all(tenant_id=ACME)

    assert [await alive(made.sessions, x.sid) for x in (again, bob)] == [False, False]
    assert await alive(made.sessions, (await made.login()).sid), "a new login is a new session"


async def test_all_others_end_and_the_one_to_keep_goes_on() -> None:
    """Log out my other devices; also after it is renewed."""
    made = world()
    mine, other = await made.login(), await made.login()
    kept = mine.session.session_id

    await made.sessions.terminate_all(user_id="alice", tenant_id=ACME, keep=kept)

    assert [await alive(made.sessions, x.sid) for x in (mine, other)] == [True, False]
    renewed = await made.sessions.renew(mine.sid)
    assert await alive(made.sessions, renewed.sid)
    listed = await made.sessions.list_sessions(user_id="alice", tenant_id=ACME)
    assert [each.session_id for each in listed] == [renewed.session.session_id]


async def test_a_session_that_was_ended_is_not_spared_back_to_life() -> None:
    """The other device, just logged out, must not be able to keep itself."""
    made = world()
    mine, other = await made.login(), await made.login()
    await made.sessions.terminate_all(user_id="alice", tenant_id=ACME, keep=mine.session.session_id)

    with pytest.raises(AuthenticationError):
        await made.sessions.terminate_all(
            user_id="alice", tenant_id=ACME, keep=other.session.session_id
        )

    assert [await alive(made.sessions, x.sid) for x in (mine, other)] == [True, False]


async def test_nobody_keeps_a_session_of_somebody_else() -> None:
    """Control of the arguments: whose is ended is whose may be spared."""
    made = world()
    bob = await made.login(user_id="bob")

    with pytest.raises(AuthenticationError):
        await made.sessions.terminate_all(user_id="alice", keep=bob.session.session_id)
    for wrong in ({}, {"tenant_id": ACME, "keep": bob.session.session_id}):
        with pytest.raises(ConfigError):
            await made.sessions.terminate_all(**wrong)


async def test_a_session_is_ended_from_the_list_by_its_owner_only() -> None:
    """The id on the list is no credential, so whose it is must be said."""
    made = world()
    issued = await made.login()
    (listed,) = await made.sessions.list_sessions(user_id="alice", tenant_id=ACME)

    for wrong in (("bob", ACME), ("alice", GLOBEX), ("alice", None)):
        ended = await made.sessions.terminate_by_id(
            listed.session_id, user_id=wrong[0], tenant_id=wrong[1]
        )
        assert not ended
    assert await alive(made.sessions, issued.sid)
    assert await made.sessions.terminate_by_id(listed.session_id, user_id="alice", tenant_id=ACME)

    assert not await alive(made.sessions, issued.sid)
    assert not await alive(made.sessions, listed.session_id)


async def test_a_further_login_ends_the_oldest_session_and_dead_ones_make_room_first() -> None:
    """Somebody with a password must not fill the store, nor push out who is there for nothing."""
    made = world(per_user=3)
    first = await made.login()
    second, third = await made.login(), await made.login()
    await made.sessions.terminate(second.sid)
    fourth = await made.login()
    assert await alive(made.sessions, first.sid)

    fifth = await made.login()

    assert [await alive(made.sessions, x.sid) for x in (first, third, fourth, fifth)] == [
        False,
        True,
        True,
        True,
    ]


async def test_a_renewal_pushes_nobody_out_and_a_switch_does_so_on_record() -> None:
    """A change of rights is no further login; entering a full tenant is one."""
    made = world(per_user=2)
    first, second = await made.login(), await made.login()
    there = [await made.login(tenant_id=GLOBEX) for _ in range(2)]
    renewed = await made.sessions.renew(second.sid)
    assert await alive(made.sessions, first.sid)

    with listening() as events, use_context(context(ACME)):
        moved = await made.sessions.switch_tenant(renewed.sid, tenant_id=GLOBEX)

    sids = (first.sid, there[0].sid, there[1].sid, moved.sid)
    assert [await alive(made.sessions, sid) for sid in sids] == [True, False, True, True]
    assert [(event.name, event.reason) for event in events.seen] == [
        ("SESSION_TERMINATED", "too_many_sessions"),
        ("SESSION_TENANT_SWITCHED", ""),
    ]


async def test_kept_data_is_changed_by_whoever_saw_it_last() -> None:
    """Two tabs that both save must not silently lose one."""
    made = world()
    issued = await made.login()
    first = await made.sessions.persist(issued.sid, {"n": 1}, version=0)

    with pytest.raises(ConflictError):
        await made.sessions.persist(issued.sid, {"n": 2}, version=0)

    second = await made.sessions.persist(issued.sid, {"n": 2}, version=first.version)
    assert (second.version, (await made.sessions.load(issued.sid)).data) == (2, {"n": 2})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"x": "y" * 16_384}, "content_too_large"),
        ({"x": float("nan")}, "session_state_malformed"),
        ({"x": object()}, "session_state_malformed"),
        ({1: "x", "1": "y"}, "session_state_malformed"),
        ([1], "session_state_malformed"),
        (None, "session_state_malformed"),
    ],
)
async def test_kept_data_is_bounded_json(data: Any, reason: str) -> None:
    """A session is no file store."""
    made = world()
    issued = await made.login()

    assert await refused(made.sessions.persist(issued.sid, data, version=0)) == reason
    for version in ("0", -1, None, True, 0.0):
        again = made.sessions.persist(issued.sid, {}, version=version)  # type: ignore[arg-type]
        assert await refused(again) == "session_version_malformed"
    assert (await made.sessions.load(issued.sid)).version == 0


async def test_kept_data_goes_with_its_session() -> None:
    """And the next session of the same user starts empty."""
    made = world()
    issued = await made.login()
    await made.sessions.persist(issued.sid, {"n": 1}, version=0)
    await made.sessions.terminate(issued.sid)

    assert (await made.sessions.load((await made.login()).sid)).version == 0
    assert not [v for k, v in made.store.inner._entries.items() if k.startswith("session-state:")]  # type: ignore[attr-defined]


async def test_within_a_request_only_the_tenants_own_sessions_are_touched() -> None:
    """A handler that was talked into another tenant's id stops here."""
    made = world()
    acme, globex = await made.login(), await made.login(tenant_id=GLOBEX)

    with use_context(context(ACME)):
        for work in (
            made.sessions.judge(globex.sid),
            made.sessions.extend(globex.sid),
            made.sessions.renew(globex.sid),
            made.sessions.load(globex.sid),
            made.sessions.persist(globex.sid, {}, version=0),
            made.sessions.terminate(globex.sid),
            made.sessions.create(user_id="alice", tenant_id=GLOBEX),
            made.sessions.list_sessions(user_id="alice", tenant_id=GLOBEX),
            made.sessions.terminate_all(tenant_id=GLOBEX),
            made.sessions.terminate_all(user_id="bob"),
        ):
            with pytest.raises(TenantAccessError):
                await work
        assert await alive(made.sessions, acme.sid)
        await made.sessions.terminate_all(user_id="alice")

    assert not await alive(made.sessions, globex.sid), "one's own, everywhere"


async def test_a_renewed_sid_reaches_no_session_of_another_tenant() -> None:
    """A service of the tenant that was left must not end what goes on in the next one."""
    made = world()
    issued = await made.login()
    moved = await made.sessions.switch_tenant(issued.sid, tenant_id=GLOBEX)

    with use_context(context(ACME)), pytest.raises(TenantAccessError):
        await made.sessions.terminate(issued.sid)

    assert await alive(made.sessions, moved.sid)


async def test_what_a_process_remembers_of_a_session_lets_nobody_in() -> None:
    """It is whose it is, never whether it lives: every end elsewhere is seen at the next use."""
    made = world()
    elsewhere = SessionService(made.store, memberships=made.members, clock=made.clock)
    ends = [
        lambda issued: elsewhere.terminate(issued.sid),
        lambda issued: elsewhere.renew(issued.sid),
        lambda _issued: elsewhere.terminate_all(user_id="alice"),
        lambda _issued: elsewhere.terminate_all(tenant_id=ACME),
    ]
    for end in ends:
        issued = await made.login()
        assert await alive(made.sessions, issued.sid)
        assert await alive(made.sessions, issued.sid)

        await end(issued)

        assert not await alive(made.sessions, issued.sid)


async def test_what_a_process_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of logins must not stay in memory."""
    monkeypatch.setattr("asgi_guard.auth.sessions.table._MOST_REMEMBERED", 3)
    made = world()
    issued = [await made.login() for _ in range(5)]

    assert all([await alive(made.sessions, each.sid) for each in issued * 2])
    assert len(made.sessions._table._groups) <= 3


async def test_a_store_that_does_not_answer_opens_nothing() -> None:
    """503, whatever is asked, and whatever kind of error the store has."""
    made = world()
    issued = await made.login()
    for failure in (UnavailableError("down"), OSError("10.0.0.7 refused")):
        made.store.broken = failure
        for work in (
            made.sessions.validate(issued.sid),
            made.sessions.extend(issued.sid),
            made.sessions.renew(issued.sid),
            made.sessions.terminate(issued.sid),
            made.sessions.terminate_all(user_id="alice"),
            made.sessions.load(issued.sid),
            made.sessions.persist(issued.sid, {}, version=0),
            made.login(),
        ):
            with listening() as events, pytest.raises(UnavailableError):
                await work
            assert [event.outcome for event in events.seen] == ["error"]


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b'{"v":2}', b'{"v":1,"user_id":"alice"}'])
async def test_an_entry_that_is_none_of_ours_opens_nothing(junk: bytes) -> None:
    """Of a newer release, or of somebody who got at the store: 503, and never a guess."""
    made = world()
    issued = await made.login()
    await made.store.put(f"session:{issued.session.session_id}", junk, ttl=60)

    with pytest.raises(UnavailableError):
        await made.sessions.validate(issued.sid)


async def test_every_step_leaves_one_event_that_names_the_session_by_hash() -> None:
    """Who signed in, moved, and was logged out, for the record; one name for it everywhere."""
    made = world()
    with listening() as events:
        issued = await made.login()
        await made.sessions.validate(issued.sid)
        await made.sessions.extend(issued.sid)
        renewed = await made.sessions.renew(issued.sid)
        moved = await made.sessions.switch_tenant(renewed.sid, tenant_id=GLOBEX)
        await made.sessions.persist(moved.sid, {}, version=0)
        await made.sessions.terminate(moved.sid)
        await made.sessions.terminate_all(user_id="alice")
        with pytest.raises(AuthenticationError):
            await made.sessions.validate(moved.sid, client="192.0.2.7", request_id="r1")

    assert [(event.name, event.outcome) for event in events.seen] == [
        ("SESSION_CREATED", "allowed"),
        ("SESSION_EXTENDED", "allowed"),
        ("SESSION_RENEWED", "allowed"),
        ("SESSION_TENANT_SWITCHED", "allowed"),
        ("SESSION_STATE_KEPT", "allowed"),
        ("SESSION_TERMINATED", "allowed"),
        ("SESSIONS_TERMINATED", "allowed"),
        ("SESSION_REFUSED", "denied"),
    ]
    last = events.seen[-1]
    assert (last.client, last.request_id, last.reason) == ("192.0.2.7", "r1", "session_unknown")
    for event, session in ((events.seen[0], issued.session), (last, moved.session)):
        assert event.session_id == hashlib.sha256(session.session_id.encode()).hexdigest()


async def test_an_event_says_who_did_it_to_whom() -> None:
    """An administrator who ends a colleague's session is on record as such."""
    made = world()
    issued = await made.login()
    with listening() as events, use_context(context(ACME, "admin")):
        await made.sessions.terminate_by_id(
            issued.session.session_id, user_id="alice", tenant_id=ACME
        )

    (event,) = events.seen
    assert (event.user_id, event.tenant_id) == ("alice", ACME)
    assert event.details == {"by_user": "admin"}


@pytest.mark.parametrize(
    "limits",
    [
        {"idle": 0},
        {"idle": 50_000},
        {"absolute": 31 * 86_400},
        {"touch_every": -1},
        {"touch_every": 600},
        {"per_user": 0},
        {"state_bytes": 70_000},
        {"check_sockets_every": 0},
        {"idle": float("nan")},
    ],
)
def test_limits_that_end_nothing_are_refused(limits: dict[str, float]) -> None:
    """At start-up, by name."""
    with pytest.raises(ConfigError, match=f"SessionLimits.{next(iter(limits))}|idle"):
        SessionLimits(**limits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": ""},
        {"user_id": "a\nb"},
        {"user_id": 7},
        {"roles": "admin"},
        {"roles": [""]},
        {"label": "x" * 101},
        {"claims": {"f": object()}},
        {"claims": {"f": "x" * 20_000}},
        {"claims": {1: "x", "1": "y"}},
    ],
)
async def test_a_session_is_made_of_sound_values(wrong: dict[str, object]) -> None:
    """What would not come back as it went in is refused where it goes in."""
    made = world()

    with pytest.raises((ConfigError, RejectionError)):
        await made.login(**wrong)


def test_a_store_that_is_none_is_refused() -> None:
    """Its class, for one."""
    with pytest.raises(ConfigError):
        SessionService(MemoryStore)  # type: ignore[arg-type]


async def test_the_sid_may_come_as_text_or_masked() -> None:
    """A cookie parser hands out text; ours hands out a `Secret`."""
    made = world()
    issued = await made.login()

    assert await alive(made.sessions, issued.sid.reveal())
    assert await alive(made.sessions, Secret(issued.sid.reveal()))
    assert json.loads(made.store.values[-1])["user_id"] == "alice"
