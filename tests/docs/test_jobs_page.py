"""The page of jobs runs, and says what the code says."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import procrastinate
import pytest
from celery import Celery
from dramatiq.brokers.stub import StubBroker
from procrastinate.testing import InMemoryConnector
from taskiq import InMemoryBroker

from asgi_guard._internal.event_catalogue import EVENTS
from asgi_guard.integrations.background import BackgroundJobs
from asgi_guard.integrations.jobs import FIELD
from asgi_guard.tenancy import EnvelopeKey, use_context
from tests.support.pages import Page
from tests.support.tenancy_world import Directory, context


async def test_the_page_of_jobs_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each queue's lines, on the queue's own test double; the real ones are in ``tests/jobs``."""
    monkeypatch.setitem(sys.modules, "jobs", ModuleType("jobs"))  # taskiq looks for it
    names: dict[str, Any] = Page("jobs.md").run()
    guard = names["job_guard"](
        EnvelopeKey.generate().export(), Directory(), "redis://127.0.0.1:1/0"
    )

    names["reports"](BackgroundJobs(guard))
    assert names["celery_tasks"](Celery("page"), guard).name == "reports.build"
    assert names["taskiq_tasks"](InMemoryBroker(), guard).task_name == "reports.build"
    assert names["arq_settings"](guard).functions[0].name == "build"
    connector = InMemoryConnector()
    with use_context(context()):
        await names["procrastinate_jobs"](procrastinate.App(connector=connector), guard)
        broker = StubBroker()
        message = names["dramatiq_actors"](broker, guard).send("42")

    stored = next(iter(connector.jobs.values()))
    assert stored["args"][FIELD].startswith("e1.")
    assert message.options[FIELD].startswith("e1.")
    broker.close()


def test_the_page_names_every_event_of_envelopes() -> None:
    """An operator finds the page from the event."""
    page = Page("jobs.md").text

    assert [name for name in EVENTS if "ENVELOPE" in name and name not in page] == []
