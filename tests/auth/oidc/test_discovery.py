"""Metadata and keys are fetched seldom, by one of many, and outlive a provider's bad hour."""

from __future__ import annotations

import asyncio
from typing import Any

from asgi_guard.auth.oidc import discovery
from tests.support.jose_tokens import signing_key
from tests.support.oidc_provider import SmallProvider, json_answer
from tests.support.oidc_world import provider_settings, world

METADATA = "/.well-known/openid-configuration"


def asked(provider: SmallProvider, path: str) -> int:
    return len([call for call in provider.calls if call == f"GET {path}"])


async def test_a_crowd_at_the_door_is_one_request_at_the_provider() -> None:
    """A provider that throttles us locks everybody out."""
    async with world() as w:
        await asyncio.gather(*(w.begin(w.browser()) for _ in range(20)))

        assert asked(w.provider, METADATA) == 1


async def test_metadata_is_used_for_an_hour() -> None:
    """Each login must not cost a request; a changed endpoint must be seen one day."""
    async with world() as w:
        for seconds in (0, 3599, 2):
            w.clock.time += seconds
            await w.begin(w.browser())

        assert asked(w.provider, METADATA) == 2


async def test_metadata_outlives_a_provider_s_bad_hour_but_not_a_day() -> None:
    """Logins go on where they can; what is a day old is nobody's word any more."""
    async with world() as w:
        await w.begin(w.browser())
        w.provider.answers[METADATA] = lambda *_: None
        w.clock.time += 4000
        await w.begin(w.browser())

        w.clock.time += 90_000
        answer = await w.browser().go("/auth/login/small")

        assert (answer.status, w.refusal()) == (503, "discovery_fetch_protocol_error")


async def test_a_failure_is_remembered_for_ten_seconds() -> None:
    """A page that is reloaded in anger must not become a flood at the provider."""
    async with world() as w:
        w.provider.answers[METADATA] = lambda *_: json_answer({}, status="500 Oops")
        for seconds in (0, 5, 6):
            w.clock.time += seconds
            assert (await w.browser().go("/auth/login/small")).status == 503

        assert asked(w.provider, METADATA) == 2


async def test_one_caller_who_hangs_up_does_not_spoil_it_for_the_others() -> None:
    """The request is everybody's."""
    async with world() as w:
        first = asyncio.create_task(w.begin(w.browser()))
        await asyncio.sleep(0)
        second = asyncio.create_task(w.begin(w.browser()))
        await asyncio.sleep(0)
        first.cancel()

        assert "code_challenge" in await second


async def test_the_number_of_issuers_is_bounded(monkeypatch: Any) -> None:
    """Tenants come and go; memory does not."""
    monkeypatch.setattr(discovery, "_MOST", 2)
    async with world() as w:
        for algorithms in (("ES256",), ("RS256",), ("ES256", "RS256")):
            await w.login.check_provider(provider_settings(w.provider, algorithms=algorithms))

        assert len(w.login._discovery._known) == 2


async def test_a_rotated_key_logs_in_at_once() -> None:
    """An unknown ``kid`` fetches the keys again (Core 1.0 section 10.1.1)."""
    async with world() as w:
        await w.log_in(w.browser())
        w.clock.time += 31  # the keys' cooldown
        w.provider.key = signing_key("ES256", 3)
        w.provider.published = [w.provider.key.jwk]

        assert (await w.log_in(w.browser())).status == 303
        assert asked(w.provider, "/jwks") == 2


async def test_made_up_key_names_are_no_flood() -> None:
    """A stranger's token must not become a request to the provider each time."""
    async with world() as w:
        await w.log_in(w.browser())
        w.provider.header["kid"] = "made-up"
        for _ in range(5):
            assert (await w.log_in(w.browser())).status == 400

        assert asked(w.provider, "/jwks") == 1


async def test_an_id_token_without_a_type_is_taken() -> None:
    """Core 1.0 asks for none, and providers of note write none."""
    async with world() as w:
        w.provider.header["typ"] = None

        assert (await w.log_in(w.browser())).status == 303
