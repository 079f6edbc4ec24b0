"""Connecting fails in many words, some with the DSN in them; here it fails in a few, without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from asyncpg.exceptions import (
    ClientConfigurationError,
    InvalidAuthorizationSpecificationError,
    InvalidCatalogNameError,
    TooManyConnectionsError,
)
from asyncpg.exceptions import InterfaceError as ClientError

from asgi_guard.errors import ConfigError, UnavailableError

__all__ = ["connect_in_plain_words"]

_REASONS: Final = (
    (InvalidAuthorizationSpecificationError, "database_login_refused", "Check user and password."),
    (InvalidCatalogNameError, "database_missing", "Create the database, or correct its name."),
    (TooManyConnectionsError, "database_full", "Raise max_connections or make the pools smaller."),
    (
        (OSError, TimeoutError, asyncpg.PostgresConnectionError),
        "database_unreachable",
        "Check host and port, and that the server is running.",
    ),
)


async def connect_in_plain_words(
    connect: Callable[..., Awaitable[Any]], *args: Any, **options: Any
) -> Any:
    """Connect, and say why not in a stable word and without the password.

    Raises:
        UnavailableError: The server cannot be reached, is full, or does not let us in.
        ConfigError: The DSN cannot be read.
    """
    try:
        return await connect(*args, **options)
    except (ClientConfigurationError, ClientError, ValueError):
        raise ConfigError(
            "rls.dsn",
            "the driver cannot read the DSN or its options",
            "Use postgresql://user:password@host:port/database.",
        ) from None
    except Exception as error:
        for kinds, reason, remedy in _REASONS:
            if isinstance(error, kinds):
                told = UnavailableError(reason)
                told.add_note(remedy)
                raise told from error
        raise
