"""Remarks on a CORS configuration, for the command line and the doctor."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from typing import Any, Final

from asgi_guard.cors.policy import CORSPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.origins import Finding, OriginPolicy

__all__ = ["lint", "lint_settings"]

# Fetch section 2.2.2, "forbidden request-header": no page can set these, so listing them shows a
# misunderstanding; the first four are answers, not requests.
_POINTLESS: Final = frozenset(
    {
        b"access-control-allow-origin",
        b"access-control-allow-methods",
        b"access-control-allow-headers",
        b"access-control-allow-credentials",
        b"access-control-request-headers",
        b"access-control-request-method",
        b"connection",
        b"content-length",
        b"cookie",
        b"host",
        b"origin",
        b"referer",
        b"te",
        b"transfer-encoding",
    }
)
_CHROMIUM_CAP: Final = 7200


def lint(policy: CORSPolicy) -> tuple[Finding, ...]:
    """Return what a reviewer would remark on *policy*, which is valid, and on its routes."""
    found = [*policy.origins.lint(), *_on_headers(policy), *_on_the_rest(policy)]
    for own in policy.routes.values():
        found.extend(lint(own))
    return tuple(dict.fromkeys(found))


def lint_settings(
    *,
    allow_origins: Collection[str] = (),
    environment: Any = "production",
    **settings: Any,
) -> tuple[Finding, ...]:
    """Return every remark on settings that may be invalid; never raises a `ConfigError`.

    Each origin is looked at by itself, so that a list with three mistakes gives three findings.

    Args:
        allow_origins: As `CORSPolicy`.
        environment: As `CORSPolicy`.
        **settings: Further arguments of `CORSPolicy`.
    """
    found: list[Finding] = []
    good: list[str] = []
    entries = [allow_origins] if isinstance(allow_origins, str) else list(allow_origins)
    if isinstance(allow_origins, str):
        found.append(_error("origins.allow_origins", "is one string", "Write a list."))
    for entry in entries:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                OriginPolicy([entry], environment=environment)
            except ConfigError as refused:
                found.append(_error(refused.setting, refused.problem, refused.remedy))
            else:
                good.append(entry)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            policy = CORSPolicy(allow_origins=good, environment=environment, **settings)
    except ConfigError as refused:
        found.append(_error(refused.setting, refused.problem, refused.remedy))
        return tuple(dict.fromkeys(found))
    return (*dict.fromkeys(found), *lint(policy))


def _on_headers(policy: CORSPolicy) -> Iterator[Finding]:
    for name in sorted(policy.headers & _POINTLESS):
        yield Finding(
            level="note",
            code="pointless_header",
            setting="cors.allow_headers",
            problem=f"{name.decode()!r} cannot be set by a page",
            remedy="Remove it.",
        )
    if policy.any_header:
        yield Finding(
            level="warning",
            code="any_header",
            setting="cors.allow_headers",
            problem="'*' lets pages set headers that a proxy or framework may obey",
            remedy="List the names.",
        )


def _on_the_rest(policy: CORSPolicy) -> Iterator[Finding]:
    if policy.max_age > _CHROMIUM_CAP:
        yield Finding(
            level="note",
            code="max_age_capped",
            setting="cors.max_age",
            problem=f"{policy.max_age} is more than Chromium keeps",
            remedy="7200 is the most it honours.",
        )
    if policy.allow_private_network:
        yield Finding(
            level="warning",
            code="private_network",
            setting="cors.allow_private_network",
            problem="public pages may reach a server on a private network",
            remedy="Switch it off unless that is the purpose.",
        )


def _error(setting: str, problem: str, remedy: str) -> Finding:
    return Finding(level="error", code="refused", setting=setting, problem=problem, remedy=remedy)
