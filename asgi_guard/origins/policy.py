"""OriginPolicy: which origins are friends. Frozen, checked when built, pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from asgi_guard.errors import ConfigError
from asgi_guard.origins import remarks
from asgi_guard.origins.decision import OriginDecision
from asgi_guard.origins.expression import compile_expression, stranger_let_in
from asgi_guard.origins.finding import Finding
from asgi_guard.origins.nearest import explain_refusal
from asgi_guard.origins.origin import MAX_ORIGIN_BYTES, Origin
from asgi_guard.origins.pattern import OriginPattern, PatternIndex
from asgi_guard.origins.public_suffix import is_public_suffix
from asgi_guard.protocols import Scope

__all__ = ["ANY", "NO_ORIGIN", "Environment", "OriginPolicy"]

Environment = Literal["production", "development"]

_SETTING: Final = "origins.allow_origins"
_WIRE_FORM = re.compile(rb"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?\Z")

NO_ORIGIN: Final = OriginDecision(False, "no_origin")
ANY: Final = OriginDecision(True, "any", "*")
_NULL_DENIED: Final = OriginDecision(False, "null")
_NULL_ALLOWED: Final = OriginDecision(True, "null_allowed", "null")
_MALFORMED: Final = OriginDecision(False, "malformed")
_NOT_LISTED: Final = OriginDecision(False, "not_listed")


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """The origins that are let in, for CORS, WebSocket handshakes and cross-site requests alike.

    An origin in a request must be spelled as browsers spell it; nothing is normalised there.

    Args:
        allow_origins: Origins (``"https://app.example.com"``), patterns by label
            (``"https://*.example.com"``), or ``["*"]`` alone for every origin.
        environment: ``"production"`` refuses origins on the visitor's own machine, e.g.
            ``http://localhost:5173``; ``"development"`` may list them.
        allow_null: Let in ``Origin: null``, which every sandboxed frame and local file can send.
        allow_origin_regex: A regular expression over the whole origin; prefer patterns.

    Raises:
        ConfigError: A setting is wrong; the remedy says what to write.

    Warns:
        OriginWarning: An origin ended in ``/`` and was normalised.
    """

    allow_origins: Collection[str]
    environment: Environment = field(default="production", kw_only=True)
    allow_null: bool = field(default=False, kw_only=True)
    allow_origin_regex: str | None = field(default=None, kw_only=True)
    origins: tuple[Origin, ...] = field(init=False, repr=False, compare=False)
    patterns: tuple[OriginPattern, ...] = field(init=False, repr=False, compare=False)
    uniform: bool = field(init=False, repr=False, compare=False)
    _known: dict[bytes | None, OriginDecision] = field(init=False, repr=False, compare=False)
    _index: PatternIndex = field(init=False, repr=False, compare=False)
    _expression: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        entries = _entries(self.allow_origins)
        if self.environment not in ("production", "development"):
            raise ConfigError(
                "origins.environment",
                f"{self.environment!r} is unknown",
                "Use 'production' or 'development'.",
            )
        everyone = "*" in entries
        if everyone and (len(entries) > 1 or self.allow_origin_regex is not None):
            raise ConfigError(_SETTING, "'*' stands beside others", "Keep '*' alone, or drop it.")
        named = [entry for entry in entries if entry != "*"]
        _set = object.__setattr__  # the dataclass is frozen for everybody else
        _set(self, "allow_origins", entries)
        _set(self, "patterns", tuple(OriginPattern.parse(e) for e in named if "*" in e))
        _set(self, "origins", tuple(Origin.parse(e) for e in named if "*" not in e))
        _set(self, "uniform", everyone)
        _set(self, "_index", PatternIndex(self.patterns))
        _set(self, "_expression", _expression(self.allow_origin_regex))
        _set(self, "_known", self._decide_known())
        self._require_no_local_origin()

    def allows(self, origin: bytes | str | None) -> bool:
        """Tell whether *origin*, as it was sent, is let in; None (not sent) never is."""
        return self.decision(_wire(origin)).allowed

    def decision(self, origin: bytes | None) -> OriginDecision:
        """Decide about the ``Origin`` header as received; None when it was not sent."""
        return self._known.get(origin) or self._judge(origin or b"")

    def decide_nowait(
        self,
        origin: bytes | None,
        scope: Scope,  # noqa: ARG002 - dynamic gates look at it
    ) -> OriginDecision:
        """Decide, as `OriginGate` asks; this policy looks at the origin alone."""
        return self._known.get(origin) or self._judge(origin or b"")

    async def decide(self, origin: bytes | None, scope: Scope) -> OriginDecision:
        """Decide, as `OriginGate` asks; never waits."""
        return self.decide_nowait(origin, scope)

    def require_credential_safe(self, setting: str) -> None:
        """Refuse this policy where cookies come along.

        Args:
            setting: What asks, e.g. ``"cors.allow_credentials"``.

        Raises:
            ConfigError: It lets in ``*``, ``null``, a pattern over a public suffix, or an
                expression that matches origins nobody could have meant.
        """
        if self.uniform:
            raise ConfigError(setting, "cannot be combined with '*'", "List the origins.")
        if self.allow_null:
            raise ConfigError(
                setting,
                "cannot be combined with allow_null: any page can send 'null' from a frame",
                "Serve the page from an origin of its own.",
            )
        for pattern in self.patterns:
            if is_public_suffix(pattern.base.host):
                raise ConfigError(
                    setting,
                    f"{pattern} is over a public suffix, under which anybody can register",
                    "Name the full origin, or a pattern under a domain of yours.",
                )
        stranger = stranger_let_in(self._expression) if self._expression else None
        if stranger:
            raise ConfigError(
                setting,
                f"allow_origin_regex lets in {stranger!r}",
                "Write a pattern by label, e.g. 'https://*.example.com'.",
            )

    def explain(self, origin: str | None) -> str:
        """Return one sentence on what would be answered to *origin*, and why."""
        decision = self.decision(_wire(origin))
        if decision.allowed:
            return f"{origin} is allowed: {decision.reason} ({decision.rule})."
        return explain_refusal(origin, decision.reason, self.origins, self.patterns)

    def lint(self) -> tuple[Finding, ...]:
        """Return what a reviewer would remark on; empty when there is nothing."""
        return remarks.on_policy(
            uniform=self.uniform,
            allow_null=self.allow_null,
            origins=self.origins,
            patterns=self.patterns,
            expression=self._expression,
        )

    def _judge(self, origin: bytes) -> OriginDecision:
        """Decide about an origin that is not listed by name."""
        if self.uniform:
            return ANY
        if len(origin) > MAX_ORIGIN_BYTES or not _WIRE_FORM.match(origin):
            return _MALFORMED
        pattern = self._index.find(origin)
        if pattern is not None:
            return OriginDecision(True, "pattern", pattern)
        if self._expression is not None and self._expression.fullmatch(origin.decode("ascii")):
            return OriginDecision(True, "regex", self._expression.pattern)
        return _NOT_LISTED

    def _decide_known(self) -> dict[bytes | None, OriginDecision]:
        """Return the answers that need no thought: one dictionary look-up per request."""
        known: dict[bytes | None, OriginDecision] = {None: NO_ORIGIN}
        if not self.uniform:
            known[b"null"] = _NULL_ALLOWED if self.allow_null else _NULL_DENIED
        for origin in self.origins:
            known[origin.serialize().encode()] = OriginDecision(True, "listed", origin.serialize())
        return known

    def _require_no_local_origin(self) -> None:
        if self.environment == "development":
            return
        for origin in (*self.origins, *(pattern.base for pattern in self.patterns)):
            if origin.is_local:
                raise ConfigError(
                    _SETTING,
                    f"'{origin}' is the visitor's own machine",
                    "Remove it, or set environment='development' outside production.",
                )


def _entries(given: Collection[str]) -> tuple[str, ...]:
    if isinstance(given, str | bytes):
        raise ConfigError(_SETTING, f"is one string, {given!r}", f"Write a list: [{given!r}].")
    try:
        entries = tuple(given)
    except TypeError as not_a_list:
        raise ConfigError(
            _SETTING, f"is a {type(given).__name__}", "Write a list of strings."
        ) from not_a_list
    for entry in entries:
        if not isinstance(entry, str):
            raise ConfigError(
                _SETTING, f"holds a {type(entry).__name__}", "Write origins as strings."
            )
    return entries


def _expression(source: str | None) -> re.Pattern[str] | None:
    if source is None:
        return None
    return compile_expression(source, setting="origins.allow_origin_regex")


def _wire(origin: bytes | str | None) -> bytes | None:
    return origin.encode("utf-8", "backslashreplace") if isinstance(origin, str) else origin
