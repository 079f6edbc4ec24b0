"""SQLAlchemy over any other PostgreSQL driver: the binding is the transaction's first statement.

psycopg, psycopg2, pg8000 and the async form of psycopg. The guard sits in the engine, so what
bypasses the engine (the driver's own cursor from ``raw_connection()``) is not stopped here: it
needs a tenant to get a connection at all, runs unbound, and is shown no row by the database.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from asgi_guard.errors import ConfigError, RLSViolationError, UnavailableError
from asgi_guard.rls.binding.autocommit import autocommit_refused, watch_options
from asgi_guard.rls.binding.clause import Clauses
from asgi_guard.rls.binding.identity import require_same, require_tenant
from asgi_guard.rls.binding.sealed_clause import SealedClauses, clauses_for
from asgi_guard.rls.binding.statement_text import StatementCheck
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import not_enforced
from asgi_guard.tenancy.context import UserExecutionContext

__all__ = ["disown", "guard_dbapi_engine", "owner_of"]

_OWNER: Final = "asgi_guard.owner"
_BACKEND: Final = "asgi_guard.backend"
_SENDS_PARAMETERS: Final = ("psycopg", "psycopg_async", "pg8000")
_LEFT_SOMETHING: Final = "asgi_guard.left_something"


def guard_dbapi_engine(
    engine: Engine,
    variables: RLSVariables,
    *,
    seal_keys: SealKeys | None,
    transaction_pooler: bool,
) -> None:
    """Bind every transaction that *engine* begins, and check every statement it sends.

    Raises:
        ConfigError: Sealed variables without keys, keys without sealed variables, or a driver
            that would write the sealed token into the text of a statement.
    """
    clauses = clauses_for(variables, seal_keys, transaction_pooler=transaction_pooler)
    if clauses.seals and engine.dialect.driver not in _SENDS_PARAMETERS:
        raise ConfigError(
            "rls.url",
            f"the driver {engine.dialect.driver!r} writes parameters into the text",
            f"A sealed token must not be read there. Use {' or '.join(_SENDS_PARAMETERS)}.",
        )
    _BindingListeners(clauses, shared_session=transaction_pooler).listen(engine)


def owner_of(connection: Connection) -> UserExecutionContext | None:
    """Give whom the open transaction of *connection* is bound to."""
    owner: UserExecutionContext | None = connection.info.get(_OWNER)
    return owner


def disown(connection: Connection) -> None:
    """Let the open transaction of *connection* belong to nobody: it sends nothing any more."""
    connection.info[_OWNER] = None


class _BindingListeners:
    """The engine events that carry the binding."""

    def __init__(self, clauses: Clauses, *, shared_session: bool) -> None:
        self._clauses = clauses
        self._check = StatementCheck(clauses.variables, shared_session=shared_session)

    def listen(self, engine: Engine) -> None:
        """Hook onto *engine*."""
        watch_options(engine)
        event.listen(engine, "connect", self.refuse_session_tenant)
        event.listen(engine, "checkout", _need_tenant)
        event.listen(engine, "begin", self.bind)
        event.listen(engine, "begin_twophase", _refuse_two_phases)
        event.listen(engine, "commit", _need_owner)
        event.listen(engine, "before_cursor_execute", self.check_statement)
        event.listen(engine, "handle_error", _say_unreachable)

    def bind(self, connection: Connection) -> None:
        """Bind the current context to the transaction that begins."""
        context = require_tenant()
        _refuse_driver_autocommit(connection)
        connection.info[_OWNER] = context
        cursor = connection.connection.cursor()
        try:
            if isinstance(self._clauses, SealedClauses):
                token = self._clauses.token(context, connection.info[_BACKEND])
                cursor.execute(self._clauses.statement.replace("$1", "%s"), (token,))
            else:
                cursor.execute(self._clauses.bind_call(context))
        finally:
            cursor.close()

    def check_statement(
        self,
        connection: Connection,
        _cursor: Any,
        statement: str,
        parameters: Any,
        _context: Any,
        _many: bool,  # noqa: FBT001 - SQLAlchemy's signature
    ) -> None:
        """Refuse a statement for another than the owner, or one that fights the binding."""
        require_same(owner_of(connection))
        # The driver would begin the next transaction by itself, unbound.
        verdict = self._check.judge(statement, last_may_end=False)
        if verdict.leaves:
            connection.info[_LEFT_SOMETHING] = True
        if verdict.computes_name:
            self._check.refuse_named(_flat(parameters))

    def refuse_session_tenant(self, dbapi_connection: Any, record: ConnectionPoolEntry) -> None:
        """Refuse a new connection whose session names a tenant by default."""
        cursor = dbapi_connection.cursor()
        try:
            cursor.execute("SELECT pg_catalog.pg_backend_pid()")
            record.info[_BACKEND] = cursor.fetchone()[0]
            cursor.execute(self._clauses.read())
            row = cursor.fetchone()
        finally:
            cursor.close()
            dbapi_connection.rollback()
        if row and row[0]:
            raise not_enforced(
                "the session names a tenant outside any transaction. Remove the default "
                "(ALTER ROLE ... RESET, ALTER DATABASE ... RESET)",
                reason="session_names_tenant",
            )


def _need_tenant(dbapi_connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    require_tenant()
    if record.info.get(_LEFT_SOMETHING):
        raise DisconnectionError("replaced by one whose session nobody changed")
    # Sends nothing where nothing is open. A connection whose last user failed in an unusual
    # place must not carry that transaction to the next.
    dbapi_connection.rollback()


def _need_owner(connection: Connection) -> None:
    try:
        require_same(owner_of(connection))
    except RLSViolationError:
        # SQLAlchemy takes a commit that raises for one that was sent, and would put the
        # connection back into its pool with the transaction open.
        disown(connection)
        connection.connection.rollback()
        raise


def _refuse_two_phases(_connection: Connection, _xid: object) -> None:
    # The only event comes before the transaction, where nothing can be bound to it yet.
    raise not_enforced(
        "a two-phase transaction cannot be bound to a tenant with this driver", reason="two_phase"
    )


def _refuse_driver_autocommit(connection: Connection) -> None:
    driver = connection.connection.dbapi_connection
    if getattr(driver, "autocommit", False) is True:
        raise autocommit_refused()


def _flat(parameters: Any) -> list[object]:
    if isinstance(parameters, dict):
        return list(parameters.values())
    if isinstance(parameters, list | tuple):
        return [value for item in parameters for value in _flat(item)]
    return [parameters]


def _say_unreachable(failure: Any) -> None:
    """Turn a failed connect into the package's own words; the driver's may name the user."""
    if failure.connection is None and isinstance(failure.sqlalchemy_exception, OperationalError):
        told = UnavailableError("database_unreachable")
        told.add_note("Check host, port, user and password, and that the server is running.")
        raise told from failure.original_exception
