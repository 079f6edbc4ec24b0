"""SQLAlchemy over asyncpg: the guard sits in the driver's connection, the pool tells it of its use.

No connection event is listened for: a single one makes SQLAlchemy dispatch all of them, which
costs a tenth of a short transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import asyncpg
from asyncpg.connection import Connection as AsyncpgConnection
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from asgi_guard.rls.binding.asyncpg_connection import (
    connection_class,
    guard_of,
)
from asgi_guard.rls.binding.asyncpg_protocol import BoundProtocol
from asgi_guard.rls.binding.autocommit import autocommit_refused, is_autocommit
from asgi_guard.rls.binding.connect_errors import connect_in_plain_words
from asgi_guard.rls.binding.self_test import prove_binding
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import not_enforced
from asgi_guard.tenancy.current import current_context

__all__ = ["guard_asyncpg_engine"]

_GUARD: Final = "asgi_guard.guard"


def guard_asyncpg_engine(
    engine: Engine,
    variables: RLSVariables,
    *,
    seal_keys: SealKeys | None,
    transaction_pooler: bool,
) -> None:
    """Make *engine* connect with guarded connections only, and mark them in and out of use."""
    guarded = partial(
        connection_class,
        variables,
        seal_keys=seal_keys,
        transaction_pooler=transaction_pooler,
    )
    own = guarded()

    def connect_options(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        base = options.get("connection_class", AsyncpgConnection)
        options["connection_class"] = own if base is AsyncpgConnection else guarded(base)
        creator = options.get("async_creator_fn", asyncpg.connect)

        async def connect(*args: Any, **kwargs: Any) -> Any:
            return await connect_in_plain_words(creator, *args, **kwargs)

        options["async_creator_fn"] = connect

    event.listen(engine, "do_connect", connect_options)
    event.listen(engine, "connect", _prove)
    event.listen(engine, "checkout", _hand_out)
    event.listen(engine, "checkin", _take_back)
    _refuse_autocommit(engine.dialect)


def _prove(dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
    driver = dbapi_connection.driver_connection
    guard = guard_of(driver)
    if guard is None:
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
    record.info[_GUARD] = guard  # SQLAlchemy clears it when it connects anew


def _hand_out(_dbapi_connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    guard: BoundProtocol | None = record.info.get(_GUARD)
    # One that was made before the engine was guarded, was terminated in the middle of something,
    # is stuck in a transaction, or may keep copies of rows: the pool drops it and connects anew.
    usable = guard is not None and guard.is_connected() and not guard.is_in_transaction()
    if guard is None or not usable or guard.left_something:
        raise DisconnectionError("replaced by a fresh connection")
    # SQLAlchemy sends BEGIN with the first statement; for whom the connection was asked for is
    # known now, and compared then.
    context = current_context()
    guard.hand_out(None if context is None else context.tenant_id, pooled=False)


def _take_back(_dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
    guard: BoundProtocol | None = record.info.get(_GUARD)
    if guard is not None:
        guard.in_use = False


def _refuse_autocommit(dialect: Any) -> None:
    """Refuse the level where every way of asking for it passes: in this engine's dialect."""
    for name in ("set_engine_execution_options", "set_connection_execution_options"):
        setattr(dialect, name, _refusing_options(getattr(dialect, name)))
    allowed = dialect.set_isolation_level

    def set_isolation_level(dbapi_connection: Any, level: str) -> None:
        if is_autocommit(level):
            raise autocommit_refused()
        allowed(dbapi_connection, level)

    dialect.set_isolation_level = set_isolation_level


def _refusing_options(allowed: Callable[[Any, Mapping[str, Any]], None]) -> Callable[..., None]:
    def set_options(target: Any, options: Mapping[str, Any]) -> None:
        if is_autocommit(options.get("isolation_level")):
            raise autocommit_refused()
        allowed(target, options)

    return set_options
