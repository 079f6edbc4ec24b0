"""Content-Security-Policy: what a page may load and run, and who may frame it.

Stops an injected script from running: without the nonce of this very response it is text. Also
stops framing, foreign form targets and a smuggled ``<base>``. Source: W3C CSP Level 3.

A second wall, not the first: escape what you put into pages all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers.csp_directives import NOT_IN_REPORT_ONLY, UPGRADE, check_directive
from asgi_guard.security_headers.csp_sources import NONCE, setting_of

__all__ = ["NAME", "REPORT_ONLY_NAME", "ContentSecurityPolicy", "RenderedPolicy"]

NAME: Final = "content-security-policy"
REPORT_ONLY_NAME: Final = "content-security-policy-report-only"

Directives = Mapping[str, Sequence[str]]


class RenderedPolicy(NamedTuple):
    """One policy, ready for the wire.

    Args:
        around_nonce: The value cut where the nonce goes; one part if it has none.
        without_nonce: The value for a page that never asked for one.
    """

    around_nonce: tuple[bytes, ...]
    without_nonce: bytes


class ContentSecurityPolicy:
    """A policy whose every directive and source has been checked.

    Args:
        directives: Sources by directive name, e.g. ``{"img-src": ["'self'", "data:"]}``; ``[]``
            for a directive without value. `NONCE` stands for the nonce of each response.

    Raises:
        ConfigError: A directive or source is unknown, malformed or without effect; the message
            has the corrected value.

    ``upgrade-insecure-requests`` is sent over https only: a page on ``http://localhost`` would
    have all its scripts upgraded away.
    """

    __slots__ = ("_directives",)

    def __init__(self, directives: Directives) -> None:
        if not isinstance(directives, Mapping) or not directives:
            raise ConfigError(
                "security_headers.csp",
                f"{directives!r} names no directive",
                "Write {'default-src': [\"'none'\"]}.",
            )
        self._directives = {name: _values(name, given) for name, given in directives.items()}
        for name, values in self._directives.items():
            check_directive(name, values)

    @classmethod
    def parse(cls, text: str) -> ContentSecurityPolicy:
        """Read a policy in the header's own spelling, e.g. ``"default-src 'self'; sandbox"``.

        Raises:
            ConfigError: As the constructor; also when a directive comes twice, for browsers skip
                the second, or when a comma joins two policies.
        """
        directives: dict[str, list[str]] = {}
        for part in filter(None, (part.split() for part in text.split(";"))):
            name = part[0].lower()
            if name in directives:
                raise ConfigError(setting_of(name), "is given twice", "Join them into one.")
            directives[name] = part[1:]
        return cls(directives)

    @property
    def directives(self) -> dict[str, tuple[str, ...]]:
        """A copy of the directives, in order."""
        return dict(self._directives)

    @property
    def uses_nonce(self) -> bool:
        """Tell whether responses under this policy may carry a nonce."""
        return any(NONCE in values for values in self._directives.values())

    def extended(self, directives: Directives) -> ContentSecurityPolicy:
        """Return this policy with more sources: added to what is there, in place of 'none'."""
        merged: dict[str, Sequence[str]] = dict(self._directives)
        for name, given in directives.items():
            present = (each for each in merged.get(name, ()) if each != "'none'")
            merged[name] = (*present, *_values(name, given))
        return ContentSecurityPolicy(merged)

    def replaced(self, directives: Mapping[str, Sequence[str] | None]) -> ContentSecurityPolicy:
        """Return this policy with other directives; None takes one out."""
        merged: dict[str, Sequence[str] | None] = {**self._directives, **directives}
        return ContentSecurityPolicy({k: v for k, v in merged.items() if v is not None})

    def render(self, *, https: bool, report_only: bool = False) -> RenderedPolicy:
        """Return the header's value for responses over https, or over plain HTTP."""
        left_out = NOT_IN_REPORT_ONLY if report_only else frozenset[str]()
        if not https:
            left_out |= {UPGRADE}
        sent = {name: each for name, each in self._directives.items() if name not in left_out}
        cut = "; ".join(_directive(name, each) for name, each in sent.items()).split(NONCE)
        around = [part.encode() for part in cut]
        for index in range(len(around) - 1):
            around[index] += b"'nonce-"
            around[index + 1] = b"'" + around[index + 1]
        bare = "; ".join(_directive(name, _without_nonce(each)) for name, each in sent.items())
        return RenderedPolicy(tuple(around), bare.encode())

    def __str__(self) -> str:
        return "; ".join(_directive(name, each) for name, each in self._directives.items())

    def __repr__(self) -> str:
        return f"ContentSecurityPolicy.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ContentSecurityPolicy):
            return NotImplemented
        return self._directives == other._directives

    def __hash__(self) -> int:
        return hash(tuple(self._directives.items()))


def _values(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str):
        parts = given.split()
        raise ConfigError(setting_of(name), f"{given!r} is one string", f"Write {parts!r}.")
    if not isinstance(given, Iterable):
        raise ConfigError(setting_of(name), f"{given!r} is no list", "Write [\"'none'\"].")
    values = tuple(dict.fromkeys(given))
    for value in values:
        if not isinstance(value, str) or not value or not value.isascii():
            raise ConfigError(
                setting_of(name), f"{value!r} is no source", "Write ASCII text; IDNs as punycode."
            )
    return values


def _directive(name: str, values: Sequence[str]) -> str:
    return " ".join((name, *values))


def _without_nonce(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return *values* for a page that has no nonce, allowing nothing that they did not allow.

    Beside a nonce browsers ignore 'unsafe-inline'; left alone it would come to life. And
    'strict-dynamic' stays beside hosts, which it switches off.
    """
    if NONCE not in values:
        return values
    kept = tuple(value for value in values if value not in {NONCE, "'unsafe-inline'"})
    if all(value in {"'strict-dynamic'", "'report-sample'"} for value in kept):
        return ("'none'",)
    return kept
