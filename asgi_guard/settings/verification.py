"""What is asked of each database before the app serves: is its row-level security real?"""

from __future__ import annotations

__all__ = ["verify_database"]


async def verify_database(database: object, *, tables: object | None) -> list[str]:
    """Look at one guarded engine or pool: its role, its tables' policies, and how they behave.

    Returns:
        One text per finding, with the SQL that mends it; empty when all is well.

    Raises:
        NotReadyError: It cannot be reached. The message holds no password.
    """
    from asgi_guard.rls.catalog import verify_deployment  # noqa: PLC0415 - loads SQLAlchemy

    return [str(finding) for finding in await verify_deployment(database, tables=tables)]
