"""Secrets and personal data, planted; and input made to keep the patterns busy."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_guard._internal.redaction import (
    _MARKS,
    LONGEST,
    PATTERNS,
    is_secret_key,
    redact_details,
    redact_text,
    redact_value,
)
from asgi_guard.secret import Secret
from tests.support.rls_fixtures import EventList

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
PLANTED = {
    "jwt": (f"got {JWT} here", JWT),
    "jwe": (f"{JWT}.AAAAAAAA.BBBBBBBB", "BBBBBBBB"),
    "unsigned jwt": ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "eyJzdWIiOiIxIn0"),
    "bearer": ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    "basic": ("basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
    "dpop": ("DPoP abcdef0123456789~+/=", "abcdef0123456789"),
    "url": ("postgresql://app:hunter2@db/app", "hunter2"),
    "url without user": ("redis://:hunter2@cache", "hunter2"),
    "stripe": ("sk_" + "live_51HabcdefghijklmnopQRST", "51HabcdefghijklmnopQRST"),
    "github": ("ghp_" + "a" * 36, "a" * 36),
    "slack": ("xoxb-" + "123456789012-abcdefghijkl", "abcdefghijkl"),
    "aws": ("id AKIA" + "IOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    "aws user": ("id AIDA" + "IOSFODNN7EXAMPLE", "IOSFODNN7EXAMPLE"),
    "google": ("AIza" + "b" * 35, "b" * 35),
    "named in text": ("retry with password=hunter2 again", "hunter2"),
    "named in json": ('{"client_secret": "hunter 2", "a": 1}', "hunter 2"),
    "named in a query": ("GET /cb?access_token=abc123&x=1", "abc123"),
    "cookie": ("Cookie: session=abc123", "abc123"),
    "mail": ("sent to Ann.Example+x@mail.example.co.uk today", "Ann.Example"),
    "card": ("card 4111 1111 1111 1111 declined", "4111 1111"),
    "card with dashes": ("4111-1111-1111-1111", "1111-1111"),
    "card, digit by digit": (" ".join("4111111111111111"), "1 1 1 1 1 1"),
    "iban without digits behind": ("DE89 ABCD EFGH", "ABCD"),
    "key of letters": ("sk-abcdefghijklmnopqrst", "abcdefghij"),
    "key in a host": ("https://ghp_abcdefghijklmnopqrst.example", "abcdefghij"),
    "jwt of letters": ("eyJabcdefgh.abcdefgh.abcdefgh", "abcdefgh"),
    "named by a port": ("https://token:8443", "8443"),
    "card of 15": ("amex 378282246310005", "378282246310005"),
    "iban": ("pay DE89 3704 0044 0532 0130 00 now", "0532"),
    "pem": ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----\nafter", "MIIabc"),
    "pem without end": ("key -----BEGIN RSA PRIVATE KEY-----\nMIIabc", "MIIabc"),
}


@pytest.mark.parametrize(("text", "secret"), PLANTED.values(), ids=PLANTED)
def test_a_planted_secret_is_gone(text: str, secret: str) -> None:
    """A log is copied to more places than anyone remembers."""
    assert secret in text

    assert secret not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "notes.list took 12.5 ms",
        "tenant 00000000-0000-0000-0000-000000000001",
        "4111 1111 1111 1112",  # no card: the check digit is wrong
        "order 20260301-000123",
        "2026-03-01T12:00:00.000000Z",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "https://app.example/notes?page=2",
        "path /srv/app/main.py:120",
        "membership_suspended",
        "the token was refused",
    ],
)
def test_what_is_no_secret_is_kept(text: str) -> None:
    """Negative control: a log of marks alone helps nobody."""
    assert redact_text(text) == text


_PIECES = ("eyJ", "a" * 9, "Z", "7" * 4, ".", "-", "_", " ", "@", ":", "=", "//", "https://", "sk",
           "AKIA", "SG.", "token", "Bearer", "DE89", "x.example", "\t", "é", "\u0663")  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=14).map("".join))
@settings(max_examples=400, database=None)
def test_what_is_skipped_would_not_have_matched(text: str) -> None:
    """Most texts are let through after a glance; the glance must not miss what a search finds."""
    searched = text
    for kind, pattern in PATTERNS:
        searched = pattern.sub(_MARKS[kind], searched)

    assert redact_text(text) == searched


def test_text_around_a_secret_is_kept() -> None:
    """What happened must stay readable."""
    assert redact_text(f"refused {JWT} for GET /notes") == "refused [redacted jwt] for GET /notes"
    pem = PLANTED["pem"][0]
    assert redact_text(pem) == "[redacted pem]\nafter"
    assert redact_text("postgresql://app:x@db/app") == "postgresql://[redacted]@db/app"


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "Authorization",
        "X-Api-Key",
        "userPassword",
        "set-cookie",
        "refresh_token",
        "email",
    ],
)
def test_a_secret_key_is_known_however_it_is_spelled(key: str) -> None:
    """Headers, JSON and Python spell one name in three ways."""
    assert is_secret_key(key)


@pytest.mark.parametrize(
    "key", ["tenant_id", "key_id", "reason", "token_type", "cache_key", "time"]
)
def test_a_harmless_key_is_left(key: str) -> None:
    """Negative control."""
    assert not is_secret_key(key)


def test_values_are_looked_at_however_deep_they_are() -> None:
    """A request body arrives as a dictionary of lists of dictionaries."""
    value = {"a": [{"password": "hunter2", "b": ("mail a@example.com", Secret("x"), b"raw")}]}

    shown = redact_value(value)

    assert shown == {
        "a": [{"password": "[redacted]", "b": ["mail [redacted mail]", "[redacted]", "[3 bytes]"]}]
    }


def test_a_value_that_holds_itself_ends() -> None:
    """A cycle in a log line must not end the process."""
    loop: list[Any] = []
    loop.append(loop)

    assert "[list]" in str(redact_value(loop))


def test_details_of_an_event_are_redacted_before_any_reader_sees_them(
    rls_events: EventList,
) -> None:
    """Each reader would else have to remember it."""
    from asgi_guard._internal.events import emit  # noqa: PLC0415 - beside what it shows

    details: Any = {"password": "hunter2", "note": JWT, "count": 3, "thing": object()}
    emit("REQUEST_REFUSED", outcome="denied", details=details)

    assert dict(rls_events[0].details) == {
        "password": "[redacted]",
        "note": "[redacted jwt]",
        "count": 3,
        "thing": "[object]",
    }
    assert redact_details({"password": None}) == {"password": None}


def _work(parsed: Any) -> int:
    """Give the steps of one attempt at one place: every repetition as often as it may."""
    total = 1
    for operation, argument in parsed:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            _, most, inner = argument
            if most is re._parser.MAXREPEAT:  # type: ignore[attr-defined]  # the parser of re
                raise AssertionError("a repetition has no bound")
            total += int(most) * _work(inner)
        elif name == "SUBPATTERN":
            total += _work(argument[-1])
        elif name == "BRANCH":
            total += sum(_work(branch) for branch in argument[1])
        elif name in {"ASSERT", "ASSERT_NOT"}:
            total += _work(argument[1])
        else:
            total += 1
    return total


@pytest.mark.parametrize(("kind", "pattern"), PATTERNS, ids=[kind for kind, _ in PATTERNS])
def test_no_pattern_repeats_without_bound(kind: str, pattern: re.Pattern[str]) -> None:
    """With a bound on every repetition the length of the input counts once (CWE-1333)."""
    assert _work(re._parser.parse(pattern.pattern)) < 40_000  # type: ignore[attr-defined]


@pytest.mark.parametrize("pattern", ["a*", "(a+)+$", r"x{2,}"])
def test_an_unbounded_pattern_is_found(pattern: str) -> None:
    """Negative control."""
    with pytest.raises(AssertionError):
        _work(re._parser.parse(pattern))  # type: ignore[attr-defined]


HOSTILE = {
    "dots": "a." * 40_000,
    "at signs": "a@" * 40_000,
    "almost a mail": "a" * 64 + "@" + "a." * 40_000,
    "begins of tokens": "eyJ" * 30_000,
    "almost tokens": "eyJaaaaaaa." * 8_000,
    "digits": "4" * 80_000,
    "digits and spaces": "4 " * 40_000,
    "begins of keys": "-----BEGIN " * 8_000,
    "bearers": "bearer " * 12_000,
    "quotes": 'password="' * 8_000,
    "ibans": "DE89 " * 16_000,
    "schemes": "://a:" * 16_000,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_input_ends_and_is_cut(text: str) -> None:
    """What a caller sends must not hold the event loop: no more than a bound is looked at."""
    shown = redact_text(text)

    assert len(shown) < 3 * LONGEST
    assert f"[{len(text) - LONGEST} more characters]" in shown


def test_the_hash_that_names_a_token_is_never_taken_for_a_card() -> None:
    """One SHA-256 in three hundred holds digits that pass for a card's; each must stay whole."""
    digests = [sha256(str(number).encode()).hexdigest() for number in range(2_000)]

    assert redact_details({"jti_sha256": " ".join(digests[:100])}) == {
        "jti_sha256": " ".join(digests[:100])
    }
    assert [redact_text(each) for each in digests] == digests
    for around in ("4111111111111111", "ab4111111111111111", "4111111111111111" + "c" * 47):
        assert "4111111111111111" not in redact_text(around)
