"""LogoutFlows: end sessions here and at the provider, whichever of them begins.

OpenID Connect RP-Initiated Logout 1.0 and Back-Channel Logout 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from asgi_guard._internal.asgi import single_header
from asgi_guard.auth.oidc.authorization import read_parameters, with_query
from asgi_guard.auth.oidc.browser import BrowserCookies, Redirect, cleared_cookie, set_cookie
from asgi_guard.auth.oidc.code_flow import Notes
from asgi_guard.auth.oidc.directory import ProviderDirectory
from asgi_guard.auth.oidc.discovery import Discovery
from asgi_guard.auth.oidc.links import SessionLinks
from asgi_guard.auth.oidc.logout_token import OneTimeTokens, verified_logout
from asgi_guard.auth.oidc.once import OneTimeState
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.auth.oidc.reporting import report_done
from asgi_guard.auth.oidc.sessions import LoginSessions
from asgi_guard.auth.oidc.signed_token import unproven_claims
from asgi_guard.errors import RejectionError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore, Scope

__all__ = ["MOST_FORM_BYTES", "LogoutFlows"]

MOST_FORM_BYTES: Final = 32 * 1024
_SECONDS: Final = 300
# Proxies take 4 KiB for all header fields of an answer: with a longer one the browser would get
# neither this redirect nor the end of its cookie.
_LONGEST_HINT: Final = 3000


class LogoutFlows:
    """End sessions.

    Args:
        directory: Of the providers.
        discovery: What is known of them.
        sessions: What is ended.
        links: What the sessions came from.
        store: Where states wait and used tokens are remembered.
        after_logout: Where a browser ends up.
        clock: Where "now" comes from.
    """

    def __init__(
        self,
        *,
        directory: ProviderDirectory,
        discovery: Discovery,
        sessions: LoginSessions,
        links: SessionLinks,
        store: KeyValueStore,
        after_logout: str,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._discovery = discovery
        self._sessions = sessions
        self._links = links
        self._states = OneTimeState(store, purpose="logout", seconds=_SECONDS, clock=clock)
        self._once = OneTimeTokens(store)
        self._after_logout = after_logout
        self._clock = clock

    async def leave(self, scope: Scope, notes: Notes) -> Redirect:
        """End the browser's session, and return the redirect to the provider's logout.

        The session here ends first, and whatever the provider says or does. Without a session, or
        without a logout at the provider, the browser goes to *after_logout*.

        Raises:
            RejectionError: The request is ambiguous, or a page of another origin made it.
            UnavailableError: The session could not be ended now.
        """
        # A Lax cookie comes along from sibling domains; browsers say so (W3C Fetch Metadata).
        if single_header(scope, b"sec-fetch-site") not in {None, b"same-origin", b"none"}:
            refuse("logout_cross_origin")
        reference = await self._sessions.leave(scope)
        farewell = tuple(self._sessions.farewell())
        if reference is None:
            return Redirect(self._after_logout, farewell)
        link = await self._links.take(reference)
        away = None if link is None else await self._away(link, notes)
        notes["at_provider"] = away is not None
        report_done(
            "OIDC_LOGOUT",
            scope,
            clock=self._clock,
            tenant_id=None if link is None else link["tenant"],
            user_id=None if link is None else link["sub"],
            details=notes,
        )
        if away is None:
            return Redirect(self._after_logout, farewell)
        return Redirect(away.location, (*farewell, *away.headers))

    async def arrive(self, scope: Scope) -> Redirect:
        """Return the redirect of a browser that comes back from the provider's logout.

        Raises:
            RejectionError: Its ``state`` is not one that this browser was sent away with.
            UnavailableError: The store does not answer.
        """
        state = read_parameters(scope["query_string"]).get("state")
        await self._states.claim(state, BrowserCookies(scope))
        spent = cleared_cookie(self._states.cookie_name(state or ""))
        return Redirect(self._after_logout, (spent,))

    async def told(self, scope: Scope, form: bytes, notes: Notes) -> None:
        """End the sessions that a provider's logout token names.

        Args:
            scope: Of the provider's request.
            form: Its body.
            notes: Filled with what an event may say.

        Raises:
            RejectionError: The token does not hold, or was used.
            UnavailableError: The keys or the store cannot be reached; the provider may try again.
        """
        token = read_parameters(form, longest=MOST_FORM_BYTES).get("logout_token")
        if not token:
            refuse("logout_token_missing")
        claims = unproven_claims(token)
        tenant_id = await self._directory.tenant_of(scope)
        provider = await self._directory.issuing(tenant_id, claims.get("iss"), claims.get("aud"))
        notes["provider"] = provider.name
        known = await self._discovery.learn(provider)
        now = self._clock.now()
        logout = await verified_logout(token, provider=provider, keys=known.keys, now=now)
        name = await self._once.begin(provider, logout, now=now)
        whom = {"subject": logout.subject, "sid": logout.sid}
        await self._links.mark_gone(provider, **whom, issued_at=logout.issued_at)
        references = await self._links.sessions_of(provider, **whom)
        for reference in references:
            await self._sessions.end(reference)
            await self._links.take(reference)
        await self._once.finish(name, provider, logout, now=now)
        notes["sessions"] = len(references)
        report_done(
            "OIDC_BACKCHANNEL_LOGOUT",
            scope,
            clock=self._clock,
            tenant_id=tenant_id,
            user_id=logout.subject,
            details=notes,
        )

    async def _away(self, link: Mapping[str, Any], notes: Notes) -> Redirect | None:
        """Return the redirect to the provider's logout, if it has one and can be asked."""
        try:
            provider = await self._directory.named(link["tenant"], link["provider"])
            known = await self._discovery.learn(provider)
            endpoint, back = known.metadata.end_session_endpoint, provider.post_logout_redirect_uri
            notes["provider"] = provider.name
            if endpoint is None or back is None:
                return None
            issued = await self._states.issue({})
        except (RejectionError, UnavailableError) as failure:
            notes["problem"] = failure.reason  # the session here has ended all the same
            return None
        hint = {"id_token_hint": link["id_token"]}
        fields = {
            **(hint if len(link["id_token"]) <= _LONGEST_HINT else {}),
            "client_id": provider.client_id,
            "post_logout_redirect_uri": back,
            "state": issued.state,
        }
        cookie = set_cookie(issued.cookie_name, issued.cookie_value, seconds=_SECONDS)
        return Redirect(with_query(endpoint, fields), (cookie,))
