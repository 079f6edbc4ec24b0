"""What is asked of each database before the app serves: is its row-level security real?"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from asgi_guard.errors import ConfigError, IsolationError, UnavailableError

if TYPE_CHECKING:
    from asgi_guard.rls.catalog import Finding

__all__ = ["verify_database"]

_TIMEOUT_SECONDS: Final = (
    60.0  # a catalog of thousands of tables takes some; silence takes for ever
)

_log = logging.getLogger("asgi_guard")


async def verify_database(database: Any, *, tables: Any) -> list[str]:
    """Look at one guarded engine or pool: its role, its tables' policies, and how they behave.

    Args:
        database: A guarded engine or pool.
        tables: What `GuardSettings.tables` says.

    Returns:
        One text per finding, with the SQL that mends it; empty when all is well. A database that
        cannot be reached is a finding. No text holds a password. Warnings are logged instead.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            findings = await _audit(database, tables)
    except TimeoutError:
        return [f"{_named(database)} did not answer within {_TIMEOUT_SECONDS:.0f} seconds."]
    except UnavailableError as error:
        remedies = " ".join(getattr(error, "__notes__", ()))
        return [f"{_named(database)}: {error} {remedies}".rstrip()]
    # A connection that is refused as it is made: its session names a tenant by default, say.
    except (ConfigError, IsolationError) as error:
        return [f"{_named(database)}: {error}"]
    for finding in findings:
        if finding.severity != "error":
            _log.warning("%s: %s", _named(database), finding)
    return [f"{_named(database)}: {each}" for each in findings if each.severity == "error"]


async def _audit(database: Any, tables: Any) -> list[Finding]:
    from asgi_guard.rls import variables_of  # noqa: PLC0415 - loads SQLAlchemy, only where it is used
    from asgi_guard.rls.catalog import audit_catalog  # noqa: PLC0415 - as above

    return await audit_catalog(
        database, tables=tables, variables=variables_of(database), behaviour=True
    )


def _named(database: Any) -> str:
    """Return the database's URL, its password masked; the kind of handle where there is none."""
    url = getattr(database, "url", None)
    hide = getattr(url, "render_as_string", None)
    return str(hide(hide_password=True)) if hide is not None else type(database).__name__
