"""Against whoever guesses: no user is told apart from none, and no row costs more than it may."""

from __future__ import annotations

import asyncio

import argon2
import bcrypt
import pytest

from asgi_guard.auth.passwords import PROFILES, PasswordHasher, StoredHashBounds
from asgi_guard.auth.passwords.stored import parse_stored
from asgi_guard.errors import UnavailableError
from tests.support.passwords_people import (
    CHEAP,
    GOOD,
    cheap_hasher,
    listening,
    spied_argon2,
)

SALT, DIGEST = "c29tZXNhbHRzb21lc2FsdA", "A" * 43
HOSTILE = [
    f"$argon2id$v=19$m=4194304,t=1,p=1${SALT}${DIGEST}",  # 4 GiB
    f"$argon2id$v=19$m=19456,t=100000,p=1${SALT}${DIGEST}",  # hours
    f"$argon2id$v=19$m=262144,t=99,p=1${SALT}${DIGEST}",  # each inside, together not
    f"$argon2id$v=19$m=19456,t=2,p=255${SALT}${DIGEST}",  # threads
    f"$argon2id$v=19$m=8,t=1,p=16${SALT}${DIGEST}",  # less memory than lanes need
    f"$argon2id$v=19$m=99999999999999999999,t=1,p=1${SALT}${DIGEST}",
    f"$argon2id$v=16$m=19456,t=2,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=+19456,t=2,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=019456,t=2,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=\u0661\u0669\u0664\u0665\u0666,t=2,p=1${SALT}${DIGEST}",
    f"$argon2id$v=19$m=19456,t=2,p=1,data=AAAA${SALT}${DIGEST}",
    f"$argon2id$v=19$m=19456,t=2,p=1${SALT}${DIGEST}\n",
    f"$argon2id$v=19$m=19456,t=2,p=1${SALT}${'A' * 42 + 'B'}",  # unused bits set
    f"$argon2id$v=19$m=19456,t=2,p=1$${DIGEST}",
    f"$argon2id$v=19$m=19456,t=2,p=1${SALT}$",
    "$2b$31$" + "." * 53,  # weeks
    "$2b$03$" + "." * 53,
    "$2x$10$" + "." * 53,  # CVE-2011-2483
    "$2b$10$" + "." * 52,
    "",
    "plain",
    "!",
    "*" * 100_000,
]


async def test_an_unknown_user_costs_what_a_known_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time of an answer says which e-mail addresses are customers (CWE-208)."""
    hasher = cheap_hasher()
    stored = await hasher.hash(GOOD)
    work = spied_argon2(monkeypatch)

    assert not await hasher.verify(stored, "wrong password")
    assert not await hasher.verify(None, "wrong password")

    assert len(work) == 2
    assert work[0] == work[1]
    assert work[0]["memory_cost"] == CHEAP.memory_cost


async def test_the_same_holds_at_the_real_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile is what is deployed."""
    hasher = PasswordHasher(workers=1)
    work = spied_argon2(monkeypatch)

    await hasher.verify(None, GOOD)

    assert [(w["memory_cost"], w["time_cost"], w["parallelism"]) for w in work] == [(19456, 2, 1)]


async def test_an_early_return_for_unknown_users_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the check that everybody writes first."""
    hasher = cheap_hasher()
    stored = await hasher.hash(GOOD)
    work = spied_argon2(monkeypatch)

    async def naive(known: str | None, password: str) -> bool:
        return known is not None and await hasher.verify(known, password)

    await naive(stored, "wrong password")
    await naive(None, "wrong password")

    assert len(work) == 1


@pytest.mark.parametrize("stored", HOSTILE, ids=lambda text: text[:40])
async def test_a_hostile_row_is_refused_at_the_cost_of_an_unknown_user(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One poisoned row must not take 4 GiB, an hour or the process."""
    hasher = cheap_hasher()
    work = spied_argon2(monkeypatch)
    monkeypatch.setattr(bcrypt, "checkpw", None)  # it must not even be asked

    with listening() as events:
        assert not await hasher.verify(stored, GOOD)

    assert [w["memory_cost"] for w in work] == [CHEAP.memory_cost]
    assert [(e.name, e.outcome, e.reason) for e in events.seen] == [
        ("PASSWORD_REFUSED", "error", "stored_hash_refused")
    ]


def test_the_library_alone_would_take_the_hostile_cost() -> None:
    """Negative control: argon2-cffi reads the parameters and would obey."""
    assert argon2.extract_parameters(HOSTILE[0]).memory_cost == 4_194_304
    assert parse_stored(HOSTILE[0], StoredHashBounds(memory_cost=8_388_608, work=8_388_608))


async def test_a_password_that_is_too_long_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of text is work for the normalisation, and the same for everybody."""
    hasher = cheap_hasher()
    work = spied_argon2(monkeypatch)

    for password in ("a" * 1_000_000, "\u00e9" * 129, "\ud800" * 20, ""):
        assert not await hasher.verify(None, password)

    assert work == []


async def test_a_flood_gets_503_and_those_in_line_are_served() -> None:
    """Twenty logins at once on a queue of three."""
    hasher = PasswordHasher(profile=PROFILES["owasp_less_memory"], workers=1, queue=3)

    with listening() as events:
        answers = await asyncio.gather(
            *(hasher.verify(None, GOOD) for _ in range(20)), return_exceptions=True
        )

    refused = [answer for answer in answers if isinstance(answer, UnavailableError)]
    assert len(refused) == 16
    assert {error.reason for error in refused} == {"password_queue_full"}
    assert [answer for answer in answers if answer is False] == [False] * 4
    assert len(events.seen) == 20
    assert hasher.counts().unavailable == 16


async def test_a_plain_executor_would_take_the_whole_flood() -> None:
    """Negative control: the queue of a thread pool has no end."""
    hasher = cheap_hasher(queue=10_000)

    answers = await asyncio.gather(
        *(hasher.verify(None, GOOD) for _ in range(200)), return_exceptions=True
    )

    assert answers == [False] * 200
