"""FastAPI: a session that commits before the answer goes out, the context, scopes, OpenAPI.

::

    Guard(settings).install(app)

    @app.post("/notes", dependencies=[require_scopes("notes:write")])
    async def add(note: NoteIn, session: GuardedSession, context: CurrentContext) -> NoteOut: ...

Needs the ``fastapi`` extra.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.guard_marks import databases_of
from asgi_guard.errors import ConfigError, ConflictError, InsufficientScopeError
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import require_context

require_extra("fastapi", feature=__name__, extra="fastapi")

from fastapi import Depends, Security  # noqa: E402 - a missing extra is named first
from fastapi.openapi.models import HTTPBearer  # noqa: E402 - as above
from fastapi.security.base import SecurityBase  # noqa: E402 - as above
from sqlalchemy.exc import IntegrityError  # noqa: E402 - as above
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession  # noqa: E402 - as above
from starlette.requests import HTTPConnection  # noqa: E402 - as above

from asgi_guard.rls import GuardedAsyncSession, is_guarded  # noqa: E402 - as above

__all__ = ["BEARER", "CurrentContext", "GuardedSession", "guarded_session", "require_scopes"]

# scope-token (RFC 6749 section 3.3): what may stand in the quotes of WWW-Authenticate as it is.
_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class _BearerScheme(SecurityBase):
    """Names the credential in OpenAPI (Security Scheme Object, ``http`` / ``bearer``).

    It reads nothing: `AuthenticationMiddleware` has verified the credential before any handler.
    """

    def __init__(self) -> None:
        self.model = HTTPBearer(description="Verified before the request reaches a handler.")
        self.scheme_name = "bearer"

    async def __call__(self) -> None:
        """Do nothing."""


BEARER: Final = _BearerScheme()
"""The security scheme that `CurrentContext`, `GuardedSession` and `require_scopes` declare."""


async def _context(_bearer: Annotated[None, Depends(BEARER)]) -> UserExecutionContext:
    return require_context("CurrentContext")


CurrentContext = Annotated[UserExecutionContext, Depends(_context)]
"""Who the handler runs for. Without a context, on a public path, the answer is a 500: it fails
closed, because a handler that asks for it must not be public."""


def require_scopes(*scopes: str) -> Any:
    """Return a dependency that asks for OAuth scopes (RFC 6749 section 3.3), and gives the context.

    ``dependencies=[require_scopes("notes:write")]`` on a route, router or app, or
    ``Annotated[UserExecutionContext, require_scopes("notes:write")]`` as a parameter. It is
    complete: do not put it inside ``Depends``.

    Args:
        *scopes: All of them are needed.

    Raises:
        ConfigError: None was named, or one is no scope token.

    The dependency raises `InsufficientScopeError`: 403 with the ``WWW-Authenticate`` of RFC 6750
    section 3.1. OpenAPI lists the scopes with the operation.
    """
    if not scopes:
        raise ConfigError("require_scopes", "no scope is named", 'Write "notes:write" or similar.')
    for scope in scopes:
        if not isinstance(scope, str) or not _SCOPE_TOKEN.fullmatch(scope):
            raise ConfigError(
                "require_scopes", f"{scope!r} is no scope token", "Pass each scope by itself."
            )
    needed = frozenset(scopes)
    challenge = f'error="insufficient_scope", scope="{" ".join(scopes)}"'.encode("ascii")

    async def check(context: CurrentContext) -> UserExecutionContext:
        if not needed <= context.scopes:
            # RFC 9449 section 7.1: by the scheme of the credential that was sent.
            scheme = b"DPoP" if context.auth_method == "dpop" else b"Bearer"
            line = (b"www-authenticate", b"%b %b" % (scheme, challenge))
            raise InsufficientScopeError("scope_missing", headers=(line,))
        return context

    return Security(check, scopes=list(scopes))


def guarded_session(engine: AsyncEngine) -> Any:
    """Return the dependency behind `GuardedSession` for one engine of several.

    ``Reports = Annotated[AsyncSession, guarded_session(reports_engine)]``.

    Raises:
        ConfigError: *engine* is not a guarded async engine.
    """
    if not isinstance(engine, AsyncEngine) or not is_guarded(engine):
        raise ConfigError(
            "guarded_session(engine)",
            f"got a {type(engine).__name__} that is not guarded",
            "Pass guarded_engine(url).",
        )

    async def session(_bearer: Annotated[None, Depends(BEARER)]) -> AsyncIterator[AsyncSession]:
        async with _transaction(engine) as each:
            yield each

    # With scope "function" the exit runs before the response is sent; by default it would commit
    # afterwards, and a failing deferred constraint would leave a 201 with nothing stored.
    return Depends(session, scope="function")


async def _session_of_guard(
    connection: HTTPConnection, _bearer: Annotated[None, Depends(BEARER)]
) -> AsyncIterator[AsyncSession]:
    async with _transaction(_only_engine(databases_of(connection.scope))) as each:
        yield each


GuardedSession = Annotated[AsyncSession, Depends(_session_of_guard, scope="function")]
"""A session of the one async engine among ``GuardSettings.databases``, in one transaction.

It commits when the handler has returned and before the response goes out, so a constraint that
fails at commit is answered with 409 ``conflict`` and nothing is stored. An exception, an
``HTTPException`` too, rolls back. A body that is streamed after the handler has returned finds the
session closed. With several engines, see `guarded_session`.
"""


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    # Objects stay readable after the commit: the response is made of them. Closed is closed: a
    # streamed body would else begin a transaction that nobody ends.
    async with GuardedAsyncSession(
        engine, expire_on_commit=False, close_resets_only=False
    ) as session:
        yield session
        try:
            await session.commit()
        except IntegrityError as error:
            raise ConflictError("constraint_at_commit") from error


def _only_engine(databases: tuple[object, ...] | None) -> AsyncEngine:
    if databases is None:
        raise ConfigError(
            "GuardedSession",
            "no Guard stands around this app",
            "Call Guard(settings).install(app).",
        )
    engines = [each for each in databases if isinstance(each, AsyncEngine)]
    if len(engines) != 1:
        raise ConfigError(
            "GuardedSession",
            f"GuardSettings.databases has {len(engines)} async engines",
            "List exactly one, or name it: Annotated[AsyncSession, guarded_session(engine)].",
        )
    return engines[0]
