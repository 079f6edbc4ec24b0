"""The log over HTTP: who may read and write what, and whether the description is true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.openapi.checks import IgnoredAuth

from asgi_guard.audit_log import AuditUnavailableError, audit_app
from asgi_guard.audit_log.openapi import description
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import ASGIApp
from asgi_guard.stack import Guard
from tests.support.audit_logs import ACME, GLOBEX, audit_log, event, verified, written
from tests.support.audit_served import OPERATOR, AsOperator, guarded_settings, hosted
from tests.support.rls_fixtures import EventList

BOTH = ("audit:read", "audit:write")
EVENT = {"name": "INVOICE_DELETED", "outcome": "allowed", "details": {"invoice": 7}}


def client(app: ASGIApp, *, tenant: str | None = ACME, scopes: tuple[str, ...] = BOTH) -> Any:
    """Call *app* as an operator of a tenant, or as nobody."""
    served = app if tenant is None else AsOperator(app, tenant=tenant, scopes=scopes)
    transport = httpx.ASGITransport(app=served)
    return httpx.AsyncClient(transport=transport, base_url="http://audit.example")


async def test_another_services_event_is_on_record_under_its_own_identity(tmp_path: Path) -> None:
    """Who it was is the credential's word, not the body's."""
    async with audit_log(tmp_path / "log") as audit, client(hosted(audit)) as http:
        answer = await http.post("/audit/log", json=EVENT)
        (record,) = [record async for record in audit.read()]

    assert (answer.status_code, answer.json()) == (201, {"recorded": True})
    assert record.fields["tenant_id"] == ACME
    assert record.fields["user_id"] == "operator-of-acme"
    assert record.fields["details"] == {"invoice": 7, "source": "http"}
    assert verified(tmp_path / "log").ok


@pytest.mark.parametrize(
    "body",
    [
        {**EVENT, "tenant_id": GLOBEX},
        {**EVENT, "user_id": "somebody-else"},
        {**EVENT, "time": "2020-01-01T00:00:00Z"},
        {**EVENT, "name": "TENANT_MISMATCH"},
        {**EVENT, "name": "lower"},
        {**EVENT, "name": "LINE\nBREAK"},
        {**EVENT, "name": "TRAILING\n"},
        {**EVENT, "outcome": "fine"},
        {**EVENT, "reason": "A sentence."},
        {**EVENT, "details": {"nested": {}}},
        {**EVENT, "details": {"long": "x" * 257}},
        {**EVENT, "details": {str(n): n for n in range(51)}},
        {"name": "INVOICE_DELETED"},
        [],
        "text",
    ],
)
async def test_a_body_that_says_more_or_other_than_it_may_is_refused(
    tmp_path: Path, body: object
) -> None:
    """A service could else write another tenant's history, or speak in the guard's own voice."""
    async with audit_log(tmp_path / "log") as audit, client(hosted(audit)) as http:
        answer = await http.post("/audit/log", json=body)

        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert [record async for record in audit.read()] == []


async def test_a_reader_sees_its_own_tenant_and_nothing_else(
    tmp_path: Path, rls_events: EventList
) -> None:
    """An operator of one customer must not read another's record."""
    async with audit_log(tmp_path / "log") as audit:
        for number in range(6):
            await audit.record(event(number, tenant=(ACME, GLOBEX, None)[number % 3]))
        async with client(hosted(audit), tenant=GLOBEX) as http:
            seen = (await http.get("/audit/query")).json()["records"]
            tried = await http.get("/audit/query", params={"tenant_id": ACME})

    assert {record["event"]["tenant_id"] for record in seen} == {GLOBEX}
    assert len(seen) == 2
    assert tried.status_code == 400
    assert rls_events.names == ["AUDIT_QUERIED"]


async def test_pages_follow_each_other_without_gap_or_repetition(tmp_path: Path) -> None:
    """An export that skips a record is a false record."""
    async with audit_log(tmp_path / "log") as audit, client(hosted(audit)) as http:
        for number in range(10):
            await audit.record(event(number))
        numbers: list[int] = []
        after: dict[str, str] = {}
        while True:
            page = (await http.get("/audit/query", params={"limit": "3", **after})).json()
            numbers += [record["event"]["details"]["number"] for record in page["records"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}

    assert numbers == list(range(10))


@pytest.mark.parametrize(
    ("tenant", "scopes", "code"),
    [(None, (), "tenant_missing"), (ACME, (), "insufficient_scope")],
)
async def test_without_the_operators_scope_nothing_is_read_or_written(
    tmp_path: Path, tenant: str | None, scopes: tuple[str, ...], code: str
) -> None:
    """An ordinary user of the tenant is no auditor."""
    async with (
        audit_log(tmp_path / "log") as audit,
        client(hosted(audit), tenant=tenant, scopes=scopes) as http,
    ):
        read = await http.get("/audit/query")
        written = await http.post("/audit/log", json=EVENT)

    assert (read.status_code, read.json()["code"]) == (403, code)
    assert (written.status_code, written.json()["code"]) == (403, code)


async def test_the_right_to_read_is_not_the_right_to_write(tmp_path: Path) -> None:
    """Each scope opens its own door."""
    async with audit_log(tmp_path / "log") as audit:
        async with client(hosted(audit), scopes=("audit:read",)) as http:
            assert (await http.post("/audit/log", json=EVENT)).status_code == 403
            assert (await http.get("/audit/query")).status_code == 200
        async with client(hosted(audit), scopes=("audit:write",)) as http:
            assert (await http.post("/audit/log", json=EVENT)).status_code == 201
            assert (await http.get("/audit/query")).status_code == 403


@pytest.mark.parametrize(
    "asked",
    ["limit=0", "limit=1001", "limit=x", "since=yesterday", "since=2026-01-01", "after=%27",
     "outcome=fine", "name=A&name=B", "page=2", f"user_id={'x' * 300}"],
)  # fmt: skip
async def test_a_question_without_meaning_is_refused(tmp_path: Path, asked: str) -> None:
    """A parameter that is silently ignored answers another question."""
    async with audit_log(tmp_path / "log") as audit, client(hosted(audit)) as http:
        answer = await http.get(f"/audit/query?{asked}")

    assert answer.status_code == 400


async def test_what_cannot_be_recorded_is_answered_with_503(tmp_path: Path) -> None:
    """The other service must not go on as if it were on record."""
    audit = audit_log(tmp_path / "log")  # never opened
    async with client(hosted(audit)) as http:
        answer = await http.post("/audit/log", json=EVENT)

    assert (answer.status_code, answer.json()["code"]) == (503, AuditUnavailableError.code)


async def test_best_effort_says_that_it_may_be_lost(tmp_path: Path) -> None:
    """202 is not 201."""
    audit = audit_log(tmp_path / "log", mode="best_effort")
    async with client(hosted(audit)) as http:
        answer = await http.post("/audit/log", json=EVENT)

    assert (answer.status_code, answer.json()) == (202, {"recorded": False})


async def test_a_large_body_and_another_media_type_are_refused(tmp_path: Path) -> None:
    """A log must not be a way to fill the memory, nor a target for a form on a foreign page."""
    async with audit_log(tmp_path / "log") as audit, client(hosted(audit)) as http:
        large = await http.post("/audit/log", json={**EVENT, "reason": "x" * 70_000})
        form = await http.post("/audit/log", data={"name": "X"})

    assert (large.status_code, form.status_code) == (413, 415)


def test_an_empty_scope_is_refused(tmp_path: Path) -> None:
    """Everybody has it."""
    with pytest.raises(ConfigError):
        audit_app(audit_log(tmp_path), read_scope="")


@pytest.mark.timeout(120)
def test_the_app_does_what_its_description_says(tmp_path: Path) -> None:
    """Whoever generates a client from it gets one that works: hundreds of cases, good and bad."""
    audit = audit_log(tmp_path / "log")
    app = audit_app(audit)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        async with audit:
            yield

    app.router.lifespan_context = lifespan
    guarded = Guard(guarded_settings()).install(app)
    schema = schemathesis.openapi.from_asgi("/openapi.json", guarded)
    called = []
    for path, method in (("/log", "POST"), ("/query", "GET")):
        operation = schema[path][method]

        @given(case=operation.as_strategy())
        @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
        def attempt(case: Any) -> None:
            called.append(case.call_and_validate(headers=OPERATOR).status_code)

        attempt()

    assert set(called) >= {200, 201}
    assert len(called) > 100


def test_a_sub_app_that_ignores_credentials_is_found_out(tmp_path: Path) -> None:
    """Negative control: the same cases against an app that takes everybody for an operator."""
    audit = audit_log(asyncio.run(written(tmp_path / "log")))
    open_to_all = AsOperator(audit_app(audit), tenant=ACME, scopes=BOTH)
    case = schemathesis.openapi.from_asgi("/openapi.json", open_to_all)["/query"]["GET"].Case()

    with pytest.raises(FailureGroup) as found:
        case.call_and_validate(headers=OPERATOR)
    assert {type(each) for each in found.value.exceptions} == {IgnoredAuth}


async def test_a_description_that_is_wrong_is_found_out(tmp_path: Path) -> None:
    """Negative control: the same validation, of an answer that the description does not allow."""
    schema = schemathesis.openapi.from_dict(description())
    operation = schema["/query"]["GET"]
    async with audit_log(tmp_path / "log") as audit, client(audit_app(audit)) as http:
        answer = await http.get("/query")
    assert operation.validate_response(answer) is None

    wrong = httpx.Response(200, json={"records": "none"}, request=answer.request)
    wrong.elapsed = answer.elapsed

    with pytest.raises(FailureGroup) as found:
        operation.validate_response(wrong)
    assert any("violates schema" in str(each) for each in found.value.exceptions)
