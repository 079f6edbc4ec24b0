"""An attacker who learns a nonce must not be able to use it: not later, not on another page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from asgi_guard.security_headers import SecurityHeaders, SecurityHeadersMiddleware, csp_nonce
from asgi_guard.security_headers.nonce import SCOPE_KEY
from tests.support.headers_client import Answer, http_scope, request

HTML = SecurityHeaders.html()


def header_nonce(answer: Answer) -> str:
    found = re.search(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])
    assert found
    return found[1]


def page(nonce_of: Callable[[Any], str]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        csp_nonce(scope)
        await asyncio.sleep(0)
        body = nonce_of(scope).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


async def foreign_nonces(app: Any) -> int:
    """Count the pages of 100 concurrent requests whose nonce their own header does not name."""
    answers = await asyncio.gather(*(request(app, http_scope()) for _ in range(100)))
    return sum(header_nonce(answer) != answer.body.decode() for answer in answers)


async def test_no_page_carries_another_requests_nonce() -> None:
    """A script that carries a foreign nonce is dead; one that works elsewhere is an attack."""
    assert await foreign_nonces(SecurityHeadersMiddleware(page(csp_nonce), policy=HTML)) == 0


async def test_the_count_finds_a_nonce_that_is_kept_in_a_global() -> None:
    """Negative control: the usual mistake must be seen by the test above."""
    latest: dict[str, str] = {}

    def from_global(scope: Any) -> str:
        return latest.get("nonce", "")

    inner = page(from_global)

    async def remembering(scope: Any, receive: Any, send: Any) -> None:
        latest["nonce"] = csp_nonce(scope)
        await inner(scope, receive, send)

    assert await foreign_nonces(SecurityHeadersMiddleware(remembering, policy=HTML)) > 50


async def test_a_caller_cannot_choose_or_plant_the_nonce() -> None:
    """Neither a header nor a slot left over in a shared scope may decide it."""
    guarded = SecurityHeadersMiddleware(page(csp_nonce), policy=HTML)
    planted = http_scope(headers=[("x-nonce", "evil"), ("csp-nonce", "evil")])
    planted[SCOPE_KEY] = "evil"

    first = header_nonce(await request(guarded, planted))
    second = header_nonce(await request(guarded, planted))  # the same scope object again

    assert "evil" not in {first, second}
    assert first != second


async def test_many_nonces_show_no_repetition_and_use_their_whole_alphabet() -> None:
    """A counter or a short random part would show here."""
    seen = set()
    for _ in range(2000):
        scope = http_scope()
        await request(SecurityHeadersMiddleware(page(csp_nonce), policy=HTML), scope)
        seen.add(csp_nonce(scope))

    assert len(seen) == 2000
    for position in range(24):
        assert len({nonce[position] for nonce in seen}) > 40


@pytest.mark.parametrize("broken", [lambda numbers: f"{next(numbers):024d}"])
def test_the_alphabet_check_finds_a_counter(broken: Any) -> None:
    """Negative control for the check above."""
    numbers = count()
    seen = {broken(numbers) for _ in range(2000)}

    assert len({nonce[0] for nonce in seen}) <= 40


async def test_an_attackers_markup_gains_nothing_from_a_page_without_nonce() -> None:
    """'unsafe-inline' beside a nonce is for old browsers, and must not outlive the nonce."""
    policy = HTML.allowing({"script-src": ["'unsafe-inline'", "https:"]})

    async def static(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    answer = await request(SecurityHeadersMiddleware(static, policy=policy))

    script_src = answer.headers["content-security-policy"].split("; ")[1]
    assert script_src == "script-src 'strict-dynamic' https:"  # hosts stay switched off
