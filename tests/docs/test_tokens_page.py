"""The tokens page runs: what it builds issues a token, and lets it in."""

from __future__ import annotations

from pathlib import Path

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
