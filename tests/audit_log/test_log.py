"""AuditLog: what is promised when a sink is slow, full, broken, or one of several."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from asgi_guard._internal.events import emit, routine_wanted
from asgi_guard.audit_log import (
    AuditLog,
    AuditQuery,
    AuditRecord,
    AuditSink,
    AuditUnavailableError,
    AuditVerifyKeys,
    Checkpoint,
    JSONLinesAuditSink,
    VerifyReport,
)
from asgi_guard.audit_log.sinks import Seal
from asgi_guard.errors import ConfigError
from asgi_guard.observability import subscribe
from asgi_guard.protocols import Receive, Scope, Send
from asgi_guard.rls import system_engine, system_session
from asgi_guard.rls.violations import mismatch
from asgi_guard.tenancy import use_context
from asgi_guard.tenancy.fail_closed import FailClosedMiddleware
from tests.support.audit_logs import ACME, KEY, audit_log, event, verified
from tests.support.rls_schema import ALICE, VARIABLES, RLSDatabase, context_of


class Gate:
    """A sink that waits, or fails, as it is told; what it was given is kept."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.let.set()
        self.failure: Exception | None = None
        self.kept: list[Mapping[str, Any]] = []

    @property
    def label(self) -> str:
        return "gate"

    async def open(self, seal: Seal) -> None:
        return None

    async def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        await self.let.wait()
        if self.failure is not None:
            raise self.failure
        self.kept += events

    async def aclose(self) -> None:
        return None

    async def read(self, query: AuditQuery) -> AsyncIterator[AuditRecord]:
        return
        yield

    async def verify(
        self,
        keys: AuditVerifyKeys,
        *,
        anchors: Sequence[Checkpoint] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> VerifyReport:
        return VerifyReport(0, 0, 0, (), None)


def gated(gate: Gate, **options: Any) -> AuditLog:
    return AuditLog(sinks=[gate], signing_key=KEY, interval=0.01, **options)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until *condition* holds; the test's own time limit ends a vain wait."""
    while not condition():  # noqa: ASYNC110 - the log tells nobody when it has tried again
        await asyncio.sleep(0.005)


async def test_record_returns_only_once_the_event_is_durable() -> None:
    """An acknowledgement before the write is a promise nobody keeps."""
    gate = Gate()
    async with gated(gate) as audit:
        gate.let.clear()
        waiting = asyncio.create_task(audit.record(event(1)))
        await asyncio.sleep(0.03)
        assert not waiting.done()

        gate.let.set()

        assert await waiting
        assert len(gate.kept) == 1


async def test_events_of_the_stream_arrive_and_refusals_do_not_wait(tmp_path: Path) -> None:
    """A process that dies in the next second must not take the refusal with it."""
    async with audit_log(tmp_path / "log", interval=3600.0) as audit:
        unsubscribe = subscribe(audit)
        await asyncio.sleep(0)  # the log's task begins to wait
        try:
            emit("PASSWORD_VERIFIED", outcome="allowed")
            await asyncio.sleep(0.05)
            before = [record async for record in audit.read()]
            with use_context(context_of(ACME)):
                mismatch("two tenants met", reason="test")
            seen: list[str] = []
            while len(seen) < 2:
                seen = [record.fields["name"] async for record in audit.read()]
        finally:
            unsubscribe()

    assert before == []
    assert seen == ["PASSWORD_VERIFIED", "TENANT_MISMATCH"]


async def test_threads_may_emit(tmp_path: Path) -> None:
    """Handlers in a thread pool refuse as well."""
    async with audit_log(tmp_path / "log") as audit:

        def work() -> None:
            for number in range(50):
                audit.emit(event(number))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)

    report = verified(tmp_path / "log")
    assert report.ok, report.findings
    assert report.records == 200


async def test_a_request_whose_event_found_no_room_ends_in_503() -> None:
    """``required``: rather no answer than one that nobody can account for."""
    gate = Gate()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        emit("REQUEST_REFUSED", outcome="denied")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def status(audit: AuditLog) -> int:
        unsubscribe = subscribe(audit)
        transport = httpx.ASGITransport(app=FailClosedMiddleware(app))
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://a") as http:
                return (await http.get("/")).status_code
        finally:
            unsubscribe()

    statuses = {}
    for mode in ("required", "best_effort"):
        gate.let.set()
        async with gated(gate, mode=mode, capacity=2) as audit:
            gate.let.clear()
            first = await status(audit)
            audit.emit(event(1))
            audit.emit(event(2))
            statuses[mode] = (first, await status(audit), audit.dropped.total() > 0)
            gate.let.set()

    assert statuses == {"required": (200, 503, True), "best_effort": (200, 200, True)}


async def test_what_was_dropped_is_counted_by_name_and_told_when_it_writes_again() -> None:
    """A gap in the record must itself be on record."""
    gate = Gate()
    async with gated(gate, mode="best_effort", capacity=2) as audit:
        gate.let.clear()
        for number in range(5):
            audit.emit(event(number))
        assert audit.dropped == Counter({"TENANT_MISMATCH": 3})
        gate.let.set()
        await until(lambda: len(gate.kept) >= 3)

    told = [fields for fields in gate.kept if fields["name"] == "AUDIT_EVENTS_DROPPED"]
    assert [fields["details"] for fields in told] == [{"events": 3, "TENANT_MISMATCH": 3}]


async def test_events_of_the_stream_are_tried_again_and_kept_in_order() -> None:
    """A database that restarts must not leave a hole."""
    gate = Gate()
    async with gated(gate) as audit:
        gate.failure = OSError("down")
        for number in range(3):
            audit.emit(event(number))
        await until(lambda: not audit.healthy)
        with pytest.raises(AuditUnavailableError):
            await audit.record(event(9))
        gate.failure = None
        await until(lambda: len(gate.kept) >= 3)
        assert audit.healthy

    assert [fields["details"]["number"] for fields in gate.kept] == [0, 1, 2]


async def test_every_sink_must_have_it_and_none_waits_for_another(tmp_path: Path) -> None:
    """Two sinks are two records; one that is down must not hide behind the other."""
    gate = Gate()
    sinks: list[AuditSink] = [JSONLinesAuditSink(tmp_path / "log"), gate]
    async with AuditLog(sinks=sinks, signing_key=KEY, interval=0.01) as audit:
        gate.failure = OSError("down")
        with pytest.raises(AuditUnavailableError):
            await audit.record(event(1))
        gate.failure = None
        await audit.record(event(2))
        reports = await audit.verify()

    assert len(gate.kept) == 1
    assert verified(tmp_path / "log").records == 2
    assert [report.ok for report in reports.values()] == [True, True]


async def test_closing_writes_what_is_queued_and_counts_what_it_cannot() -> None:
    """A deployment must not lose the last second."""
    gate = Gate()
    audit = gated(gate)
    await audit.start()
    audit.emit(event(1, outcome="allowed"))
    await audit.aclose()
    assert len(gate.kept) == 1

    await audit.start()
    gate.failure = OSError("down")
    audit.emit(event(2))
    await audit.aclose()

    assert audit.dropped.total() == 1
    with pytest.raises(AuditUnavailableError):
        await audit.record(event(3))


async def test_the_two_events_of_a_crossing_are_on_record(
    tmp_path: Path, rls_database: RLSDatabase
) -> None:
    """Whoever crosses tenants leaves why."""
    url = rls_database.url(dsn=rls_database.system_dsn)
    engine = system_engine(url, variables=VARIABLES)
    async with audit_log(tmp_path / "log") as audit:
        unsubscribe = subscribe(audit)
        try:
            async with system_session(engine, reason="invoices", ticket="OPS-1"):
                pass
        finally:
            unsubscribe()
            await engine.dispose()

    async with audit_log(tmp_path / "log") as audit:
        kept = [record.event async for record in audit.read()]
    assert [each.name for each in kept] == ["SYSTEM_SESSION_OPENED", "SYSTEM_SESSION_CLOSED"]
    assert kept[0].details == {"reason": "invoices", "ticket": "OPS-1"}


async def test_routine_events_cost_nothing_unless_somebody_wants_them(tmp_path: Path) -> None:
    """One event per request is a choice."""
    kept: list[str] = []

    class Reader:
        def emit(self, seen: Any) -> None:
            kept.append(seen.name)

    plain, wanting = Reader(), audit_log(tmp_path / "log", routine=True)
    leave = subscribe(plain)
    assert not routine_wanted()
    async with wanting:
        stop = subscribe(wanting)
        assert routine_wanted()
        emit("AUTHENTICATION_SUCCEEDED", outcome="allowed", user_id="ann", routine=True)
        stop()
    leave()

    assert kept == []
    assert not routine_wanted()
    assert verified(tmp_path / "log").records == 1


@pytest.mark.parametrize(
    "options",
    [
        {"sinks": []},
        {"sinks": ["audit.log"]},
        {"mode": "sometimes"},
        {"capacity": 0},
        {"interval": 0},
        {"former_keys": ["no key"]},
    ],
)
async def test_a_setting_without_meaning_is_refused(options: dict[str, Any]) -> None:
    """Known before there is an app."""
    known: dict[str, Any] = {"sinks": [Gate()], "signing_key": KEY}

    with pytest.raises(ConfigError):
        AuditLog(**(known | options))


async def test_a_tenants_record_is_under_its_own_chain(tmp_path: Path) -> None:
    """One tenant's export can be verified without the others'."""
    async with audit_log(tmp_path / "log") as audit:
        await asyncio.gather(*(audit.record(event(n, tenant=ALICE)) for n in range(3)))
        await audit.record(event(9, tenant=None))
        chains = [(r.chain, r.seq) async for r in audit.read()]

    assert chains == [(ALICE, 1), (ALICE, 2), (ALICE, 3), ("", 1)]
