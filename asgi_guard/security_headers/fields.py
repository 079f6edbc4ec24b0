"""What every header's builder needs: one of a few words, or a text that fits on one line."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from asgi_guard.errors import ConfigError

__all__ = ["SecurityHeadersWarning", "did_you_mean", "field_value", "one_of"]


class SecurityHeadersWarning(UserWarning):
    """A setting is allowed, and weaker than it looks."""


def one_of(setting: str, value: object, allowed: Collection[str]) -> str:
    """Return *value* in the spelling of *allowed*, whatever its case.

    Raises:
        ConfigError: It is none of them; the message names the nearest.
    """
    if isinstance(value, str):
        for word in allowed:
            if value.lower() == word.lower():
                return word
    choices = ", ".join(repr(word) for word in allowed)
    raise ConfigError(
        setting,
        f"{value!r} is not a value it has",
        f"{did_you_mean(value, allowed)}It takes {choices}.",
    )


def did_you_mean(value: object, known: Collection[str], *, cutoff: float = 0.6) -> str:
    """Return ``"Did you mean 'x'? "`` for the nearest of *known*, or nothing."""
    near = get_close_matches(str(value).lower().replace("_", "-"), known, n=1, cutoff=cutoff)
    return f"Did you mean {near[0]!r}? " if near else ""


def field_value(setting: str, value: object) -> str:
    """Return *value* when it can stand in a header line as it is (RFC 9110 section 5.5).

    Raises:
        ConfigError: It is empty, padded, no text, or has a character outside printable ASCII; a
            line break would let a setting write further headers (CWE-113).
    """
    if not isinstance(value, str) or not value or value != value.strip():
        raise ConfigError(setting, f"{value!r} is no header value", "Write a non-empty text.")
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(
            setting, f"{value!r} has a character no header may carry", "Use printable ASCII."
        )
    return value
