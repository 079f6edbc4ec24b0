"""What callers and logs get when a part that somebody supplied misbehaves."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard import Guard, GuardSettings
from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator
from asgi_guard.auth.dpop import DPoPAuthenticator, DPoPClient, DPoPProver, DPoPTokenEndpoint
from asgi_guard.auth.jose import DualAlgorithmVerifier, KeySet, TokenVerifier, VerificationKey
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    IsolationError,
    LoginRefusedError,
    RefreshRefusedError,
    RejectionError,
    RequestInvalidError,
    UnavailableError,
)
from asgi_guard.integrations.stored_tokens import StoredTokenTable, Tally
from asgi_guard.observability import subscribe
from asgi_guard.protocols import FetchResponse, Principal, Receive, Scope, Send
from asgi_guard.secret import Secret
from asgi_guard.tenancy import ClaimResolver, require_context
from tests.attacks.test_credential_canary import traced
from tests.support import dpop_world
from tests.support.exchange import Events, http_scope
from tests.support.jose_tokens import NOW, made, policy, signing_key, verifier
from tests.support.sessions_served import whoami
from tests.support.tenancy_calls import get
from tests.support.tenancy_world import ACME, MovedClock


class Raising:
    """An authenticator of somebody's own."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def authenticate(self, scope: Scope) -> Principal | None:
        raise self.error


class _TeapotError(RejectionError):
    code, status, title = "teapot", 500, "Teapot"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestInvalidError("two"), 401),
        (RefreshRefusedError("refresh_reused"), 401),
        (LoginRefusedError("state_unknown"), 401),
        (_TeapotError("boiling"), 503),
        (IsolationError("a wall"), 503),
        (ConfigError("a", "b", "c"), 503),
        (KeyError("x"), 503),
        (RecursionError(), 503),
        (ExceptionGroup("several", [ValueError("x")]), 503),
        (AuthenticationError("no"), 401),
        (UnavailableError("later"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_no_authenticator_makes_a_400_or_a_500(error: Exception, status: int) -> None:
    """Never 400 or 500, whatever the input: one that renews a token in a cookie raises a 400."""
    events = Events()
    unsubscribe = subscribe(events)
    app = AuthenticationMiddleware(whoami, authenticators=[Raising(error)])

    answer = await get(app)

    unsubscribe()
    assert answer.status == status
    assert ("www-authenticate" in dict(answer.headers)) is (status == 401)
    assert [event.name for event in events.seen] == ["AUTHENTICATION_FAILED"]


class Expiring:
    """Its principals end while the handler runs."""

    challenges = (b'DPoP algs="ES256"',)

    def __init__(self, clock: MovedClock) -> None:
        self.clock = clock

    async def authenticate(self, scope: Scope) -> Principal | None:
        return Principal(user_id="alice", tenant_id=ACME, expires_at=self.clock.now() + 5)


async def test_a_credential_that_expires_under_way_is_asked_for_by_the_apps_own_scheme() -> None:
    """Told "Bearer", a client of an app that takes proofs sends what is refused once more."""
    clock = MovedClock()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        clock.time += 10
        require_context("slow", clock=clock)

    settings = GuardSettings(
        authenticators=[Expiring(clock)], resolver=ClaimResolver(), clock=clock
    )
    answer = await get(Guard(settings).install(slow))

    assert answer.status == 401
    assert dict(answer.headers)["www-authenticate"] == 'DPoP algs="ES256", error="invalid_token"'


class Rude(MemoryStore):
    """A store of somebody's own, whose client's errors get out."""

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        raise ConnectionError("no route")


async def test_a_token_endpoint_whose_store_fails_in_its_own_words_answers_503_and_one_event() -> (
    None
):
    """The endpoint's host knows two errors; a third is a 500 without an event."""
    endpoint = DPoPTokenEndpoint(dpop_world.validator(replay=Rude()))
    events = Events()
    unsubscribe = subscribe(events)

    with pytest.raises(UnavailableError) as failed:
        await endpoint.bind(dpop_world.request(dpop_world.proof()))

    unsubscribe()
    assert failed.value.reason == "replay_cache_unreachable"
    assert [(each.name, each.outcome) for each in events.seen] == [("DPOP_REFUSED", "error")]


async def test_a_url_that_is_none_is_a_config_error_for_the_client_as_well() -> None:
    """`urlsplit` has an error of its own for half an IPv6 address."""

    async def fetch(*_: Any, **__: Any) -> FetchResponse:
        raise AssertionError("nothing to send")

    client = DPoPClient(DPoPProver(signing_key(number=100)), fetch=fetch)

    for url in ("http://[::1", "https://", "notes"):
        with pytest.raises(ConfigError):
            await client.request("GET", url)


def chain(error: BaseException | None) -> list[str]:
    """Give all that an error tracker can reach from *error*."""
    found = []
    while error is not None:
        found += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return found


def contexts(error: BaseException | None) -> list[str]:
    """Give what hangs on *error* as its context, suppressed or not."""
    found = []
    while error is not None:
        found += [str(error), repr(vars(error))]
        error = error.__context__
    return found


async def test_a_table_that_refuses_a_token_leaves_none_on_the_error() -> None:
    """SQLAlchemy's error quotes the statement's values; trackers walk every link of the chain."""
    engine = create_async_engine("sqlite+aiosqlite:///:memory:")
    token = dpop_world.bound_token().decode()
    table = StoredTokenTable(engine, "kept")  # which nobody has made

    with pytest.raises(UnavailableError) as failed:
        await table._write([(1, token, Secret(token))], Tally())

    await engine.dispose()
    assert not [part for part in chain(failed.value) + contexts(failed.value) if token in part]


@pytest.mark.parametrize("scheme", ["bearer", "dpop", "dual"])
async def test_an_apps_own_error_passes_without_the_token_and_still_says_where(scheme: str) -> None:
    """A hook of the app's raises in the middle of a verification; its tracker records locals."""

    def broken(_token: object) -> bool:
        raise KeyError("no such table")

    token = dpop_world.bound_token() if scheme == "dpop" else made()
    judge: Any = verifier(is_revoked=broken)
    if scheme == "dual":
        judge = DualAlgorithmVerifier(
            current=judge,
            legacy=TokenVerifier(
                policy(algorithms=("HS256",)),
                keys=KeySet([VerificationKey("s" * 32, algorithm="HS256")]),
                is_revoked=broken,
            ),
            until=NOW + 60,
            clock=MovedClock(),
        )
    guard: Any = BearerAuthenticator(judge)
    if scheme == "dpop":
        guard = DPoPAuthenticator(judge, validator=dpop_world.validator())
    line = ("authorization", f"{'DPoP' if scheme == 'dpop' else 'Bearer'} {token.decode()}")

    with pytest.raises(KeyError) as failed:
        await guard.authenticate(http_scope(headers=[line]))

    signature = token.decode()[-24:]
    assert signature not in traced(failed.value)
    assert any("broken" in str(place.name) for place in failed.traceback)
