"""OriginPattern: ``https://*.example.com``, where ``*`` stands for exactly one label.

Matching is by label, from the end, anchored on both sides: ``evilexample.com``,
``app.example.com.evil.net`` and ``http://app.example.com`` are strangers to the pattern above.
Only the leftmost label may be a wildcard, and only a whole one: ``pr-*.vercel.app`` would let in
everybody who can name a project. There is no wildcard of any depth: under ``*.amazonaws.com``
one label is Amazon's, two may be anybody's bucket.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.origins.host import LABEL
from asgi_guard.origins.origin import Origin, OriginWarning

__all__ = ["OriginPattern", "PatternIndex"]

_REMEDY: Final = "Write e.g. 'https://*.example.com': the wildcard is the whole leftmost label."


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """A parsed pattern.

    Args:
        base: The origin without its wildcard label, e.g. ``https://example.com``.
    """

    base: Origin

    @classmethod
    def parse(cls, text: str, *, setting: str = "origins.allow_origins") -> OriginPattern:
        """Read a pattern as a developer writes it.

        Raises:
            ConfigError: The wildcard is not the whole leftmost label, or what remains is no
                origin.

        Warns:
            OriginWarning: *text* ended in ``/``.
        """
        scheme, _, rest = text.partition("://")
        wildcard, dot, remains = rest.partition(".")
        if wildcard != "*" or not dot or not remains or "*" in scheme + remains:
            raise ConfigError(setting, f"{text!r} is not a pattern by label", _REMEDY)
        if remains.endswith("/"):
            warnings.warn(
                f"{setting}: {text!r} is read without its slash", OriginWarning, stacklevel=2
            )
            remains = remains.removesuffix("/")
        base = Origin.parse(f"{scheme}://{remains}", setting=setting)
        if base.host.startswith("[") or base.host.rpartition(".")[2].isdigit():
            raise ConfigError(setting, f"{text!r} is a pattern over an address", "Name each one.")
        return cls(base)

    def serialize(self) -> str:
        """Return the pattern in canonical spelling."""
        return self.base.serialize().replace("://", "://*.", 1)

    def __str__(self) -> str:
        return self.serialize()


class PatternIndex:
    """All patterns of a policy, found by the tail of an origin: one look-up, however many."""

    __slots__ = ("_by_base",)

    def __init__(self, patterns: Iterable[OriginPattern]) -> None:
        self._by_base = {
            pattern.base.serialize().encode(): pattern.serialize() for pattern in patterns
        }

    def find(self, origin: bytes) -> str | None:
        """Return the pattern that *origin* (as received, length already bounded) matches."""
        scheme, _, rest = origin.partition(b"://")
        label, _, tail = rest.partition(b".")
        if not LABEL.match(label):
            return None
        return self._by_base.get(b"%b://%b" % (scheme, tail))
