"""Tokens are signed anew before they are old, and each says whom and what it is for."""

from __future__ import annotations

import pytest

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import SealKey, SealKeys
from asgi_guard.rls.binding.sealed_clause import SealedClauses
from asgi_guard.rls.seal import Sealer
from tests.support.rls_schema import ALICE, BOB, context_of
from tests.support.rls_sealed import KEYS, SEALED


class HandClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def clauses(clock: HandClock) -> SealedClauses:
    sealer = Sealer(KEYS, lifetime=30, clock=clock)
    return SealedClauses(SEALED, sealer, any_backend=False, clock=clock)


def test_a_token_is_used_again_for_half_its_life_and_not_longer(
    clauses: SealedClauses, clock: HandClock
) -> None:
    """A transaction begun under it has the other half for clocks that differ."""
    first = clauses.token(context_of(ALICE), 7)
    clock.seconds += 14.9
    assert clauses.token(context_of(ALICE), 7) == first
    clock.seconds += 0.2
    assert clauses.token(context_of(ALICE), 7) != first


def test_no_token_is_used_for_another_tenant_user_or_connection(clauses: SealedClauses) -> None:
    """What is remembered must be asked for by everything that it says."""
    contexts = (
        (context_of(ALICE), 7),
        (context_of(ALICE, user_id="other"), 7),
        (context_of(ALICE), 8),
        (context_of(BOB), 7),
    )

    assert len({clauses.token(context, backend) for context, backend in contexts}) == 4


def test_what_is_remembered_is_bounded(clauses: SealedClauses) -> None:
    """A million users, or one with a name of a megabyte, must not fill the memory."""
    for number in range(3000):
        clauses.token(context_of(ALICE, user_id=f"user-{number}"), 7)
    clauses.token(context_of(ALICE, user_id="x" * 100_000), 7)

    assert len(clauses._kept) <= 1024
    assert all(len(token) <= 512 for _, token in clauses._kept.values())


@pytest.mark.parametrize("user_id", ["a\0b", "\ud800"], ids=["zero", "half a pair"])
def test_an_id_that_cannot_be_carried_is_refused(clauses: SealedClauses, user_id: str) -> None:
    """As by the plain binding."""
    with pytest.raises(RLSViolationError) as refused:
        clauses.token(context_of(ALICE, user_id=user_id), 7)

    assert refused.value.code == "RLS_NOT_ENFORCED"


@pytest.mark.parametrize(
    "text",
    ["", "seal1_", "seal1_" + "A" * 42, "seal2_" + "A" * 43, "\u00e9" * 49, "seal1_" + "?" * 43],
    ids=range(6),
)
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    """A mistyped key is still nearly a key."""
    with pytest.raises(ConfigError) as refused:
        SealKeys.from_text(text or "\n")

    assert len(text) < 10 or text not in str(refused.value)


def test_a_key_survives_its_text_and_shows_itself_nowhere() -> None:
    """It is kept in files and variables, and logged by accident."""
    key = SealKey.generate()

    assert SealKeys.from_text(key.export()).signing == key
    assert key.export() not in repr(key) + repr(SealKeys([key]))
    assert key.secret.hex() not in repr(key)


@pytest.mark.parametrize("lifetime", [0, 0.5, 61, float("nan")], ids=str)
def test_a_lifetime_that_the_database_would_not_accept_is_refused(lifetime: float) -> None:
    """It accepts two minutes at most, and clocks differ."""
    with pytest.raises(ConfigError):
        Sealer(KEYS, lifetime=lifetime)
