"""SQLAlchemy over asyncpg: the guard sits in the driver's connection, the engine watches it."""

from __future__ import annotations

from typing import Any

import asyncpg
from asyncpg.connection import Connection as AsyncpgConnection
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DisconnectionError

from asgi_guard.rls.binding.asyncpg_connection import (
    GuardedConnection,
    connection_class,
    guard_of,
    mark_in_use,
)
from asgi_guard.rls.binding.connect_errors import connect_in_plain_words
from asgi_guard.rls.binding.identity import require_tenant
from asgi_guard.rls.binding.self_test import prove_binding
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import not_enforced

__all__ = ["guard_asyncpg_engine"]


def guard_asyncpg_engine(engine: Engine, variables: RLSVariables) -> None:
    """Make *engine* connect with guarded connections only, and mark them in and out of use."""
    own = connection_class(variables)

    def connect_options(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        base = options.get("connection_class", AsyncpgConnection)
        options["connection_class"] = (
            own if base is AsyncpgConnection else connection_class(variables, base)
        )
        creator = options.get("async_creator_fn", asyncpg.connect)

        async def connect(*args: Any, **kwargs: Any) -> Any:
            return await connect_in_plain_words(creator, *args, **kwargs)

        options["async_creator_fn"] = connect

    event.listen(engine, "do_connect", connect_options)
    event.listen(engine, "connect", _prove)
    event.listen(engine, "checkout", _hand_out)
    event.listen(engine, "checkin", _take_back)
    event.listen(engine, "begin", _expect)


def _prove(dbapi_connection: Any, _record: Any) -> None:
    driver = dbapi_connection.driver_connection
    if not isinstance(driver, GuardedConnection):
        driver.terminate()
        raise not_enforced(
            "the engine's creator made an unguarded connection; let it pass on "
            "connection_class=guarded_connection_class(...)",
            reason="creator_unguarded",
        )
    try:
        dbapi_connection.run_async(prove_binding)
    except BaseException:
        driver.terminate()
        raise


def _hand_out(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    driver = dbapi_connection.driver_connection
    guard = guard_of(driver)
    # One that was made before the engine was guarded, was terminated in the middle of something,
    # or is stuck in a transaction: the pool drops it and connects anew.
    if guard is None or driver.is_closed() or guard.is_in_transaction():
        raise DisconnectionError("replaced by a fresh connection")
    mark_in_use(driver, in_use=True)


def _take_back(dbapi_connection: Any, _record: Any) -> None:
    if dbapi_connection is not None:
        mark_in_use(dbapi_connection.driver_connection, in_use=False)


def _expect(connection: Connection) -> None:
    # SQLAlchemy sends BEGIN with the first statement; what it is begun for is decided now.
    context = require_tenant()
    guard = guard_of(connection.connection.driver_connection)
    if guard is not None:
        guard.expected = context
