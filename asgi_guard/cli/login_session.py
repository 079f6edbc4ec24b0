"""What a login brought, kept in the session file; renewed, and revoked at the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.sessions.file_session import SessionFacts
from asgi_guard.auth.sessions.file_store import FileSessionStore
from asgi_guard.cli.login_server import AuthorizationServer, Tokens
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Clock

__all__ = ["keep", "renew", "renew_alone", "revoke"]

_UNSAID: Final = 600.0  # seconds of an access token whose life was not said
_REFRESHABLE: Final = 12 * 3600.0


def keep(
    store: FileSessionStore,
    name: str,
    tokens: Tokens,
    *,
    issuer: str,
    client_id: str,
    started_at: float | None = None,
    instead_of: bytes | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> SessionFacts:
    """Save *tokens*; with a refresh token the session outlasts its access token.

    Raises:
        AuthenticationError: ``session_replaced``: *instead_of* is no longer what is there.
        ConfigError: The store refuses them.
    """
    now = clock.now()
    access_ends = now + (tokens.expires_in or _UNSAID)
    secrets = {"access_token": bytearray(tokens.access_token, "ascii")}
    if tokens.refresh_token:
        secrets["refresh_token"] = bytearray(tokens.refresh_token, "ascii")
    return store.save(
        name,
        issuer=issuer,
        client_id=client_id,
        secrets=secrets,
        scopes=tokens.scopes,
        ends_at=max(access_ends, now + _REFRESHABLE) if tokens.refresh_token else access_ends,
        access_ends_at=access_ends,
        started_at=started_at,
        instead_of=instead_of,
    )


def renew_alone(
    store: FileSessionStore,
    name: str,
    *,
    connect: Callable[[str], Awaitable[AuthorizationServer]],
    clock: Clock = SYSTEM_CLOCK,
) -> SessionFacts:
    """Renew a session, or take what another process renewed while this one waited for it.

    A refresh token is good for one use; a server that sees it twice may end everything that came
    of it (RFC 9700 section 4.14.2).

    Args:
        store: Where it is.
        name: Of the session.
        connect: Finds the server of an issuer.
        clock: Where "now" comes from.

    Raises:
        AuthenticationError: As `renew`.
        ConfigError: As `renew`.
        UnavailableError: As `renew`.
    """
    with store.load(name) as session:
        seen = session.mark
    with store.alone(name):  # outside of the event loop, so that Ctrl-C ends the waiting
        with store.load(name) as session:
            facts, present = session.facts, session.mark
        if present != seen:
            return facts

        async def work() -> SessionFacts:
            return await renew(await connect(facts.issuer), store, name, clock=clock)

        return asyncio.run(work())


async def renew(
    server: AuthorizationServer,
    store: FileSessionStore,
    name: str,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> SessionFacts:
    """Get a new access token for the refresh token (RFC 6749 section 6); the start stays.

    Raises:
        AuthenticationError: There is no session, no refresh token in it, or the server refuses
            it; a refused session is removed. ``session_replaced``: the person has logged out or
            in meanwhile, which counts; what came is revoked.
        ConfigError: The file is not safe.
        UnavailableError: The server does not answer.
    """
    with store.load(name) as session:
        facts, refresh, mark = session.facts, session.reveal("refresh_token"), session.mark
    form = {
        "grant_type": "refresh_token",
        "refresh_token": refresh,
        "client_id": facts.client_id,
    }
    try:
        tokens = await server.tokens(form, scope=" ".join(sorted(facts.scopes)))
    except AuthenticationError as refusal:
        if refusal.reason == "login_invalid_grant":
            store.remove(name, mark=mark)
        raise
    kept = tokens._replace(refresh_token=tokens.refresh_token or refresh)
    try:
        return keep(
            store,
            name,
            kept,
            issuer=facts.issuer,
            client_id=facts.client_id,
            started_at=facts.started_at,
            instead_of=mark,
            clock=clock,
        )
    except AuthenticationError:
        got = {"refresh_token": kept.refresh_token, "access_token": kept.access_token}
        await revoke(server, got, client_id=facts.client_id)
        raise


async def revoke(server: AuthorizationServer, tokens: dict[str, str], *, client_id: str) -> bool:
    """Have both tokens revoked (RFC 7009), the refresh token first; tell whether they are.

    A server need not revoke access tokens one by one (section 2.2.1); the refresh token counts.
    """
    done = []
    for kind in ("refresh_token", "access_token"):
        if kind in tokens:
            try:
                done.append(await server.revoke(tokens[kind], kind=kind, client_id=client_id))
            except (ConfigError, UnavailableError):
                done.append(False)
    return bool(done) and done[0]
