"""What may be chosen as a password, and the list that is asked about it."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.passwords import PasswordRules, StoredHashBounds
from asgi_guard.auth.passwords.rules import normalised
from asgi_guard.auth.passwords.stored import Argon2Hash, BcryptHash, parse_stored
from asgi_guard.errors import ConfigError, PasswordRejectedError, UnavailableError
from asgi_guard.secret import Secret
from tests.support.passwords_people import GOOD, cheap_hasher, listening


class Listed:
    """A list that knows one password, and may be out of order."""

    def __init__(self, *, broken: bool = False, silent: bool = False) -> None:
        self.broken, self.silent = broken, silent
        self.asked = 0

    async def is_breached(self, password: Secret) -> bool:
        self.asked += 1
        if self.broken:
            raise ConnectionError
        if self.silent:
            await asyncio.Event().wait()
        return password.reveal() == "password1"


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password_too_short"),
        ("e\u0301" * 7, "password_too_short"),  # 14 code points typed, 7 characters
        ("a" * 129, "password_too_long"),
        ("\U0001f511" * 257, "password_too_long"),
        ("a" * 1025, "password_too_long"),
        ("", "password_malformed"),
        ("pass\0word", "password_malformed"),
        ("pass\nword", "password_malformed"),
        ("pass\ud800word", "password_malformed"),
    ],
)
async def test_a_password_that_cannot_be_chosen_is_refused_with_its_reason(
    password: str, code: str
) -> None:
    """The person who chooses it must learn what to change."""
    with listening() as events, pytest.raises(PasswordRejectedError) as refused:
        await cheap_hasher().hash(password)

    assert (refused.value.code, refused.value.status) == (code, 422)
    assert [(e.name, e.outcome, e.reason) for e in events.seen] == [
        ("PASSWORD_HASHED", "denied", code)
    ]


@pytest.mark.parametrize(
    "password",
    [
        "12345678",
        "a" * 128,
        "\u043f\u0430\u0440\u043e\u043b\u044c-\u043f\u0430\u0440\u043e\u043b\u044c",
        "\U0001f511" * 8,
        " " * 8,
    ],
)
async def test_everything_else_can_be_chosen(password: str) -> None:
    """Composition rules make passwords worse: NIST and ASVS forbid them."""
    hasher = cheap_hasher()

    assert await hasher.verify(await hasher.hash(password), password)


async def test_a_breached_password_is_refused() -> None:
    """Those are what guessers try first (ASVS 6.2.12)."""
    listed = Listed()
    hasher = cheap_hasher(breached=listed)

    with pytest.raises(PasswordRejectedError, match="password_breached"):
        await hasher.hash("password1")
    assert await hasher.hash(GOOD)
    assert listed.asked == 2


@pytest.mark.parametrize("listed", [Listed(broken=True), Listed(silent=True)])
async def test_a_list_that_does_not_answer_refuses_unless_told_otherwise(listed: Listed) -> None:
    """Fails closed by default; the other choice is one word."""
    strict = cheap_hasher(breached=listed, breach_timeout=0.01)
    lenient = cheap_hasher(breached=listed, breach_timeout=0.01, on_breach_failure="accept")

    with pytest.raises(UnavailableError, match="breach_list_unreachable"):
        await strict.hash(GOOD)
    assert await lenient.hash(GOOD)


async def test_a_login_does_not_ask_the_list_and_keeps_short_old_passwords() -> None:
    """Rules for new passwords must not lock out those who chose before them."""
    listed = Listed(broken=True)
    old = await cheap_hasher().hash("12345678")

    assert await cheap_hasher(breached=listed, rules=PasswordRules(min_length=15)).verify(
        old, "12345678"
    )
    assert listed.asked == 0


@pytest.mark.parametrize(
    "bounds", [{"min_length": 7}, {"max_length": 63}, {"max_bytes": 100}, {"min_length": 200}]
)
def test_bounds_that_the_standards_forbid_are_refused(bounds: dict[str, int]) -> None:
    """ASVS 6.2.1 and 6.2.9."""
    with pytest.raises(ConfigError, match="PasswordRules"):
        PasswordRules(**bounds)


@given(st.text(max_size=200))
def test_normalisation_is_stable_and_no_text_breaks_the_rules(text: str) -> None:
    """One password, one form, however often it is taken; and never an exception."""
    once = normalised(Secret(text))

    assert normalised(Secret(once)) == once
    assert normalised(Secret(unicodedata.normalize("NFD", text))) == once
    assert isinstance(PasswordRules().problem(Secret(text)), str)


_STORED = st.one_of(
    st.text(max_size=300),
    st.from_regex(r"\$(argon2(id|i|d|x)|2[abxy])\$[ -~]{0,120}", fullmatch=True),
    st.from_regex(
        r"\$argon2(id|i|d)\$v=19\$m=[0-9]{1,7},t=[0-9]{1,3},p=[0-9]{1,2}"
        r"\$[A-Za-z0-9+/]{8,30}\$[A-Za-z0-9+/]{16,60}",
        fullmatch=True,
    ),
    st.from_regex(r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}", fullmatch=True),
)


@given(_STORED)
def test_whatever_is_stored_is_read_within_bounds_or_not_at_all(text: str) -> None:
    """A row is input: no exception, no cost beyond the bounds, one spelling."""
    bounds = StoredHashBounds()

    found = parse_stored(text, bounds)

    if isinstance(found, Argon2Hash):
        assert found.encode() == text
        assert found.memory_cost <= bounds.memory_cost
        assert found.memory_cost * found.time_cost <= bounds.work
        assert found.parallelism <= bounds.parallelism
    elif isinstance(found, BcryptHash):
        assert 4 <= found.cost <= bounds.bcrypt_cost
        assert found.text.decode() == text


@given(
    st.builds(
        Argon2Hash,
        algorithm=st.sampled_from(["argon2id", "argon2i", "argon2d"]),
        memory_cost=st.integers(128, 262_144),
        time_cost=st.integers(1, 4),
        parallelism=st.integers(1, 16),
        salt=st.binary(min_size=9, max_size=48),
        digest=st.binary(min_size=16, max_size=64),
    )
)
def test_what_is_written_is_read_back(made: Argon2Hash) -> None:
    """Else a changed profile would lock everybody out."""
    assert parse_stored(made.encode(), StoredHashBounds()) == made
