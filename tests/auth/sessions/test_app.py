"""Sessions over HTTP: who may do what, and whether the description is true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.openapi.checks import JsonSchemaError
from schemathesis.specs.openapi.checks import ignored_auth
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.sessions import SessionService, session_app
from asgi_guard.auth.sessions.openapi import description
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.tenancy import UserExecutionContext, use_context
from tests.support.passwords_people import listening
from tests.support.sessions_world import World, alive, world
from tests.support.tenancy_world import ACME, GLOBEX

SERVICE = ("sessions:create", "sessions:read", "sessions:write", "notes:read")
UNKNOWN = "x" * 43


class AsService:
    """Run each request for a tenant's service, as the layers outside would."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        tenant: str = ACME,
        scopes: Iterable[str] = SERVICE,
        auth_method: str = "bearer",
    ) -> None:
        self._app = app
        self._context = UserExecutionContext(
            tenant_id=tenant,
            user_id="login-service",
            roles=["member"],
            scopes=scopes,
            auth_method=auth_method,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with use_context(self._context):
            await self._app(scope, receive, send)


def client(made: World, *, signed_in: bool = True, **caller: Any) -> httpx.AsyncClient:
    """Call the mounted sub-app as a service, or as nobody."""
    app: ASGIApp = Starlette(routes=[Mount("/session", session_app(made.sessions))])
    served = AsService(app, **caller) if signed_in else app
    transport = httpx.ASGITransport(app=served)
    return httpx.AsyncClient(transport=transport, base_url="http://app.example/session")


async def created(http: httpx.AsyncClient, **body: Any) -> str:
    answer = await http.post("/create", json={"user_id": "alice", **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["sid"])


async def test_every_operation_does_what_it_is_called() -> None:
    """From the login to the logout, as another service would."""
    made = world()
    async with client(made) as http:
        sid = await created(http, roles=["member"], scopes=["notes:read"], label="Firefox")
        shown = (await http.post("/validate", json={"sid": sid})).json()
        made.clock.move(30)
        extended = (await http.post("/extend", json={"sid": sid})).json()
        kept = await http.post("/persist", json={"sid": sid, "data": {"n": 1}, "version": 0})
        loaded = (await http.get("/load", headers={"session-sid": sid})).json()
        ended = (await http.post("/terminate", json={"sid": sid})).json()
        again = (await http.post("/terminate", json={"sid": sid})).json()
        gone = (await http.post("/validate", json={"sid": sid})).json()

    assert shown["active"] is True
    assert (shown["session"]["user_id"], shown["session"]["tenant_id"]) == ("alice", ACME)
    assert extended["session"]["idle_at"] == made.clock.now() + 900
    assert (kept.json(), loaded) == ({"version": 1}, {"version": 1, "data": {"n": 1}})
    assert (ended, again, gone) == (
        {"terminated": True},
        {"terminated": False},
        {"active": False},
    )


async def test_another_tenants_session_is_as_unknown_as_one_that_never_was() -> None:
    """Byte for byte: a service must not learn that somebody else's session lives."""
    made = world()
    foreign = (await made.login(tenant_id=GLOBEX)).sid.reveal()
    async with client(made) as http:
        for sid in (foreign, UNKNOWN):
            bodies = [
                (await http.post("/validate", json={"sid": sid})).text,
                (await http.post("/terminate", json={"sid": sid})).text,
            ]
            problems = [
                await http.post("/extend", json={"sid": sid}),
                await http.post("/persist", json={"sid": sid, "data": {}, "version": 0}),
                await http.get("/load", headers={"session-sid": sid}),
            ]
            assert bodies == ['{"active":false}', '{"terminated":false}']
            for each in problems:
                assert each.status_code == 404
                assert each.json()["code"] == "session_not_found"
                assert {**each.json(), "request_id": ""} == {
                    **problems[0].json(),
                    "request_id": "",
                }
    assert await alive(made.sessions, foreign)


@pytest.mark.parametrize(
    ("signed_in", "scopes", "code"),
    [(False, (), "tenant_missing"), (True, ("notes:read",), "insufficient_scope")],
)
async def test_without_the_scope_nothing_is_done(
    scopes: tuple[str, ...], code: str, *, signed_in: bool
) -> None:
    """An ordinary user makes no sessions, and looks at none."""
    made = world()
    sid = (await made.login()).sid.reveal()
    async with client(made, signed_in=signed_in, scopes=scopes) as http:
        answers = [
            await http.post("/create", json={"user_id": "alice"}),
            await http.post("/validate", json={"sid": sid}),
            await http.post("/extend", json={"sid": sid}),
            await http.post("/terminate", json={"sid": sid}),
            await http.post("/persist", json={"sid": sid, "data": {}, "version": 0}),
            await http.get("/load", headers={"session-sid": sid}),
        ]

    assert {(each.status_code, each.json()["code"]) for each in answers} == {(403, code)}
    assert await alive(made.sessions, sid)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("sessions:create", {"create"}),
        ("sessions:read", {"validate", "load"}),
        ("sessions:write", {"extend", "terminate", "persist"}),
    ],
)
async def test_each_scope_opens_its_own_doors(scope: str, allowed: set[str]) -> None:
    """The right to look is not the right to end, and neither lets anybody in."""
    made = world()
    sid = (await made.login()).sid.reveal()
    async with client(made, scopes=[scope]) as http:
        done = {
            "create": await http.post("/create", json={"user_id": "alice"}),
            "validate": await http.post("/validate", json={"sid": sid}),
            "load": await http.get("/load", headers={"session-sid": sid}),
            "extend": await http.post("/extend", json={"sid": sid}),
            "persist": await http.post("/persist", json={"sid": sid, "data": {}, "version": 0}),
            "terminate": await http.post("/terminate", json={"sid": sid}),
        }

    assert {name for name, each in done.items() if each.status_code < 300} == allowed


@pytest.mark.parametrize("more", [{"roles": ["owner"]}, {"scopes": ["notes:write"]}])
async def test_nobody_hands_out_more_than_they_have(more: dict[str, list[str]]) -> None:
    """A service that was taken over must not become an owner by a session of its making."""
    made = world()
    async with client(made) as http:
        answer = await http.post("/create", json={"user_id": "alice", **more})

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_a_session_makes_no_session() -> None:
    """A stolen one would outlive its own end by its children."""
    made = world()
    async with client(made, auth_method="session") as http:
        answer = await http.post("/create", json={"user_id": "alice"})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_id": ""},
        {"user_id": "a b"},
        {"user_id": 7},
        {"user_id": "alice", "tenant_id": GLOBEX},
        {"user_id": "alice", "claims": {"tenant_id": GLOBEX}},
        {"user_id": "alice", "roles": "owner"},
        {"user_id": "alice", "roles": ["x"] * 33},
        {"user_id": "alice", "label": "line\nbreak"},
        {"user_id": "alice", "replaces": "short"},
        [],
        "text",
    ],
)
async def test_a_body_that_says_more_or_other_than_it_may_is_refused(body: object) -> None:
    """The tenant is the credential's word, never the body's."""
    made = world()
    async with client(made) as http:
        answer = await http.post("/create", json=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "request_invalid")
    assert made.store.writes == 0


async def test_a_foreign_form_a_large_body_and_a_double_member_are_refused() -> None:
    """A page of another site can post forms; a parser must not choose between two values."""
    made = world()
    twice = '{"user_id":"alice","user_id":"bob"}'
    json_type = {"content-type": "application/json"}
    async with client(made) as http:
        form = await http.post("/create", data={"user_id": "alice"})
        large = await http.post("/create", json={"user_id": "alice", "label": "x" * 70_000})
        double = await http.post("/create", content=twice, headers=json_type)
        headers = [("session-sid", UNKNOWN), ("session-sid", UNKNOWN)]
        doubled = await http.get("/load", headers=headers)

    assert [each.status_code for each in (form, large, double, doubled)] == [415, 413, 400, 400]


async def test_a_slip_of_the_address_sends_no_sid_anywhere() -> None:
    """A 307 would have clients send the body again, to http where TLS ends before the app."""
    made = world()
    async with client(made) as http:
        sid = await created(http)
        for path in ("/validate/", "/extend/", "/terminate/", "/persist/"):
            answer = await http.post(path, json={"sid": sid})
            assert (answer.status_code, answer.headers.get("location")) == (404, None), path
        loaded = await http.get("/load/", headers={"session-sid": sid})
    assert (loaded.status_code, loaded.headers.get("location")) == (404, None)


async def test_a_caller_that_hangs_up_in_the_middle_of_its_body_is_refused_quietly() -> None:
    """An error of the app's would be a page for whoever is on call, at any caller's wish."""
    made = world()
    sent: list[Any] = []
    parts = iter(
        [
            {"type": "http.request", "body": b'{"sid": "', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/validate",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await AsService(session_app(made.sessions))(scope, receive, send)

    assert sent[0]["status"] == 400


async def test_two_that_keep_at_once_are_told() -> None:
    """409, and nothing lost; too much is a 413."""
    made = world()
    async with client(made) as http:
        sid = await created(http)
        first = await http.post("/persist", json={"sid": sid, "data": {"n": 1}, "version": 0})
        second = await http.post("/persist", json={"sid": sid, "data": {"n": 2}, "version": 0})
        large = {"sid": sid, "data": {"n": "x" * 20_000}, "version": 1}
        third = await http.post("/persist", json=large)

    assert [each.status_code for each in (first, second, third)] == [200, 409, 413]


async def test_a_store_that_does_not_answer_is_a_503() -> None:
    """Fail closed: not "inactive", which a caller would take for a logout."""
    made = world()
    sid = (await made.login()).sid.reveal()
    made.store.broken = UnavailableError("down")
    async with client(made) as http:
        answer = await http.post("/validate", json={"sid": sid})

    assert answer.status_code == 503


async def test_no_sid_is_in_the_events_of_the_sub_app() -> None:
    """Not even of refused ones."""
    made = world()
    with listening() as events:
        async with client(made) as http:
            sid = await created(http)
            for name in ("validate", "extend", "terminate", "extend"):
                await http.post(f"/{name}", json={"sid": sid})

    assert sid not in repr(events.seen)
    assert [each.details.get("by_user") for each in events.seen][:2] == ["login-service"] * 2


def test_an_empty_scope_is_refused() -> None:
    """Everybody has it."""
    with pytest.raises(ConfigError):
        session_app(world().sessions, create_scope="")


OPERATIONS = [
    ("/create", "POST"),
    ("/validate", "POST"),
    ("/extend", "POST"),
    ("/terminate", "POST"),
    ("/persist", "POST"),
    ("/load", "GET"),
]


@pytest.mark.timeout(120)
def test_the_app_does_what_its_description_says() -> None:
    """Whoever generates a client from it gets one that works: generated cases."""
    sessions = SessionService(MemoryStore())
    schema = schemathesis.openapi.from_asgi("/openapi.json", AsService(session_app(sessions)))
    called = []
    for path, method in OPERATIONS:
        operation = schema[path][method]

        @given(case=operation.as_strategy())
        @settings(max_examples=8, database=None, suppress_health_check=list(HealthCheck))
        def attempt(case: Any) -> None:
            called.append(case.call_and_validate(excluded_checks=[ignored_auth]).status_code)

        attempt()

    assert set(called) >= {200, 201, 404}
    assert len(called) > 30


async def test_the_answers_about_a_live_session_are_as_described() -> None:
    """Generated sids open nothing, so what a good one gets is looked at here."""
    schema = schemathesis.openapi.from_dict(description(create="c", read="r", write="w"))
    async with client(world()) as http:
        sid = await created(http)
        answers = {
            "/validate": await http.post("/validate", json={"sid": sid}),
            "/extend": await http.post("/extend", json={"sid": sid}),
            "/persist": await http.post("/persist", json={"sid": sid, "data": {}, "version": 0}),
            "/load": await http.get("/load", headers={"session-sid": sid}),
            "/terminate": await http.post("/terminate", json={"sid": sid}),
        }

    for path, answer in answers.items():
        assert answer.status_code == 200
        schema[path]["GET" if path == "/load" else "POST"].validate_response(answer)


async def test_a_description_that_is_wrong_is_found_out() -> None:
    """Negative control: the same validation, of an answer that the description does not allow."""
    schema = schemathesis.openapi.from_dict(description(create="c", read="r", write="w"))
    operation = schema["/validate"]["POST"]
    async with client(world()) as http:
        answer = await http.post("/validate", json={"sid": UNKNOWN})
    assert operation.validate_response(answer) is None

    wrong = httpx.Response(200, json={"active": "perhaps"}, request=answer.request)
    wrong.elapsed = answer.elapsed

    with pytest.raises((FailureGroup, JsonSchemaError)) as found:
        operation.validate_response(wrong)
    assert "perhaps" in repr(found.value) or "violates" in str(found.value)
