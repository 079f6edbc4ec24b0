"""Old hashes must not tell customers from strangers: work is counted, not time (CWE-208)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import bcrypt
import pytest

from asgi_guard.auth.passwords import Argon2Parameters, PasswordHasher, process_counts
from asgi_guard.errors import ConfigError
from tests.support.passwords_people import CHEAP, GOOD, Table, cheap_hasher, spied_argon2

OLDER = Argon2Parameters(memory_cost=32, time_cost=2, insecure_cheap=True)
BCRYPT = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(4)).decode()


class Work:
    """Which computations ran: kind and cost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._argon2 = spied_argon2(monkeypatch)
        self._bcrypt: list[int] = []
        real = bcrypt.checkpw

        def spy(password: bytes, hashed: bytes) -> bool:
            self._bcrypt.append(int(hashed[4:6]))
            return real(password, hashed)

        monkeypatch.setattr(bcrypt, "checkpw", spy)

    async def of(self, hasher: PasswordHasher, stored: str | None, password: str) -> Counter[Any]:
        """Return what one check computed."""
        self._argon2.clear()
        self._bcrypt.clear()
        await hasher.verify(stored, password)
        costs = [(w["memory_cost"], w["time_cost"], w["hash_len"]) for w in self._argon2]
        return Counter([*costs, *self._bcrypt])


async def rows() -> dict[str, str | None]:
    """Return a row of each kind of user."""
    return {
        "unknown": None,
        "current": await cheap_hasher().hash(GOOD),
        "older": await cheap_hasher(profile=OLDER).hash(GOOD),
        "bcrypt": BCRYPT,
        "hostile": "$argon2id$v=19$m=4194304,t=9,p=1$c2FsdHNhbHRzYWx0$" + "A" * 43,
    }


@pytest.mark.parametrize(
    "password", ["wrong password", GOOD, "wrong\0password", "\0" * 9, "é" * 40]
)
async def test_every_user_costs_the_same_work_during_a_migration(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """Unknown, moved, not yet moved: one multiset of computations, whatever is typed."""
    users = await rows()
    hasher = cheap_hasher(old_hashes=[str(users["older"]), BCRYPT])
    work = Work(monkeypatch)

    costs = {name: await work.of(hasher, stored, password) for name, stored in users.items()}

    expected = Counter([(CHEAP.memory_cost, 1, 32), (32, 2, 32), 4])
    assert costs == dict.fromkeys(users, expected)
    assert hasher.counts().cost_told == 0


async def test_without_samples_the_difference_is_there_and_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control; and an operator can see that users can be told apart."""
    users = await rows()
    hasher, before = cheap_hasher(), process_counts()
    work = Work(monkeypatch)

    unknown = await work.of(hasher, None, "wrong password")
    old = await work.of(hasher, BCRYPT, "wrong password")

    assert unknown != old
    assert hasher.counts().cost_told == 1
    assert process_counts().cost_told == before.cost_told + 1
    assert process_counts().refused >= before.refused + 2
    assert users["current"] is not None


async def test_old_hashes_are_still_verified_and_replaced() -> None:
    """The computations for nothing must not decide anything."""
    users = await rows()
    hasher = cheap_hasher(old_hashes=[str(users["older"]), BCRYPT])

    for name in ("older", "bcrypt"):
        table = Table(str(users[name]))
        assert await hasher.verify(table.stored, GOOD, replace=table.replace)
        assert table.stored.startswith("$argon2id$v=19$m=16,")
        assert not await hasher.verify(table.stored, "wrong password")
    # The sample's own password opens nobody else's account.
    assert not await hasher.verify(users["current"], GOOD + "x")
    assert not await hasher.verify(None, GOOD)


async def test_a_nul_matches_no_bcrypt_hash_though_it_is_computed() -> None:
    """Libraries in C stop reading at a NUL: ``a`` and ``a NUL b`` would be one password."""
    stored = bcrypt.hashpw(b"password\1", bcrypt.gensalt(4)).decode()

    assert await cheap_hasher().verify(stored, "password\1")
    assert not await cheap_hasher().verify(stored, "password\0")


def test_samples_that_are_none_are_refused_and_not_quoted() -> None:
    """A typing error would leave the difference where it is."""
    for wrong in ["plain text secret"], ["$2x$10$" + "." * 53], ["$2b$31$" + "." * 53], "nonsense":
        with pytest.raises(ConfigError) as refused:
            cheap_hasher(old_hashes=wrong)
        assert "secret" not in str(refused.value)
