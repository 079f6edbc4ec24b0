"""Settings that contradict each other, each with the way out.

What one room can judge by itself is judged by its own policy or middleware when it is built; here
is what only shows when the rooms are put side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.cors import CORSPolicy
from asgi_guard.cross_origin import CrossOriginPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.origins import OriginGate
from asgi_guard.protocols import EventSink
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.settings.throttling import check_throttle

if TYPE_CHECKING:
    from asgi_guard.audit_log import AuditLog
    from asgi_guard.settings.model import GuardSettings

__all__ = ["check", "header_set", "listed"]

_PRESETS: Final = ("api", "html", "docs", "report_only")


def listed(setting: str, value: Any) -> tuple[Any, ...]:
    """Return *value* as a tuple.

    Raises:
        ConfigError: It is one string, or no collection.
    """
    if isinstance(value, str | bytes):
        raise ConfigError(setting, f"{value!r} is one string", f"Write a list: [{value!r}].")
    try:
        return tuple(value)
    except TypeError:
        raise ConfigError(
            setting, f"got a {type(value).__name__}", "Write a list, also for one."
        ) from None


def header_set(value: SecurityHeaders | str) -> SecurityHeaders:
    """Return the header set, or the one that the preset called *value* stands for.

    Raises:
        ConfigError: There is no such preset, or *value* is neither.
    """
    if isinstance(value, SecurityHeaders):
        return value
    if value not in _PRESETS:
        raise ConfigError(
            "security_headers",
            f"{value!r} is no header set",
            f"Name a preset ({', '.join(_PRESETS)}), or pass a SecurityHeaders.",
        )
    preset: SecurityHeaders = getattr(SecurityHeaders, value)()
    return preset


def check(settings: GuardSettings) -> None:
    """Refuse what cannot work together.

    Raises:
        ConfigError: The first contradiction found.
    """
    _choice("environment", settings.environment, ("production", "development", "test"))
    _choice("startup_checks", settings.startup_checks, ("enforce", "monitor"))
    for sink in settings.event_sinks:
        _kind("event_sinks", sink, EventSink, "an object with emit(event)")
    _kind("cors", settings.cors, CORSPolicy | None, "CORSPolicy(allow_origins=[...])")
    _kind("origins", settings.origins, OriginGate | None, "OriginPolicy([...])")
    _kind("trusted_proxies", settings.trusted_proxies, TrustedProxies, "TrustedProxies([...])")
    _kind("cross_origin", settings.cross_origin, CrossOriginPolicy, "CrossOriginPolicy(...)")
    if settings.audit is not None:
        _audit(settings, settings.audit)
    _identity(settings)
    check_throttle(settings)
    _origins(settings)
    _cookies(settings)
    _production(settings)
    if settings.databases:
        _databases(settings)


def _audit(settings: GuardSettings, audit: AuditLog) -> None:
    from asgi_guard import audit_log  # noqa: PLC0415 - loads cryptography, where it is used

    _kind("audit", audit, audit_log.AuditLog, "AuditLog(sinks=[...], signing_key=...)")
    if any(sink is audit for sink in settings.event_sinks):
        raise ConfigError(
            "audit",
            "is among event_sinks as well, so that every event would be recorded twice",
            "Leave it out of event_sinks.",
        )
    if audit.mode == "required" and not settings.insecure_unrecorded_pools:
        _recorded(settings.databases)


def _recorded(databases: Iterable[object]) -> None:
    from sqlalchemy import Engine  # noqa: PLC0415 - loaded already by whoever has an engine
    from sqlalchemy.ext.asyncio import AsyncEngine  # noqa: PLC0415 - as above

    for database in databases:
        if not isinstance(database, Engine | AsyncEngine):
            raise ConfigError(
                "audit",
                f"is required, and a {type(database).__name__} records no write by itself",
                "Use guarded_engine; or record each with audit.record(event, "
                "connection=connection), and say insecure_unrecorded_pools=True.",
            )


def _choice(setting: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        names = " or ".join(repr(name) for name in allowed)
        raise ConfigError(setting, f"{value!r} is unknown", f"Use {names}.")


def _kind(setting: str, value: object, kind: Any, example: str) -> None:
    if isinstance(value, type) or not isinstance(value, kind):
        raise ConfigError(setting, f"is {value!r}", f"Pass {example}.")


def _identity(settings: GuardSettings) -> None:
    if settings.resolver is not None:
        if not settings.authenticators:
            raise ConfigError(
                "authenticators",
                "is empty, so nobody can prove who they are, and every tenant stays closed",
                "Add one, e.g. authenticators=[BearerJWTAuthenticator(...)].",
            )
        return
    for name in ("authenticators", "memberships", "public_paths"):
        if getattr(settings, name):
            raise ConfigError(
                "resolver",
                f"is missing, so {name} has no effect and every handler runs without a tenant",
                "Say how a request names its tenant, e.g. resolver=ClaimResolver().",
            )


def _origins(settings: GuardSettings) -> None:
    cors, friends = settings.cors, settings.origins
    if cors is None or friends is None or not cors.allow_credentials or cors.origins is friends:
        return
    raise ConfigError(
        "origins",
        "are others than those that cors lets in with cookies, so that a friend at one gate "
        "is a stranger at the next",
        "Leave origins out, or give the same object to CORSPolicy(allow_origins=...).",
    )


def _cookies(settings: GuardSettings) -> None:
    if "/*" not in settings.cross_origin.exempt:
        return
    if any(getattr(each, "reads_cookies", False) for each in settings.authenticators):
        raise ConfigError(
            "cross_origin.exempt",
            "exempts every path, so any page could act for whoever has the session cookie",
            "Exempt single paths, or sign in with tokens instead of cookies.",
        )


def _production(settings: GuardSettings) -> None:
    if settings.environment != "production":
        return
    for name, gate in (
        ("origins", settings.origins),
        ("cors.allow_origins", settings.cors and settings.cors.origins),
    ):
        declared = getattr(gate, "environment", "production")
        if declared != "production":
            raise ConfigError(
                name,
                f"were checked for {declared!r}, where a visitor's own machine may be a friend",
                "Build the policy with environment='production', or set environment='development'.",
            )


def _databases(settings: GuardSettings) -> None:
    from asgi_guard.rls import is_guarded  # noqa: PLC0415 - loads SQLAlchemy, only where it is used

    for number, database in enumerate(settings.databases):
        try:
            guarded = is_guarded(database)
        except ConfigError:  # no database handle at all, e.g. its URL
            guarded = False
        if not guarded:
            raise ConfigError(
                f"databases[{number}]",
                f"{type(database).__name__} is not guarded: it would run without a tenant",
                "Pass guarded_engine(url), or a pool made by create_guarded_pool(dsn).",
            )
