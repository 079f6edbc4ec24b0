"""AUTOCOMMIT has no transaction to bind a tenant to, so it is refused wherever it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls.violations import not_enforced

__all__ = [
    "autocommit_refused",
    "is_autocommit",
    "refuse_autocommit_options",
    "watch_options",
]


def refuse_autocommit_options(options: Mapping[str, Any]) -> None:
    """Refuse AUTOCOMMIT among engine options or execution options.

    Raises:
        ConfigError: It is there.
    """
    nested = options.get("execution_options") or {}
    if any(is_autocommit(one.get("isolation_level")) for one in (options, nested)):
        raise ConfigError(
            "rls.guarded_engine",
            "isolation_level AUTOCOMMIT leaves no transaction to bind a tenant to",
            "Leave it out; for maintenance that cannot run in a transaction use an engine of "
            "its own on the owner's role.",
        )


def watch_options(engine: Engine) -> None:
    """Refuse AUTOCOMMIT when it is asked of *engine* or of one of its connections later."""
    event.listen(engine, "set_connection_execution_options", _refuse)
    event.listen(engine, "set_engine_execution_options", _refuse)


def is_autocommit(level: object) -> bool:
    """Tell whether *level* is any spelling of AUTOCOMMIT."""
    return isinstance(level, str) and level.replace(" ", "").upper() == "AUTOCOMMIT"


def autocommit_refused() -> RLSViolationError:
    """Report and return the error for it."""
    return not_enforced(
        "isolation_level AUTOCOMMIT leaves no transaction to bind a tenant to", reason="autocommit"
    )


def _refuse(_target: Any, options: Mapping[str, Any]) -> None:
    if is_autocommit(options.get("isolation_level")):
        raise autocommit_refused()
