"""Refresh tokens in a thief's hands: replay, races, resurrection, other clients."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.refresh import RefreshGrant
from asgi_guard.auth.refresh.family import Family
from asgi_guard.errors import AuthenticationError, RefreshRefusedError
from asgi_guard.observability import subscribe
from tests.support.exchange import Events
from tests.support.jose_tokens import NOW, access_claims, made, reason, signing_key
from tests.support.refresh_world import POLICY, InterruptedStore, World, refused
from tests.support.tenancy_world import MovedClock


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


async def test_a_thief_who_is_slower_ends_the_family_and_is_seen(events: Events) -> None:
    """RFC 9700 section 4.14.2: nobody can tell which of the two it was."""
    world = World()
    stolen = await world.login()
    mine = await world.refresh(stolen)
    access = await world.access_token(mine)
    await world.judge.verify(access)
    world.clock.time += 11

    assert await refused(world.refresh(stolen), events) == "refresh_reused"

    assert events.seen[-1].name == "REFRESH_REUSED"
    assert (events.seen[-1].user_id, events.seen[-1].tenant_id) == ("alice", "acme")
    assert await refused(world.another().refresh(mine), events) == "refresh_reused"
    with pytest.raises(AuthenticationError):
        await world.judge.verify(access)


async def test_a_thief_who_is_faster_is_ended_by_the_owner(events: Events) -> None:
    """The owner's own, older token is the alarm."""
    world = World()
    mine = await world.login()
    thiefs = await world.refresh(mine)
    thiefs = await world.refresh(thiefs)

    assert await refused(world.refresh(mine), events) == "refresh_reused"
    assert await refused(world.refresh(thiefs), events) == "refresh_reused"


async def test_within_the_grace_the_thief_gets_no_token_of_its_own(events: Events) -> None:
    """Both hold the same successor, so the next use by either is the alarm for the other."""
    world = World()
    stolen = await world.login()
    mine, thiefs = await world.refresh(stolen), await world.refresh(stolen)
    assert mine.token.jti == thiefs.token.jti
    world.clock.time += 600

    await world.refresh(thiefs)
    world.clock.time += 600

    assert await refused(world.refresh(mine), events) == "refresh_reused"


async def test_once_the_successor_was_used_there_is_no_grace(events: Events) -> None:
    """Its reply was not lost, so whoever sends the old one again has a copy."""
    world = World()
    stolen = await world.login()
    mine = await world.refresh(await world.refresh(stolen))

    assert await refused(world.refresh(stolen), events) == "refresh_reused"
    assert await refused(world.refresh(mine), events) == "refresh_reused"


async def test_without_a_grace_any_second_use_ends_the_family(events: Events) -> None:
    """For those who would rather log somebody out."""
    world = World(grace=0)
    first = await world.login()
    await world.refresh(first)

    assert await refused(world.refresh(first), events) == "refresh_reused"


async def test_a_rotation_under_way_does_not_bring_an_ended_family_back(events: Events) -> None:
    """It has read the family alive; what it writes must not be it again."""
    clock = MovedClock()
    store = InterruptedStore(clock=clock)
    world = World(store, clock)
    grant = await world.login()

    store.meanwhile = lambda: world.another().tokens.revoke_family(grant.family)
    with pytest.raises(RefreshRefusedError) as caught:
        await world.refresh(grant)

    assert caught.value.reason == "refresh_family_revoked"
    assert await refused(world.refresh(grant), events) == "refresh_family_revoked"


class CarelessStore(InterruptedStore):
    """A store whose `replace` compares nothing."""

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        await self.put(key, new, ttl=ttl)
        return True


async def test_with_a_store_that_does_not_compare_the_dead_rise() -> None:
    """Negative control: the test above would see it."""
    clock = MovedClock()
    store = CarelessStore(clock=clock)
    world = World(store, clock)
    grant = await world.login()

    store.meanwhile = lambda: world.another().tokens.revoke_family(grant.family)

    assert await world.refresh(await world.refresh(grant))


async def test_of_many_uses_at_once_all_get_one_successor_or_none() -> None:
    """A hundred copies of one token make no second family."""
    world = World()
    grant = await world.login()
    others = [world.another() for _ in range(4)]

    replies = await asyncio.gather(
        *(others[number % 4].refresh(grant) for number in range(100)), return_exceptions=True
    )

    assert {each.token.jti for each in replies if isinstance(each, RefreshGrant)} == {
        next(each.token.jti for each in replies if isinstance(each, RefreshGrant))
    }
    assert not [each for each in replies if isinstance(each, BaseException)]


async def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing() -> None:
    """RFC 8725 section 3.12: mutually exclusive rules for each kind."""
    world = World()
    grant = await world.login()

    assert await reason(grant.token.token.reveal(), world.judge) == "type_not_accepted"
    with pytest.raises(RefreshRefusedError) as caught:
        await world.tokens.refresh(await world.access_token(grant), client_id="web")
    assert caught.value.reason == "type_not_accepted"


FORGED = {
    "unknown family": {"fam": "other"},
    "family of a list": {"fam": ["x"]},
    "other subject": {"sub": "mallory"},
    "number as subject": {"sub": 7},
    "unknown id": {"jti": "never-issued"},
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED.keys())
async def test_what_our_key_signed_and_we_never_issued_is_refused(change: dict[str, Any]) -> None:
    """Whoever can have things signed elsewhere must not make a session of it."""
    world = World()
    grant = await world.login()
    claims = {"fam": grant.family, "jti": grant.token.jti, "client_id": None, **change}
    token = made(access_claims(exp=NOW + 600, **claims), {"typ": "refresh+jwt"})

    with pytest.raises(RefreshRefusedError):
        await world.tokens.refresh(token, client_id="web")


async def test_no_part_of_a_token_is_kept_in_the_store() -> None:
    """Who reads the store can log in as nobody."""
    world = World()
    grant = await world.refresh(await world.login())
    _, body, signature = grant.token.token.reveal().split(".")

    kept = repr(world.store._entries)  # type: ignore[attr-defined]
    assert isinstance(world.store, MemoryStore)
    assert signature not in kept
    assert body not in kept
    assert "signature" not in Family.__dataclass_fields__


async def test_nothing_that_is_written_shows_a_token(
    events: Events, capsys: Any, caplog: Any
) -> None:
    """Logs, events, errors, reprs: grepped for the signature of each token used."""
    world = World()
    first = await world.login()
    second = await world.refresh(first)
    third = await world.refresh(second)
    written = [repr(grant) for grant in (first, second, third)]
    for attempt in (world.refresh(first), world.refresh(third, client_id="other")):
        try:
            await attempt
        except RefreshRefusedError as refusal:
            written += [repr(refusal), str(refusal), repr(refusal.__dict__)]
    written += [repr(events.seen), caplog.text, *capsys.readouterr()]

    signatures = [each.token.token.reveal().split(".")[2] for each in (first, second, third)]
    for signature in signatures:
        assert not [text for text in written if signature in text]
        assert not [text for text in written if signature[:20] in text]


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("asyncpg", marks=pytest.mark.postgres),
        pytest.param("redis", marks=pytest.mark.redis),
    ],
)
async def test_two_processes_on_one_store_rotate_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The promise is made for processes, so it is kept by processes, on each kind of store."""
    address = f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "redis":
        address = str(request.getfixturevalue("redis_server").url)
    elif kind == "asyncpg":
        address = str(request.getfixturevalue("postgres_database").dsn())
    program = Path(__file__).parents[1] / "support" / "refresh_processes.py"
    run = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.refresh_processes",
        str(tmp_path),
        kind,
        address,
        stdout=asyncio.subprocess.PIPE,
        cwd=program.parents[2],
    )
    out, _ = await asyncio.wait_for(run.communicate(), 60)

    assert run.returncode == 0
    lines = out.decode().split()
    assert lines[0] == "successors=1"
    assert lines[1] == "refused=0"
    assert lines[2] == "replay=refresh_reused"
    assert lines[3] == "survivors=0"


def test_the_record_has_one_spelling() -> None:
    """A store compares bytes: two spellings of one record would never be exchanged."""
    family = Family(
        subject="a", client_id="web", tenant_id=None, session_id=None, scopes=("b", "c"),
        jkt=None, ends_at=1.5, jti="j", issued_at=1.0, expires_at=2,
    )  # fmt: skip

    assert Family.from_bytes(family.to_bytes()) == family
    assert Family.from_bytes(family.to_bytes()).to_bytes() == family.to_bytes()
    assert POLICY.refresh_lifetime == 14 * 86_400
    assert signing_key().kid
