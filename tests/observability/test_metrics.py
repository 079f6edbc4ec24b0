"""What is counted, under which labels, and who may see it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard import __version__
from asgi_guard._internal.event_catalogue import CATALOGUE
from asgi_guard._internal.events import emit, subscribe
from asgi_guard.audit_log import AuditLog, JSONLinesAuditSink
from asgi_guard.auth.passwords import PasswordHasher
from asgi_guard.errors import ConfigError
from asgi_guard.integrations.prometheus import MetricsEndpoint, PrometheusMetrics
from asgi_guard.observability.metrics import METRICS, GuardMetrics, event_series, labels_of
from asgi_guard.protocols import SecurityEvent
from asgi_guard.secret import Secret
from tests.support.audit_logs import KEY, event
from tests.support.audit_served import AsOperator
from tests.support.jose_tokens import made, verifier

NAMES = {metric.name for metric in METRICS}


def shown(metrics: PrometheusMetrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Read what Prometheus would read."""
    from prometheus_client import generate_latest  # noqa: PLC0415 - beside its use

    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def happened(name: str, outcome: str = "denied", reason: str = "") -> SecurityEvent:
    return SecurityEvent(name=name, outcome=outcome, reason=reason, time=datetime.now(UTC))


def test_an_event_of_the_stream_is_counted() -> None:
    """The rate of refusals is the first thing that an attack moves."""
    metrics = PrometheusMetrics()
    unsubscribe = subscribe(metrics)
    try:
        emit("TENANT_MISMATCH", outcome="denied", reason="session_of_another")
        emit("TENANT_MISMATCH", outcome="denied", reason="session_of_another")
    finally:
        unsubscribe()

    # Its reasons are an open set, so they are no label.
    assert shown(metrics)["asgi_guard_events_total", ("TENANT_MISMATCH", "denied", "")] == 2


def test_every_series_is_there_before_the_first_event() -> None:
    """A counter that appears as 1 has not increased, and the alert on it stays silent."""
    values = shown(PrometheusMetrics())

    assert {labels for name, labels in values if name == "asgi_guard_events_total"} == set(
        event_series()
    )
    assert len(list(event_series())) < 400


def test_no_caller_makes_a_series() -> None:
    """Attacker's side: labels of what was sent fill the memory of the process and of Prometheus."""
    metrics = PrometheusMetrics()
    before = len(shown(metrics))
    for number in range(500):
        metrics.emit(happened(f"MADE_UP_{number}", outcome=f"o{number}", reason=f"r{number}"))
        metrics.emit(happened("CORS_DENIED", reason=f"reason-{number}"))
        metrics.emit(happened("AUDIT_EVENTS_DROPPED", outcome="error", reason=f"x{number}"))

    assert len(shown(metrics)) - before <= 2
    assert labels_of(happened("MADE_UP", reason="x")) == ("other", "denied", "")


async def test_the_numbers_of_every_part_are_shown(tmp_path: Path) -> None:
    """One page for whoever is on call."""
    hasher = PasswordHasher()
    engine = create_async_engine("postgresql+asyncpg://u@localhost/x")
    sink = JSONLinesAuditSink(tmp_path / "log")
    audit = AuditLog(sinks=[sink], signing_key=KEY, mode="best_effort", capacity=1)
    for number in range(3):
        audit.emit(event(number))
        audit.emit(event(number, name="SOMETHING_OF_THE_APP"))
    metrics = PrometheusMetrics(
        GuardMetrics(audit=audit, passwords=[hasher], pools={"app": engine})
    )

    values = shown(metrics)
    await engine.dispose()

    assert values["asgi_guard_build_info", (__version__,)] == 1
    assert values["asgi_guard_audit_dropped_total", ("TENANT_MISMATCH",)] == 2
    assert values["asgi_guard_audit_dropped_total", ("other",)] == 3
    assert values["asgi_guard_audit_waiting", ()] == 1
    assert values["asgi_guard_audit_healthy", ()] == 0
    assert values["asgi_guard_passwords_total", ("refused",)] == 0
    assert values["asgi_guard_pool_in_use", ("app",)] == 0
    assert {name for name, _ in values} <= NAMES


async def test_the_share_of_argon2id_is_of_logins() -> None:
    """How far a migration of hashes has come."""
    hasher = PasswordHasher()
    stored = await hasher.hash(Secret("correct horse battery staple"))
    await hasher.verify(stored, Secret("correct horse battery staple"))
    await hasher.verify(stored, Secret("wrong horse"))

    values = shown(PrometheusMetrics(GuardMetrics(passwords=[hasher])))

    assert values["asgi_guard_argon2id_share", ()] == 1.0
    assert values["asgi_guard_passwords_total", ("refused",)] == 1


async def test_a_remembered_token_is_a_hit() -> None:
    """A cache that never hits costs a signature at each request."""
    known = verifier(cache_size=8)
    token = made()
    for _ in range(3):
        await known.verify(token)

    values = shown(PrometheusMetrics(GuardMetrics(verifiers=[known])))

    assert values["asgi_guard_verified_cache_total", ("hit",)] == 2
    assert values["asgi_guard_verified_cache_total", ("miss",)] == 1
    assert values["asgi_guard_verified_cache_entries", ()] == 1


@pytest.mark.parametrize(
    ("scopes", "status"),
    [(("metrics:read",), 200), ((), 403), (("audit:read",), 403), (None, 403)],
)
async def test_the_page_is_for_operators(scopes: tuple[str, ...] | None, status: int) -> None:
    """Counts of refusals tell an attacker what works."""
    endpoint: Any = MetricsEndpoint(PrometheusMetrics().registry)
    app = endpoint if scopes is None else AsOperator(endpoint, tenant="acme", scopes=scopes)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://app.example"
    ) as client:
        answer = await client.get("/")
        posted = await client.post("/")

    assert answer.status_code == status
    assert ("asgi_guard_build_info" in answer.text) == (status == 200)
    assert posted.status_code == (405 if status == 200 else 403)


async def test_a_page_on_a_port_of_its_own_is_open_by_name_only() -> None:
    """What weakens protection says so where it is written."""
    endpoint = MetricsEndpoint(PrometheusMetrics().registry, insecure_public=True)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=endpoint), base_url="http://app.example"
    ) as client:
        openmetrics = await client.get("/", headers={"accept": "application/openmetrics-text"})
        head = await client.head("/")

    assert openmetrics.text.endswith("# EOF\n")
    assert (head.status_code, head.content) == (200, b"")


def test_two_of_them_in_one_registry_are_refused() -> None:
    """Every event would be counted twice, or the second would fail in production."""
    registry = CollectorRegistry()
    PrometheusMetrics(registry=registry)
    with pytest.raises(ConfigError):
        PrometheusMetrics(registry=registry)
    with pytest.raises(ConfigError):
        MetricsEndpoint(registry, scope="")
    with pytest.raises(ConfigError):
        GuardMetrics(pools={"app": object()})


def test_the_core_knows_no_metrics_library() -> None:
    """Whoever exports to something else does not install Prometheus."""
    code = "import sys, asgi_guard.observability; sys.exit('prometheus_client' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_several_processes_count_together(tmp_path: Path) -> None:
    """The library's own mode for several workers: each counts into files, one of them answers."""
    code = (
        "import os, sys\n"
        "from datetime import UTC, datetime\n"
        "from asgi_guard.integrations.prometheus import PrometheusMetrics\n"
        "from asgi_guard.protocols import SecurityEvent\n"
        "PrometheusMetrics().emit(SecurityEvent(name='THROTTLED', outcome='denied',"
        " time=datetime.now(UTC)))\n"
        "if len(sys.argv) > 1:\n"
        "    from prometheus_client import CollectorRegistry, generate_latest\n"
        "    from prometheus_client.multiprocess import MultiProcessCollector\n"
        "    registry = CollectorRegistry()\n"
        "    MultiProcessCollector(registry)\n"
        "    print(generate_latest(registry).decode())\n"
    )
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": ""}
    for arguments in ([], ["show"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )

    line = 'asgi_guard_events_total{event="THROTTLED",outcome="denied",reason=""} 2.0'
    assert line in done.stdout


def test_each_name_of_the_catalogue_is_a_label() -> None:
    """A dashboard's panel on a name that is never counted is empty for ever."""
    assert {name for name, _, _ in event_series()} == {kind.name for kind in CATALOGUE}
