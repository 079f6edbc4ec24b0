"""Settings that contradict each other, each with the way out.

What one room can judge by itself is judged by its own policy or middleware when it is built; here
is what only shows when the rooms are put side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_guard.errors import ConfigError

if TYPE_CHECKING:
    from asgi_guard.settings.model import GuardSettings

__all__ = ["check", "listed"]


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


def check(settings: GuardSettings) -> None:
    """Refuse what cannot work together.

    Raises:
        ConfigError: The first contradiction found.
    """
    _choice("environment", settings.environment, ("production", "development", "test"))
    _choice("startup_checks", settings.startup_checks, ("enforce", "monitor"))
    _identity(settings)
    _production(settings)
    if settings.databases:
        _databases(settings)


def _choice(setting: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        names = " or ".join(repr(name) for name in allowed)
        raise ConfigError(setting, f"{value!r} is unknown", f"Use {names}.")


def _identity(settings: GuardSettings) -> None:
    if settings.resolver is not None:
        if not settings.authenticators:
            raise ConfigError(
                "authenticators",
                "is empty, so nobody can prove who they are, and every tenant stays closed",
                "Add one, e.g. authenticators=[BearerJWT(...)].",
            )
        return
    for name in ("authenticators", "memberships", "public_paths"):
        if getattr(settings, name):
            raise ConfigError(
                "resolver",
                f"is missing, so {name} has no effect and every handler runs without a tenant",
                "Say how a request names its tenant, e.g. resolver=ClaimResolver().",
            )


def _production(settings: GuardSettings) -> None:
    if settings.environment != "production":
        return
    declared = getattr(settings.origins, "environment", "production")
    if declared != "production":
        raise ConfigError(
            "origins",
            f"were checked for {declared!r}, where a visitor's own machine may be a friend",
            "Build the origin policy with environment='production'.",
        )


def _databases(settings: GuardSettings) -> None:
    from asgi_guard.rls import is_guarded  # noqa: PLC0415 - loads SQLAlchemy, only where it is used

    for number, database in enumerate(settings.databases):
        if not is_guarded(database):
            raise ConfigError(
                f"databases[{number}]",
                f"a {type(database).__name__} is not guarded: it would run without a tenant",
                "Pass guarded_engine(url), or a pool made by create_guarded_pool(dsn).",
            )
