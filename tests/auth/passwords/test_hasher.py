"""PasswordHasher: verify, move on, count; and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import argon2
import bcrypt
import pytest

from asgi_guard.auth.passwords import PROFILES, Argon2Parameters, PasswordHasher, PasswordLogin
from asgi_guard.auth.passwords import work as hashing
from asgi_guard.auth.throttle import Throttle
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret
from tests.support.passwords_people import CHEAP, GOOD, Table, cheap_hasher, listening

DEARER = Argon2Parameters(memory_cost=32, time_cost=1, insecure_cheap=True)


def old_bcrypt(password: str, prefix: bytes = b"2b") -> str:
    """Hash as releases before bcrypt 5 did: over 72 bytes they cut."""
    made = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4, prefix=b"2b"))
    return made.replace(b"$2b$", b"$" + prefix + b"$").decode()


async def test_the_default_is_owasps_argon2id_and_others_can_read_it() -> None:
    """A hash must outlive this library: argon2-cffi verifies it."""
    hasher = PasswordHasher(workers=1)

    stored = await hasher.hash(GOOD)

    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert argon2.PasswordHasher().verify(stored, GOOD)
    assert await hasher.verify(stored, GOOD)
    assert not await hasher.verify(stored, GOOD + " ")


async def test_a_hash_of_argon2_cffi_is_verified() -> None:
    """Who comes from it changes one import."""
    theirs = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=2).hash(GOOD)
    older = argon2.PasswordHasher(1, 64, 1, type=argon2.Type.I).hash(GOOD)

    hasher = cheap_hasher()

    assert await hasher.verify(theirs, Secret(GOOD))
    assert await hasher.verify(older, GOOD)
    assert not await hasher.verify(theirs, "another password")
    assert (hasher.counts().argon2id, hasher.counts().argon2_other) == (1, 1)


async def test_two_hashes_of_one_password_differ() -> None:
    """Equal rows would tell who shares a password."""
    hasher = cheap_hasher()

    assert await hasher.hash(GOOD) != await hasher.hash(GOOD)


async def test_the_work_is_done_on_other_threads_while_the_loop_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the loop, eight logins would stall every request for 0.4 s."""
    threads: set[int] = set()
    turning, enough = asyncio.Event(), threading.Event()
    real, loop = hashing.matches, asyncio.get_running_loop()

    def watched(*args: object) -> bool:
        threads.add(threading.get_ident())
        loop.call_soon_threadsafe(turning.set)
        assert enough.wait(30)  # only a turn of the loop can let this go on
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "matches", watched)
    hasher = cheap_hasher()
    login = asyncio.create_task(hasher.verify(None, GOOD))
    await turning.wait()
    enough.set()

    assert await login is False
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
async def test_bcrypt_is_verified_and_replaced_at_login(prefix: bytes) -> None:
    """PHP writes $2y$, Python $2b$, older code $2a$: one algorithm."""
    hasher, table = cheap_hasher(), Table(old_bcrypt(GOOD, prefix))

    assert not await hasher.verify(table.stored, "wrong password", replace=table.replace)
    assert not table.replaced
    assert await hasher.verify(table.stored, GOOD, replace=table.replace)
    assert await hasher.verify(table.stored, GOOD, replace=table.replace)

    assert table.stored.startswith("$argon2id$")
    assert len(table.replaced) == 1
    assert hasher.counts().argon2id_share == 0.5


async def test_bcrypt_keeps_its_72_bytes_until_it_is_replaced() -> None:
    """Old hashes hold the first 72 bytes; the new one holds them all."""
    long = "\u00e9" * 40  # 80 bytes
    hasher, table = cheap_hasher(), Table(old_bcrypt(long))

    assert await hasher.verify(table.stored, "\u00e9" * 36 + "anything")
    assert await hasher.verify(table.stored, long, replace=table.replace)

    assert not await hasher.verify(table.stored, "\u00e9" * 36 + "anything")
    assert await hasher.verify(table.stored, long)


async def test_a_nul_never_matches_bcrypt() -> None:
    """Libraries in C stop there: "a", NUL, "b" would pass for "a"."""
    hasher = cheap_hasher()

    assert not await hasher.verify(old_bcrypt("sesame\0open"), "sesame\0open")
    assert not await hasher.verify(old_bcrypt("sesame"), "sesame\0open")
    assert await hasher.verify(old_bcrypt("sesame"), "sesame")


async def test_bcrypt_is_compared_with_what_was_typed_and_argon2_with_nfc() -> None:
    """Old code hashed bytes as they came; a new hash fits every keyboard."""
    decomposed, composed = "cafe\u0301 au lait", "caf\u00e9\u00a0au lait"
    hasher, table = cheap_hasher(), Table(old_bcrypt(decomposed))

    assert not await hasher.verify(table.stored, composed)
    assert await hasher.verify(table.stored, decomposed, replace=table.replace)

    assert await hasher.verify(table.stored, composed)
    assert await hasher.verify(table.stored, decomposed)


async def test_changed_parameters_are_applied_at_login_once() -> None:
    """Machines get faster; hashes must follow without asking anybody."""
    table = Table(await cheap_hasher().hash(GOOD))
    hasher = cheap_hasher(profile=DEARER)

    with listening() as events:
        for _ in range(2):
            assert await hasher.verify(table.stored, GOOD, replace=table.replace, user_id="alice")

    assert "$m=32,t=1,p=1$" in table.stored
    assert [(e.name, e.outcome, e.user_id) for e in events.seen] == [
        ("PASSWORD_VERIFIED", "allowed", "alice"),
        ("PASSWORD_REHASHED", "allowed", "alice"),
        ("PASSWORD_VERIFIED", "allowed", "alice"),
    ]
    assert not hasher.needs_rehash(table.stored)


async def test_a_password_changed_meanwhile_is_not_put_back() -> None:
    """The compare-and-set: a reset between check and update must win."""
    table = Table(await cheap_hasher().hash(GOOD))
    hasher, seen = cheap_hasher(profile=DEARER), table.stored
    table.stored = "changed meanwhile"

    with listening() as events:
        assert await hasher.verify(seen, GOOD, replace=table.replace)

    assert table.stored == "changed meanwhile"
    assert events.reasons == ["", "stored_hash_changed"]
    assert hasher.counts().rehash_failed == 1


async def test_a_replacement_that_fails_does_not_fail_the_login() -> None:
    """A read-only replica must not lock everybody out."""

    async def broken(_old: str, _new: str) -> bool:
        raise ConnectionError

    hasher = cheap_hasher(profile=DEARER)
    with listening() as events:
        assert await hasher.verify(await cheap_hasher().hash(GOOD), GOOD, replace=broken)

    assert (events.seen[-1].name, events.seen[-1].reason) == ("PASSWORD_REHASHED", "replace_failed")


@pytest.mark.parametrize("password", [None, 5, {}, [], b"bytes"])
async def test_what_is_no_text_is_nobodys_password(password: object) -> None:
    """A JSON body may hold anything; an exception would be a 500."""
    hasher = cheap_hasher()
    login = PasswordLogin(hasher, throttle=Throttle())

    assert not await hasher.verify(None, password)  # type: ignore[arg-type]
    assert not await login.verify(
        None,
        password,  # type: ignore[arg-type]
        account=password,  # type: ignore[arg-type]
        address=None,
    )


async def test_events_name_the_client_always_and_the_user_once_it_is_proven() -> None:
    """An attacker chooses which name it types; a log must not repeat it as a fact."""
    login = PasswordLogin(cheap_hasher(), throttle=Throttle())
    stored = await cheap_hasher().hash(GOOD)
    about: dict[str, Any] = {"account": "a", "address": "192.0.2.1", "request_id": "r1"}

    with listening() as events:
        for row, password in ((stored, "wrong password"), (None, GOOD), (stored, GOOD)):
            await login.verify(row, password, user_id="alice", **about)

    assert [(e.reason, e.user_id, e.client, e.request_id) for e in events.seen] == [
        ("password_wrong", None, "192.0.2.1", "r1"),
        ("user_unknown", None, "192.0.2.1", "r1"),
        ("", "alice", "192.0.2.1", "r1"),
    ]


async def test_each_profile_makes_the_hash_that_its_name_promises() -> None:
    """A name that means other numbers misleads an auditor."""
    expected = {
        "owasp": "m=19456,t=2,p=1",
        "owasp_more_memory": "m=47104,t=1,p=1",
        "owasp_less_memory": "m=9216,t=4,p=1",
        "rfc9106_low_memory": "m=65536,t=3,p=4",
    }
    assert set(PROFILES) == set(expected)
    for name, costs in expected.items():
        hasher = PasswordHasher(profile=name, workers=1)
        assert f"${costs}$" in await hasher.hash(GOOD)
        hasher.close()


@pytest.mark.parametrize(
    "costs",
    [
        {"memory_cost": 4096, "time_cost": 3},
        {"memory_cost": 7168, "time_cost": 1},
        {"memory_cost": 19456, "time_cost": 0},
        {"memory_cost": 19456, "time_cost": 2, "parallelism": 17},
        {"memory_cost": 8, "time_cost": 1, "parallelism": 2, "insecure_cheap": True},
    ],
)
def test_parameters_that_do_not_slow_a_guesser_are_refused(costs: dict[str, int]) -> None:
    """At start-up; what weakens says so at the call site."""
    with pytest.raises(ConfigError, match="Argon2Parameters"):
        Argon2Parameters(**costs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"profile": "argon2"},
        {"workers": 0},
        {"queue": -1},
        {"breached": object()},
        {"on_breach_failure": "ignore"},
        {"breach_timeout": 0},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    """When built, not at the first login."""
    with pytest.raises(ConfigError):
        PasswordHasher(**{"profile": CHEAP, **settings})  # type: ignore[arg-type]
