"""CodeFlow: send a browser away, and judge what it brings back (OpenID Connect Core 1.0, 3.1)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from asgi_guard._internal.asgi import single_header
from asgi_guard.auth.oidc.authorization import (
    Callback,
    authorization_url,
    new_verifier,
    read_parameters,
)
from asgi_guard.auth.oidc.beginnings import Beginnings
from asgi_guard.auth.oidc.browser import BrowserCookies, Redirect, cleared_cookie, set_cookie
from asgi_guard.auth.oidc.directory import ProviderDirectory
from asgi_guard.auth.oidc.discovery import Discovery, KnownProvider
from asgi_guard.auth.oidc.documents import ProviderClient
from asgi_guard.auth.oidc.id_token import verified_login
from asgi_guard.auth.oidc.links import SessionLink, SessionLinks
from asgi_guard.auth.oidc.local_path import local_path
from asgi_guard.auth.oidc.once import OneTimeState
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.auth.oidc.reporting import report_done
from asgi_guard.auth.oidc.sessions import LoginSessions, StartedSession
from asgi_guard.auth.oidc.token_endpoint import exchange_code
from asgi_guard.auth.oidc.userinfo import fetch_userinfo
from asgi_guard.auth.oidc.verified_login import TokenSet, VerifiedLogin
from asgi_guard.protocols import Clock, KeyValueStore, Scope

__all__ = ["CodeFlow", "Notes", "TokensHook"]

_SECONDS: Final = 300
_RECORD: Final = {"tenant", "provider", "agreed", "nonce", "verifier", "next"}
TokensHook = Callable[[VerifiedLogin, TokenSet], Awaitable[None]]
Notes = dict[str, str | int | float | bool | None]


class CodeFlow:
    """Begin logins and complete them.

    Args:
        directory: Of the providers.
        discovery: What is known of them.
        client: How they are asked.
        sessions: Where a login begins one.
        links: What the sessions came from.
        store: Where states wait.
        beginnings: Bounds how many.
        on_tokens: Gets the tokens.
        after_login: Path for a login that asked for none.
        clock: Where "now" comes from.
    """

    def __init__(
        self,
        *,
        directory: ProviderDirectory,
        discovery: Discovery,
        client: ProviderClient,
        sessions: LoginSessions,
        links: SessionLinks,
        store: KeyValueStore,
        beginnings: Beginnings,
        on_tokens: TokensHook | None,
        after_login: str,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._discovery = discovery
        self._client = client
        self._sessions = sessions
        self._links = links
        self._states = OneTimeState(store, purpose="login", seconds=_SECONDS, clock=clock)
        self._beginnings = beginnings
        self._on_tokens = on_tokens
        self._after_login = after_login
        self._clock = clock

    async def begin(self, scope: Scope, name: str, notes: Notes) -> Redirect:
        """Return the redirect to provider *name*.

        Args:
            scope: Of the request; its query may hold ``next``, a path of this site.
            name: From the path.
            notes: Filled with what an event may say.

        Raises:
            RejectionError: There is no such provider, ``next`` leads elsewhere, or too many
                logins are under way from here.
            UnavailableError: The provider or the store does not answer.
        """
        # An image or script of somebody's page asks for no login; browsers say so (Fetch Metadata).
        if single_header(scope, b"sec-fetch-mode") not in {None, b"navigate"}:
            refuse("login_no_navigation")
        target = read_parameters(scope["query_string"]).get("next", self._after_login)
        if local_path(target) is None:
            refuse("next_not_local")
        tenant_id = await self._directory.tenant_of(scope)
        provider = await self._provider(tenant_id, name, notes)
        await self._beginnings.admit(scope, tenant_id)
        known = await self._discovery.learn(provider)
        nonce, verifier = secrets.token_urlsafe(32), new_verifier()
        record = {
            "tenant": tenant_id,
            "provider": provider.name,
            "agreed": provider.fingerprint,
            "nonce": nonce,
            "verifier": verifier,
            "next": target,
        }
        issued = await self._states.issue(record)
        report_done("OIDC_LOGIN_STARTED", scope, clock=self._clock, details=notes, routine=True)
        surplus = BrowserCookies(scope).surplus()
        return Redirect(
            authorization_url(
                provider, known.metadata, state=issued.state, nonce=nonce, verifier=verifier
            ),
            (
                *(cleared_cookie(each) for each in surplus),
                set_cookie(issued.cookie_name, issued.cookie_value, seconds=_SECONDS),
            ),
        )

    async def complete(self, scope: Scope, name: str, notes: Notes) -> Redirect:
        """Return the redirect of a browser that is logged in.

        Args:
            scope: Of the callback's request.
            name: From the path.
            notes: Filled with what an event may say.

        Raises:
            RejectionError: Something did not hold.
            UnavailableError: The provider or the store does not answer.
        """
        callback = Callback.read(scope["query_string"])
        tenant_id = await self._directory.tenant_of(scope)
        record = await self._states.claim(callback.state, BrowserCookies(scope))
        if not set(record) >= _RECORD:
            refuse("state_unknown")  # of another release
        if record["tenant"] != tenant_id:
            refuse("tenant_mismatch")
        if record["provider"] != name:
            refuse("provider_mismatch")
        provider = await self._provider(tenant_id, name, notes)
        if record["agreed"] != provider.fingerprint:
            refuse("provider_changed")
        if callback.error is not None:
            notes["provider_error"] = callback.known_error
        known = await self._discovery.learn(provider)
        login, tokens = await self._proven(callback, record, provider, known, tenant_id)
        session = await self._session(scope, provider, login, tokens)
        await self._beginnings.finished(scope, tenant_id)
        report_done(
            "OIDC_LOGIN_SUCCEEDED",
            scope,
            clock=self._clock,
            tenant_id=tenant_id,
            user_id=session.user_id or login.subject,
            session=session.session_id,
            details=notes,
        )
        spent = cleared_cookie(self._states.cookie_name(callback.state or ""))
        return Redirect(record["next"], (*session.headers, spent))

    async def _provider(self, tenant_id: str | None, name: str, notes: Notes) -> OIDCProvider:
        if tenant_id is not None:
            notes["named_tenant"] = tenant_id
        provider = await self._directory.named(tenant_id, name)
        notes["provider"] = provider.name
        return provider

    async def _proven(
        self,
        callback: Callback,
        record: dict[str, Any],
        provider: OIDCProvider,
        known: KnownProvider,
        tenant_id: str | None,
    ) -> tuple[VerifiedLogin, TokenSet]:
        code = callback.proven_code(provider, known.metadata)
        tokens = await exchange_code(
            self._client,
            provider,
            known.metadata,
            code=code,
            verifier=record["verifier"],
            now=self._clock.now(),
        )
        login = await verified_login(
            tokens,
            code=code,
            nonce=record["nonce"],
            provider=provider,
            tenant_id=tenant_id,
            keys=known.keys,
            now=self._clock.now(),
        )
        if provider.userinfo:
            claims = await fetch_userinfo(
                self._client,
                known.metadata,
                access_token=tokens.access_token,
                subject=login.subject,
            )
            login = login.with_userinfo(claims)
        return login, tokens

    async def _session(
        self, scope: Scope, provider: OIDCProvider, login: VerifiedLogin, tokens: TokenSet
    ) -> StartedSession:
        session = await self._sessions.start(scope, login)
        kept = False
        try:
            await self._link(session, provider, login, tokens)
            if self._on_tokens is not None:
                await self._on_tokens(replace(login, user_id=session.user_id), tokens)
            kept = True
        finally:
            if not kept:  # e.g. one that no logout could find; its cookie has not gone out
                await self._sessions.end(session.reference)
        return session

    async def _link(
        self,
        session: StartedSession,
        provider: OIDCProvider,
        login: VerifiedLogin,
        tokens: TokenSet,
    ) -> None:
        link = SessionLink(
            reference=session.reference,
            seconds=session.seconds,
            tenant_id=login.tenant_id,
            provider=provider.name,
            subject=login.subject,
            sid=login.sid,
            issued_at=login.claims["iat"],
            id_token=tokens.id_token,
        )
        for surplus in await self._links.add(provider, link):
            await self._sessions.end(surplus)
        # After the link is there: a logout sees the link, or this sees the logout.
        if await self._links.is_gone(provider, link):
            refuse("logged_out_meanwhile")
