"""Nonces without a store: whose they are, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.auth.dpop import DPoPNonces
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret
from tests.support.dpop_world import NONCE_SECRET, nonces
from tests.support.tenancy_world import MovedClock


def test_a_nonce_is_accepted_for_its_step_and_the_next() -> None:
    """The client learns of the next one with a response, and may be late."""
    clock = MovedClock(1_200_000.0)
    server = nonces(clock=clock)
    first = server.current()

    clock.time += 119
    assert server.current() == first
    clock.time += 1
    assert server.current() != first
    assert server.accepts(first)
    clock.time += 119
    assert server.accepts(first)
    clock.time += 1
    assert not server.accepts(first)


def test_a_server_whose_clock_is_behind_takes_the_nonce_of_one_that_is_ahead() -> None:
    """Two servers behind one address never agree on the second."""
    ahead, behind = MovedClock(1_200_000.0), MovedClock(1_199_999.0)

    assert nonces(clock=behind).accepts(nonces(clock=ahead).current())
    behind.time -= 120
    assert not nonces(clock=behind).accepts(nonces(clock=ahead).current())


def test_another_secret_or_another_name_makes_other_nonces() -> None:
    """The authorization server's nonce is not the resource server's (section 8.2)."""
    ours = nonces()

    assert not ours.accepts(nonces(secret=b"o" * 32).current())
    assert not ours.accepts(nonces(name="tokens").current())
    assert ours.accepts(nonces(secret=Secret("n" * 32)).current())


def test_a_secret_can_be_changed_without_refusing_anybody() -> None:
    """All servers learn the new one first as the previous, then it makes the nonces."""
    renewed = nonces(secret=b"o" * 32, previous=[NONCE_SECRET])

    assert renewed.accepts(nonces().current())
    assert renewed.accepts(renewed.current())
    assert renewed.current() != nonces().current()


def test_a_nonce_fits_its_syntax_and_shows_nothing() -> None:
    """NQCHAR of RFC 9449 section 8.1; 256 bits that nobody can guess."""
    server = nonces()

    assert len(server.current()) == 43
    assert set(server.current()) <= set(map(chr, range(0x23, 0x7F))) - {"\\"}
    assert "nnnn" not in repr(server)


@pytest.mark.parametrize(
    "settings",
    [
        {"secret": b"short"},
        {"secret": Secret("short")},
        {"secret": None},
        {"secret": b"n" * 32, "previous": [b"short"]},
        {"secret": b"n" * 32, "step": 0},
        {"secret": b"n" * 32, "step": 3601},
        {"secret": b"n" * 32, "step": 1.5},
    ],
    ids=["short", "short-secret", "none", "previous", "no-step", "long-step", "part-step"],
)
def test_a_weak_secret_is_refused(settings: dict[str, Any]) -> None:
    """Whoever guesses it makes tomorrow's nonces today."""
    with pytest.raises(ConfigError):
        DPoPNonces(settings.pop("secret"), **settings)
