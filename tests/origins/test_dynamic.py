"""A provider's answers are asked for once, kept per tenant, and never better than a clear yes."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.origins import DynamicOriginPolicy, OriginGate, OriginPolicy
from asgi_guard.origins.provider import EachOrigin
from asgi_guard.tenancy import UserExecutionContext, current_context, use_context
from tests.support.cors_client import recorded_events
from tests.support.cors_tenants import Answers, HandClock, Policies, addressed_to, tenant_of

SHOP = "https://shop.example"
CONSOLE = OriginPolicy(["https://console.example"])


async def verdict(policy: OriginGate, tenant: str | None, origin: str = SHOP) -> str:
    decision = await policy.decide(origin.encode(), addressed_to(tenant))
    return "allowed" if decision.allowed else decision.reason


async def test_the_fixed_list_is_asked_first_and_the_provider_for_the_rest() -> None:
    """The common origins cost no question."""
    answers = Answers(("acme", SHOP))
    policy = DynamicOriginPolicy(CONSOLE, provider=answers, tenant_of=tenant_of)

    assert await verdict(policy, "acme", "https://console.example") == "allowed"
    assert not answers.asked
    assert await verdict(policy, "acme") == "allowed"
    assert await verdict(policy, "globex") == "provider_denied"


async def test_an_answer_is_kept_for_its_time_and_no_longer() -> None:
    """A removed origin may get in for the time to live, and not one second more."""
    clock, answers = HandClock(), Answers(("acme", SHOP))
    policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of, cache_ttl=60, clock=clock)
    assert await verdict(policy, "acme") == "allowed"
    answers.allowed.clear()

    clock.time += 59.9
    assert await verdict(policy, "acme") == "allowed"
    assert policy.decide_nowait(SHOP.encode(), addressed_to("acme")) is not None
    clock.time += 0.1
    assert policy.decide_nowait(SHOP.encode(), addressed_to("acme")) is None
    assert await verdict(policy, "acme") == "provider_denied"


@pytest.mark.parametrize("kind", ["provider", "tenant_policies"])
async def test_two_hundred_concurrent_requests_never_get_another_tenants_answer(kind: str) -> None:
    """One tenant's friends are another's strangers, however the event loop interleaves them."""
    tenants = [f"t{number}" for number in range(20)]
    pages = {tenant: f"https://{tenant}.shop.example" for tenant in tenants}
    if kind == "provider":
        answers = Answers(*pages.items(), pauses=3)
        policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of, cache_size=50)
    else:
        lists = {tenant: OriginPolicy([page]) for tenant, page in pages.items()}
        policies = Policies(lists, pauses=3)
        policy = DynamicOriginPolicy(tenant_policies=policies, tenant_of=tenant_of, cache_size=5)
    chance = random.Random(7)  # noqa: S311 - an order, not a secret
    asked = [(chance.choice(tenants), chance.choice(tenants)) for _ in range(200)]

    for _ in range(3):  # cold, then warm, then churned
        got = await asyncio.gather(*(verdict(policy, host, pages[page]) for host, page in asked))
        wrong = [
            pair
            for pair, answer in zip(asked, got, strict=True)
            if (answer == "allowed") != (pair[0] == pair[1])
        ]
        assert wrong == []


async def test_the_concurrent_test_reports_a_cache_that_forgets_the_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Control: key the cache by origin alone, and the same requests do mix tenants up."""
    policy = DynamicOriginPolicy(provider=Answers(("acme", SHOP)), tenant_of=tenant_of)
    broken = EachOrigin.ask

    async def ask_as_one_tenant(self: EachOrigin, origin: bytes, scope: Any) -> Any:
        real = self._tenant_of
        self._tenant_of = lambda _: "everybody"
        try:
            return await broken(self, origin, scope)
        finally:
            self._tenant_of = real

    monkeypatch.setattr(EachOrigin, "ask", ask_as_one_tenant)
    await verdict(policy, "acme")

    assert await verdict(policy, "globex") == "allowed"  # the leak


async def test_without_tenant_of_nothing_is_kept_or_shared() -> None:
    """Whose answer it would be is unknown; a slow answer is better than another's."""
    answers = Answers(("acme", SHOP), pauses=2)
    policy = DynamicOriginPolicy(provider=answers)

    got = await asyncio.gather(*(verdict(policy, t) for t in ("acme", "globex", "acme")))

    assert got == ["allowed", "provider_denied", "allowed"]
    assert answers.asked == {("acme", SHOP): 2, ("globex", SHOP): 1}


async def test_one_question_serves_all_who_wait_for_it() -> None:
    """A cold cache must not turn a crowd at the door into a crowd at the database."""
    answers = Answers(("acme", SHOP), pauses=3)
    policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of)

    assert set(await asyncio.gather(*(verdict(policy, "acme") for _ in range(50)))) == {"allowed"}
    assert answers.asked == {("acme", SHOP): 1}


async def test_a_caller_who_hangs_up_does_not_take_the_answer_from_the_others() -> None:
    """The first of a crowd may be an attacker who disconnects at once."""
    answers = Answers(("acme", SHOP))
    answers.gate = asyncio.Event()
    policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of)
    first, second = (asyncio.ensure_future(verdict(policy, "acme")) for _ in range(2))
    await answers.arrived.get()

    first.cancel()
    answers.gate.set()

    assert await second == "allowed"
    assert answers.asked == {("acme", SHOP): 1}


async def test_strangers_cannot_push_friends_out_of_the_cache() -> None:
    """Origins cost nothing to invent, so refusals are kept apart from grants."""
    answers = Answers(("acme", SHOP))
    policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of, cache_size=10)
    await verdict(policy, "acme")

    for number in range(100):
        await verdict(policy, "acme", f"https://x{number}.example")

    assert policy.decide_nowait(SHOP.encode(), addressed_to("acme")) is not None
    source = policy._state.source
    assert isinstance(source, EachOrigin)
    assert len(source._kept) == 11


async def test_too_many_questions_at_once_are_refused() -> None:
    """A slow database and a flood of invented origins must not pile up without end."""
    answers = Answers(("acme", SHOP))
    answers.gate = asyncio.Event()
    policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of, max_pending=3)
    waiting = [
        asyncio.ensure_future(verdict(policy, "acme", f"https://x{n}.example")) for n in range(3)
    ]
    for _ in waiting:
        await answers.arrived.get()

    with recorded_events() as events:
        assert await verdict(policy, "acme") == "provider_busy"
    answers.gate.set()

    assert [event.reason for event in events] == ["provider_busy"]
    assert set(await asyncio.gather(*waiting)) == {"provider_denied"}
    assert await verdict(policy, "acme") == "allowed"


class SecretiveError(Exception):
    """An error that quotes what it must not."""


async def raising(origin: str, scope: Any) -> bool:
    raise SecretiveError("password=hunter2 tenant=acme")


async def stuck(origin: str, scope: Any) -> bool:
    await asyncio.Event().wait()
    return True


async def unavailable_row(origin: str, scope: Any) -> Any:
    return {"allowed": True}


async def forgotten_await(origin: str, scope: Any) -> Any:
    return asyncio.get_running_loop().create_future()


def not_async(origin: str, scope: Any) -> Any:
    return True


@pytest.mark.parametrize(
    ("provider", "reason"),
    [
        (raising, "provider_failed"),
        (stuck, "provider_timeout"),
        (not_async, "provider_failed"),
        (unavailable_row, "provider_denied"),
        (forgotten_await, "provider_denied"),
    ],
)
async def test_whatever_is_not_a_clear_yes_lets_nobody_in(provider: Any, reason: str) -> None:
    """The provider is foreign code on the path of every cross-origin request."""
    policy = DynamicOriginPolicy(provider=provider, tenant_of=tenant_of, timeout=0.01)

    with recorded_events() as events:
        assert await verdict(policy, "acme") == reason

    assert "hunter2" not in repr(events)
    expected = [] if reason == "provider_denied" else [("ORIGIN_PROVIDER_FAILED", "error", reason)]
    assert [(event.name, event.outcome, event.reason) for event in events] == expected


async def test_a_failure_is_not_kept() -> None:
    """When the database is back, so are the friends."""
    answers, broken = Answers(("acme", SHOP)), True

    async def provider(origin: str, scope: Any) -> bool:
        if broken:
            raise SecretiveError
        return await answers(origin, scope)

    policy = DynamicOriginPolicy(provider=provider, tenant_of=tenant_of)
    with recorded_events():
        assert await verdict(policy, "acme") == "provider_failed"
    broken = False
    assert await verdict(policy, "acme") == "allowed"


async def test_a_broken_tenant_of_lets_nobody_in_through_either_door() -> None:
    """It reads what the caller wrote, and may trip over it."""

    def broken(scope: Any) -> str | None:
        raise KeyError("host")

    policy = DynamicOriginPolicy(provider=Answers(("acme", SHOP)), tenant_of=broken)
    with recorded_events() as events:
        decided = policy.decide_nowait(SHOP.encode(), addressed_to("acme"))
        assert decided is not None
        assert decided.reason == await verdict(policy, "acme") == "provider_failed"
    assert len(events) == 2


@pytest.mark.parametrize("origin", [b"null", b"", b"https://EVIL.example", b"x" * 5000, None])
async def test_what_no_browser_sends_is_refused_before_the_provider_is_asked(
    origin: bytes | None,
) -> None:
    """A provider gets well-formed origins only; 'null' is not a question to pass on."""
    answers = Answers()
    policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of)

    decision = await policy.decide(origin, addressed_to("acme"))

    assert not decision.allowed
    assert policy.decide_nowait(origin, addressed_to("acme")) == decision
    assert not answers.asked


async def test_a_shared_answer_is_asked_for_as_nobody() -> None:
    """Asked as the first caller, the rows that user may see would decide for all the others."""
    seen: list[Any] = []

    async def provider(origin: str, scope: Any) -> bool:
        seen.append(current_context())
        return True

    policy = DynamicOriginPolicy(provider=provider, tenant_of=tenant_of)
    with use_context(UserExecutionContext(tenant_id="globex", user_id="u1")):
        assert await verdict(policy, "acme") == "allowed"
    assert seen == [None]


async def test_a_tenants_list_is_fetched_once_and_decides_about_every_origin() -> None:
    """Invented origins then cost a look-up in memory, not in the database."""
    policies = Policies({"acme": OriginPolicy(["https://*.shop.example"])})
    policy = DynamicOriginPolicy(CONSOLE, tenant_policies=policies, tenant_of=tenant_of)

    assert await verdict(policy, "acme", "https://eu.shop.example") == "allowed"
    assert await verdict(policy, "acme", "https://evil.example") == "not_listed"
    assert await verdict(policy, "acme", "https://console.example") == "allowed"
    assert await verdict(policy, "globex", "https://eu.shop.example") == "tenant_unknown"
    assert await verdict(policy, None, "https://eu.shop.example") == "tenant_unknown"
    assert policies.asked == {"acme": 1, "globex": 1}


@pytest.mark.parametrize(
    "tenants_list",
    [
        OriginPolicy(["*"]),
        OriginPolicy(["https://*.github.io"]),
        OriginPolicy([SHOP], allow_null=True),
        OriginPolicy([SHOP], allow_origin_regex=".*"),
        OriginPolicy([SHOP, "http://localhost:5173"], environment="development"),
        [SHOP],
        True,
    ],
    ids=repr,
)
async def test_a_tenant_cannot_open_itself_to_everybody(tenants_list: Any) -> None:
    """The list is typed into a settings page; one tenant's mistake must not become a hole."""
    policy = DynamicOriginPolicy(
        tenant_policies=Policies({"acme": tenants_list}), tenant_of=tenant_of
    )
    assert await verdict(policy, "acme") == "unsafe_policy"


@pytest.mark.parametrize("kind", ["provider", "tenant_policies"])
async def test_a_connection_that_names_no_tenant_is_not_asked_about(kind: str) -> None:
    """Whichever door is used, nobody's list lets nobody in."""
    asked: Any = Answers() if kind == "provider" else Policies({})
    policy = DynamicOriginPolicy(**{kind: asked}, tenant_of=tenant_of)
    nowhere = {"headers": [(b"host", b"203.0.113.7")]}
    source = policy._state.source
    assert source is not None

    for decision in (
        source.peek(SHOP.encode(), nowhere),
        await source.ask(SHOP.encode(), nowhere),
        await policy.decide(SHOP.encode(), nowhere),
    ):
        assert decision is not None
        assert decision.reason == "tenant_unknown"
    assert not asked.asked


async def test_a_tenants_malformed_origin_closes_that_tenant_and_no_other() -> None:
    """Parsing happens in the provider; its ConfigError fails closed."""

    async def policies(tenant: str) -> OriginPolicy | None:
        return OriginPolicy([SHOP if tenant == "globex" else "not an origin"])

    policy = DynamicOriginPolicy(tenant_policies=policies, tenant_of=tenant_of)
    with recorded_events():
        assert await verdict(policy, "acme") == "provider_failed"
    assert await verdict(policy, "globex") == "allowed"


async def test_reload_is_in_force_for_the_next_request_and_forgets_what_was_kept() -> None:
    """Removing an origin in an incident must not wait for a time to live."""
    answers = Answers(("acme", SHOP))
    policy = DynamicOriginPolicy(CONSOLE, provider=answers, tenant_of=tenant_of)
    await verdict(policy, "acme")
    answers.allowed.clear()

    policy.reload(OriginPolicy(["https://new.example"]))

    assert await verdict(policy, "acme") == "provider_denied"
    assert await verdict(policy, "acme", "https://new.example") == "allowed"
    assert await verdict(policy, "acme", "https://console.example") == "provider_denied"
    policy.reload()
    assert policy.base == OriginPolicy(["https://new.example"])


async def test_an_answer_on_its_way_during_a_reload_is_not_kept_afterwards() -> None:
    """Otherwise the old world would be remembered in the new one."""
    answers = Answers(("acme", SHOP))
    answers.gate = asyncio.Event()
    policy = DynamicOriginPolicy(provider=answers, tenant_of=tenant_of)
    waiting = asyncio.ensure_future(verdict(policy, "acme"))
    await answers.arrived.get()

    policy.reload()
    answers.gate.set()

    assert await waiting == "allowed"
    assert policy.decide_nowait(SHOP.encode(), addressed_to("acme")) is None


async def test_a_refused_reload_changes_nothing() -> None:
    """A bad list in the middle of the night must leave the good one standing."""
    policy = DynamicOriginPolicy(CONSOLE)
    policy.require_credential_safe("cors.allow_credentials")

    for bad in (OriginPolicy(["*"]), OriginPolicy(["https://*.github.io"]), "https://a.example"):
        with pytest.raises(ConfigError):
            policy.reload(bad)  # type: ignore[arg-type]

    assert policy.base is CONSOLE


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"provider": Answers(), "tenant_policies": Policies({})}, "Keep one"),
        ({"tenant_policies": Policies({})}, "tenant_of"),
        ({"cache_size": 0}, "cache_size"),
        ({"cache_ttl": -1}, "cache_ttl"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"max_pending": True}, "max_pending"),
        ({"base": ["https://a.example"]}, "Pass OriginPolicy"),
        ({"base": OriginPolicy(["*"]), "provider": Answers()}, "'*'"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: Any, told: str) -> None:
    """An unbounded cache or a pointless provider is found at start-up."""
    with pytest.raises(ConfigError, match=told):
        DynamicOriginPolicy(**settings)


async def test_a_policy_without_provider_is_a_list_that_can_be_reloaded() -> None:
    """The simplest dynamic policy: exchange the list without a restart."""
    policy = DynamicOriginPolicy(CONSOLE)
    assert isinstance(policy, OriginGate)
    assert await verdict(policy, "acme", "https://console.example") == "allowed"
    assert await verdict(policy, "acme") == "not_listed"


def test_explain_and_lint_say_that_the_provider_decides() -> None:
    """The fixed list alone would mislead whoever reads them."""
    policy = DynamicOriginPolicy(provider=Answers())
    assert "The provider decides" in policy.explain(SHOP)
    assert "provider" not in policy.explain("null")
    assert [finding.code for finding in policy.lint()] == ["provider_not_cached"]
    assert DynamicOriginPolicy(provider=Answers(), tenant_of=tenant_of).lint() == ()
    assert [finding.code for finding in DynamicOriginPolicy().lint()] == ["no_origin"]
