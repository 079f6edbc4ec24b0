"""`guarded_engine`: a SQLAlchemy engine that binds the tenant to every transaction."""

from __future__ import annotations

from typing import Any, overload

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.asyncpg_engine import guard_asyncpg_engine
from asgi_guard.rls.binding.autocommit import refuse_autocommit_options
from asgi_guard.rls.binding.dbapi_engine import guard_dbapi_engine
from asgi_guard.rls.binding.registry import (
    AnyEngine,
    EngineMark,
    mark_engine,
    mark_of,
    sync_engine_of,
)
from asgi_guard.rls.binding.session import watch_sessions
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.variables import RLSVariables

__all__ = ["build_engine", "guarded_engine"]

_REMEDY = "Use postgresql+asyncpg://user:password@host:port/database."
_ASYNC_ONLY = frozenset({"asyncpg", "psycopg_async"})


@overload
def guarded_engine(
    url: AsyncEngine,
    *,
    variables: RLSVariables | None = None,
    transaction_pooler: bool = False,
    seal_keys: SealKeys | None = None,
    **engine_options: Any,
) -> AsyncEngine: ...
@overload
def guarded_engine(
    url: Engine,
    *,
    variables: RLSVariables | None = None,
    transaction_pooler: bool = False,
    seal_keys: SealKeys | None = None,
    **engine_options: Any,
) -> Engine: ...
@overload
def guarded_engine(
    url: str | URL,
    *,
    variables: RLSVariables | None = None,
    transaction_pooler: bool = False,
    seal_keys: SealKeys | None = None,
    **engine_options: Any,
) -> Any: ...


def guarded_engine(
    url: str | URL | AnyEngine,
    *,
    variables: RLSVariables | None = None,
    transaction_pooler: bool = False,
    seal_keys: SealKeys | None = None,
    **engine_options: Any,
) -> Any:
    """Create an engine, or take one, that sends nothing without a tenant.

    With asyncpg the binding travels in the same message as BEGIN. With other drivers it is a
    statement of its own after it.

    Args:
        url: A URL: ``postgresql+asyncpg`` and ``postgresql+psycopg_async`` give an
            `AsyncEngine`, other PostgreSQL drivers an `Engine`. Or an engine of either kind,
            which is guarded in place; connections it made before are replaced.
        variables: Names that the database uses; the defaults when None.
        transaction_pooler: There is PgBouncer (or another) in transaction mode in between:
            no statement is prepared under a name.
        seal_keys: What signs where *variables* are sealed.
        **engine_options: As for ``create_async_engine`` or ``create_engine``. An
            ``async_creator`` must connect with ``connection_class`` from
            `guarded_connection_class`, or every connection is refused.

    Returns:
        The engine; with an engine as argument, the same one.

    Raises:
        ConfigError: The URL is none or not PostgreSQL's, AUTOCOMMIT is asked for, the engine
            serves another purpose already, or sealed variables and keys do not go together.
        UnavailableError: On first use: the server cannot be reached or does not let us in.
    """
    names = variables or RLSVariables()
    refuse_autocommit_options(engine_options)
    engine = build_engine(url, transaction_pooler=transaction_pooler, options=engine_options)
    before = mark_of(engine)
    if before is not None:
        if before != EngineMark(names):
            raise ConfigError(
                "rls.guarded_engine",
                "the engine is a system engine or guarded with other variables already",
                "Make an engine for each purpose.",
            )
        return engine
    inner = sync_engine_of(engine)
    refuse_autocommit_options(inner.get_execution_options())
    level = getattr(inner.dialect, "_on_connect_isolation_level", None)
    refuse_autocommit_options({"isolation_level": level})
    watch_sessions()
    guard = guard_asyncpg_engine if inner.dialect.driver == "asyncpg" else guard_dbapi_engine
    guard(inner, names, seal_keys=seal_keys, transaction_pooler=transaction_pooler)
    mark_engine(engine, EngineMark(names))
    return engine


def build_engine(
    url: str | URL | AnyEngine, *, transaction_pooler: bool, options: dict[str, Any]
) -> AnyEngine:
    """Make the engine for *url*, or check the engine given; nothing is guarded yet.

    Raises:
        ConfigError: As `guarded_engine`.
    """
    if isinstance(url, Engine | AsyncEngine):
        if options:
            raise ConfigError(
                "rls.guarded_engine",
                f"{', '.join(sorted(options))} cannot be changed on an engine that exists",
                "Give the options to the engine, or give its URL here.",
            )
        engine: AnyEngine = url
    else:
        # SQLAlchemy's errors repeat a statement's values, which are a tenant's data.
        engine = _create(_read(url), {"hide_parameters": True} | options)
    inner = sync_engine_of(engine)
    if inner.dialect.name != "postgresql":
        raise ConfigError("rls.url", f"{inner.dialect.name!r} is not PostgreSQL", _REMEDY)
    if transaction_pooler:
        _prepare_nothing_by_name(inner)
    return engine


def _read(url: str | URL) -> URL:
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        # Their message may repeat the URL, and with it the password.
        raise ConfigError("rls.url", "the database URL cannot be read", _REMEDY) from None
    if read.get_backend_name() in {"postgresql", "postgres"}:
        return read
    raise ConfigError("rls.url", f"{read.get_backend_name()!r} is not PostgreSQL", _REMEDY)


def _create(url: URL, options: dict[str, Any]) -> AnyEngine:
    driver = url.drivername.partition("+")[2]
    try:
        if driver in _ASYNC_ONLY:
            return create_async_engine(url, **options)
        return create_engine(url, **options)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise ConfigError(
            "rls.url", f"the driver of {url.drivername!r} is unknown or not installed", _REMEDY
        ) from None
    except (ArgumentError, TypeError) as error:
        raise ConfigError(
            "rls.engine_options", str(error).rstrip("."), "See SQLAlchemy's create_engine()."
        ) from None


def _prepare_nothing_by_name(engine: Engine) -> None:
    # A statement prepared on one server connection does not exist on the next.
    def connect_options(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        if engine.dialect.driver == "asyncpg":
            options["statement_cache_size"] = 0
            options["prepared_statement_cache_size"] = 0
        elif engine.dialect.driver in {"psycopg", "psycopg_async"}:
            options["prepare_threshold"] = None

    event.listen(engine, "do_connect", connect_options)
