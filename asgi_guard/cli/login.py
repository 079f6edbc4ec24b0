"""``asgi-guard login``, ``logout``, ``status`` and ``renew``: a person's session in a shell."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from enum import StrEnum
from typing import Annotated, Final

import typer

from asgi_guard.auth.sessions.file_required import EXIT_REFUSED
from asgi_guard.auth.sessions.file_session import SessionFacts
from asgi_guard.auth.sessions.file_store import FileSessionStore
from asgi_guard.cli.login_device import device_login
from asgi_guard.cli.login_loopback import loopback_login
from asgi_guard.cli.login_server import AuthorizationServer, Tokens, discover
from asgi_guard.cli.login_session import keep, renew_alone, revoke
from asgi_guard.cli.login_shell import explained, shown_time
from asgi_guard.errors import GuardError

__all__ = ["Flow", "login", "logout", "register", "renewal", "status"]

_ANYWHERE: Final = ("0.0.0.0/0", "::/0")  # the person named the server, which may be inside
_UNREVOKED: Final = 7


class Flow(StrEnum):
    """How a person logs in."""

    BROWSER = "browser"
    DEVICE = "device"
    PASSWORD = "password"  # noqa: S105 - a flow, no password


Name = Annotated[str, typer.Option("--session", help="Which session, of several.")]
Http = Annotated[
    bool, typer.Option("--insecure-http", help="Take plain http on loopback; for development.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    for command in (login, logout, status, renewal):
        app.command(command.__name__ if command is not renewal else "renew")(command)


def login(
    issuer: Annotated[str, typer.Option(envvar="ASGI_GUARD_ISSUER", help="https://id.example")],
    client_id: Annotated[str, typer.Option(envvar="ASGI_GUARD_CLIENT_ID", help="This program's.")],
    *,
    scope: Annotated[str, typer.Option(help="Separated by spaces.")] = "offline_access",
    flow: Annotated[Flow, typer.Option(help="browser: on this machine.")] = Flow.BROWSER,
    session: Name = "default",
    port: Annotated[int, typer.Option(min=0, max=65535, help="For the browser's way back.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address.")] = False,
    insecure_http: Http = False,
) -> None:
    """Log in, and keep the session in a sealed file of yours."""

    async def work() -> SessionFacts:
        server = await _server(issuer, insecure_http=insecure_http)
        tokens = await _flow(
            server,
            flow,
            client_id=client_id,
            scope=scope,
            port=port,
            no_browser=no_browser,
            allow_http=insecure_http,
        )
        return keep(store, session, tokens, issuer=issuer, client_id=client_id)

    with explained():
        store = FileSessionStore()
        facts = asyncio.run(work())
    typer.echo(f"logged in at {facts.issuer} until {shown_time(facts.ends_at)}")


def logout(*, session: Name = "default", insecure_http: Http = False) -> None:
    """Revoke the tokens at the server, destroy the key and delete the file, whatever fails."""
    with explained(unsafe=EXIT_REFUSED):
        store = FileSessionStore()
        try:
            with store.load(session) as found:
                facts = found.facts
                # The access token may have ended; what has ended needs no revoking.
                tokens = {kind: found.reveal(kind) for kind in found.secrets if found.has(kind)}
        finally:
            store.remove(session)  # before anything else: the network may take its time

    async def work() -> bool:
        server = await _server(facts.issuer, insecure_http=insecure_http)
        return await revoke(server, tokens, client_id=facts.client_id)

    try:
        revoked = asyncio.run(work())
    except GuardError:
        revoked = False
    if not revoked:
        typer.echo("deleted here; the server could not be told: its tokens live on", err=True)
        raise typer.Exit(_UNREVOKED)
    typer.echo("logged out")


def status(
    *,
    session: Name = "default",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell whether there is a session and how long it lasts; exit codes 0, 3 (none), 4 (ended)."""
    with explained(unsafe=EXIT_REFUSED), FileSessionStore().load(session) as found:
        facts, left = found.facts, int(found.seconds_left)
    if as_json:
        shown = {
            "session": session,
            "issuer": facts.issuer,
            "client_id": facts.client_id,
            "scopes": sorted(facts.scopes),
            "seconds_left": left,
        }
        typer.echo(json.dumps(shown))
        return
    typer.echo(f"{session}: {facts.issuer}, {left // 60} min {left % 60} s left")


def renewal(*, session: Name = "default", insecure_http: Http = False) -> None:
    """Get a new access token without asking the person."""

    async def connect(issuer: str) -> AuthorizationServer:
        return await _server(issuer, insecure_http=insecure_http)

    with explained():
        facts = renew_alone(FileSessionStore(), session, connect=connect)
    typer.echo(f"renewed until {shown_time(facts.access_ends_at or facts.ends_at)}")


async def _flow(
    server: AuthorizationServer,
    flow: Flow,
    *,
    client_id: str,
    scope: str,
    port: int,
    no_browser: bool,
    allow_http: bool,
) -> Tokens:
    if flow is Flow.BROWSER:
        return await loopback_login(
            server,
            client_id=client_id,
            scope=scope,
            port=port,
            show=_print_address if no_browser else _open_browser,
        )
    if flow is Flow.DEVICE:
        return await device_login(
            server, client_id=client_id, scope=scope, prompt=_prompt, allow_http=allow_http
        )
    # RFC 9700 section 2.4 advises against it: this program sees the password.
    form = {
        "grant_type": "password",
        "username": typer.prompt("User"),
        "password": typer.prompt("Password", hide_input=True),
        "client_id": client_id,
        "scope": scope,
    }
    return await server.tokens(form, scope=scope)


async def _server(issuer: str, *, insecure_http: bool) -> AuthorizationServer:
    from asgi_guard.integrations.httpx import HTTPXFetch  # noqa: PLC0415 - other commands need none

    fetch = HTTPXFetch(allow_addresses=_ANYWHERE, insecure_allow_http=insecure_http)
    return await discover(issuer, fetch=fetch, allow_http=insecure_http)


async def _open_browser(address: str) -> None:
    opened = await asyncio.to_thread(webbrowser.open, address)
    if not opened:
        await _print_address(address)


async def _print_address(address: str) -> None:
    typer.echo(f"Open this address in your browser:\n{address}", err=True)


def _prompt(address: str, code: str) -> None:
    typer.echo(f"Open {address} and enter the code {code}", err=True)
