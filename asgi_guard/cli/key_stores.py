"""What an operator names as the place of signing keys: a folder, or ``sql:RING`` in a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asgi_guard.auth.jose import FolderKeyStore, KeyStore
from asgi_guard.errors import ConfigError

if TYPE_CHECKING:
    from asgi_guard.integrations.sql_keys import SQLKeyStore

__all__ = ["Database", "existing_store", "sql_store", "store_at"]

_SQL: Final = "sql:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What ``sql:RING`` needs besides.

    Args:
        dsn: SQLAlchemy URL of an asynchronous driver.
        master_file: File of the vault's master key, mode 0600.
        older_master_files: Of masters that only open what they sealed before.
        table: Name of the table.
    """

    dsn: str | None
    master_file: Path | None
    older_master_files: tuple[Path, ...]
    table: str


def store_at(place: str, database: Database) -> KeyStore:
    """Return the store that *place* names.

    Raises:
        ConfigError: ``sql:`` without a database or a master, or with bad ones.
    """
    if place.startswith(_SQL):
        return sql_store(place, database)
    return FolderKeyStore(place)


def existing_store(place: str, database: Database) -> KeyStore:
    """Return the store that *place* names if it has keys: a misspelled one must not get some.

    Raises:
        ConfigError: It has none; or as `store_at`.
    """
    if place.startswith(_SQL) or (Path(place) / "keys.json").exists():
        store = store_at(place, database)
        if store.stamp() is not None:
            return store
    raise ConfigError(place, "has no keys", "Name another, or run: asgi-guard keys init.")


def sql_store(place: str, database: Database) -> SQLKeyStore:
    """Return the store in the database.

    Raises:
        ConfigError: *place* is no ``sql:RING``; there is no database or master, or a bad one.
    """
    if not place.startswith(_SQL):
        raise ConfigError(place, "is not in a database", "Name one as sql:RING, e.g. sql:default.")
    if not database.dsn or database.master_file is None:
        raise ConfigError(
            place,
            "needs a database and a master key",
            "Set ASGI_GUARD_KEYS_DSN and ASGI_GUARD_KEYS_MASTER_FILE.",
        )
    from sqlalchemy import MetaData  # noqa: PLC0415 - a folder of keys needs no database
    from sqlalchemy.exc import ArgumentError, InvalidRequestError  # noqa: PLC0415 - as above
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - as above
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - as above

    from asgi_guard.integrations.sql_keys import (  # noqa: PLC0415 - as above
        SQLKeyStore,
        signing_keys_table,
    )
    from asgi_guard.vault import KeyRing, LocalMasterKey  # noqa: PLC0415 - as above

    older = [LocalMasterKey.from_file(file) for file in database.older_master_files]
    masters = KeyRing(LocalMasterKey.from_file(database.master_file), older=older)
    try:
        engine = create_async_engine(database.dsn, poolclass=NullPool, hide_parameters=True)
    except (ArgumentError, InvalidRequestError):
        raise ConfigError(
            "--dsn", "is no SQLAlchemy URL of an asynchronous driver", "See --help."
        ) from None
    table = signing_keys_table(MetaData(), name=database.table)
    return SQLKeyStore(engine, table, masters=masters, ring=place.removeprefix(_SQL))
