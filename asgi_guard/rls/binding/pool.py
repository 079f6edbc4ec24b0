"""A raw asyncpg pool whose connections are all guarded."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import asyncpg
from asyncpg.connection import Connection
from asyncpg.pool import Pool

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.asyncpg_connection import connection_class
from asgi_guard.rls.binding.connect_errors import connect_in_plain_words
from asgi_guard.rls.binding.self_test import prove_binding
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.variables import RLSVariables

__all__ = ["GuardedPool", "create_guarded_pool"]

_REMEDY = "Use postgresql://user:password@host:port/database."


class GuardedPool(Pool):  # type: ignore[misc] # asyncpg is untyped
    """An asyncpg pool made by `create_guarded_pool`; used like any other.

    Args:
        variables: Names that the database uses.
        *args: As asyncpg's.
        **options: As asyncpg's.
    """

    def __init__(self, *args: Any, variables: RLSVariables, **options: Any) -> None:
        super().__init__(*args, **options)
        self.variables = variables


def create_guarded_pool(
    dsn: str,
    *,
    variables: RLSVariables | None = None,
    transaction_pooler: bool = False,
    seal_keys: SealKeys | None = None,
    **pool_options: Any,
) -> GuardedPool:
    """Create a raw asyncpg pool that binds the tenant to every transaction.

    A statement outside a transaction block gets a bound transaction of its own; that costs a
    BEGIN and a COMMIT, as it would by hand. Use ``await`` or ``async with``, as with
    ``asyncpg.create_pool``.

    Args:
        dsn: ``postgresql://user:password@host:port/database``; the user is the runtime role.
        variables: Names that the database uses; the defaults when None.
        transaction_pooler: There is PgBouncer (or another) in transaction mode in between:
            no statement is prepared under a name.
        seal_keys: What signs where *variables* are sealed.
        **pool_options: As for ``asyncpg.create_pool``; a ``connection_class`` of yours is kept
            as a base.

    Raises:
        ConfigError: The DSN is none, or an option contradicts another.
        UnavailableError: On first use: the server cannot be reached or does not let us in.
    """
    _check_dsn(dsn)
    names = variables or RLSVariables()
    if transaction_pooler:
        pool_options["statement_cache_size"] = 0
    connect = pool_options.pop("connect", None) or asyncpg.connect

    async def connect_proven(*args: Any, **options: Any) -> Any:
        connection = await connect_in_plain_words(connect, *args, **options)
        try:
            await prove_binding(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    defaults: dict[str, Any] = {
        "min_size": min(10, pool_options.get("max_size", 10)),
        "max_size": 10,
        "max_queries": 50_000,
        "max_inactive_connection_lifetime": 300.0,
        "loop": None,
        "record_class": asyncpg.Record,
    }
    own = connection_class(
        names,
        pool_options.pop("connection_class", Connection),
        seal_keys=seal_keys,
        transaction_pooler=transaction_pooler,
    )
    return GuardedPool(
        dsn,
        variables=names,
        connect=connect_proven,
        connection_class=own,
        **(defaults | pool_options),
    )


def _check_dsn(dsn: str) -> None:
    try:
        parts = urlsplit(dsn)
        scheme, _ = parts.scheme, parts.port
    except (ValueError, AttributeError, TypeError):
        raise ConfigError("rls.dsn", "the DSN cannot be read", _REMEDY) from None
    if scheme not in {"postgresql", "postgres"}:
        raise ConfigError(
            "rls.dsn", f"the scheme {scheme!r} is not asyncpg's", f"{_REMEDY} No +driver."
        )
