"""The tokens page runs: what it builds issues a token, and lets it in."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.jose import TokenVerifier
from asgi_guard.errors import AuthenticationError
from tests.support.exchange import http_scope
from tests.support.pages import Page


async def test_the_page_of_tokens_runs(tmp_path: Path) -> None:
    """A newcomer's first token must verify, and say whom it speaks for."""
    names = Page("tokens.md").run()

    issuer, authenticator = await names["open_tokens"](str(tmp_path / "keys"))
    token = await issuer.issue_access("alice", client_id="web", tenant_id="acme")
    bearer = f"Bearer {token.token.reveal()}"
    principal = await authenticator.authenticate(http_scope("GET", "/", {"authorization": bearer}))

    assert principal is not None
    assert (principal.user_id, principal.tenant_id) == ("alice", "acme")


async def test_the_pages_token_endpoint_rotates_and_its_access_token_ends_with_the_family(
    tmp_path: Path,
) -> None:
    """What a team copies must hold what the page says of it."""
    names = Page("tokens.md").run()
    issuer, tokens = await names["open_sessions"](str(tmp_path / "keys"), MemoryStore())
    login = await tokens.start("alice", client_id="web", tenant_id="acme")

    reply = await names["token_endpoint"](issuer, tokens, login.token.token.reveal(), "web")

    await tokens._verifier.verify(reply["access_token"])
    await tokens.revoke(reply["refresh_token"], client_id="web")
    with pytest.raises(AuthenticationError):
        await tokens._verifier.verify(reply["access_token"])


async def test_the_pages_verifier_of_both_takes_both(tmp_path: Path) -> None:
    """The example of a migration is the one that people will copy."""
    names = Page("tokens.md").run()
    issuer, _ = await names["open_tokens"](str(tmp_path / "keys"))
    secret = "an old secret that every service has had for years"
    now = int(SYSTEM_CLOCK.now())
    current = TokenVerifier(names["policy"], keys=issuer._keys)
    judge = names["verifier_of_both"](current, secret, now + 3600)
    claims = {"iss": "https://id.example", "aud": "notes", "sub": "alice", "exp": now + 60}

    await judge.verify(jwt.encode(claims, secret, "HS256"))
    await judge.verify((await issuer.issue_access("alice", client_id="web")).token.reveal())

    assert judge.counts == {"HS256": 1, "ES256": 1}
