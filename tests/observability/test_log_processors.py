"""Log lines: the same fields on each, whoever writes it, and nothing that must not be there."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from asgi_guard.observability import LogSink, configure_logging
from asgi_guard.observability.log_processors import FIELDS
from asgi_guard.tenancy import use_context
from tests.support.audit_logs import event
from tests.support.rls_schema import ALICE, context_of

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give what is written, and put the logging of the process back."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    written = io.StringIO()
    yield written
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_has_the_same_fields_whoever_writes_it(stream: io.StringIO) -> None:
    """A query on a field must not miss the lines of another library."""
    configure_logging(stream=stream)
    context = context_of(
        ALICE, request_id="r-1", session_id="raw", operation="notes.list", auth_method="bearer"
    )

    with use_context(context):
        structlog.stdlib.get_logger("app").info("listed", rows=3)
        logging.getLogger("third.party").warning("slow %s", "query", extra={"ms": 12})
    structlog.stdlib.get_logger("app").error("outside")

    inside, foreign, outside = lines(stream)
    for line in (inside, foreign, outside):
        assert set(FIELDS) | {"event", "level", "logger", "timestamp"} <= set(line)
    for line in (inside, foreign):
        assert (line["tenant_id"], line["request_id"], line["user_id"]) == (ALICE, "r-1", "user-1")
        assert line["operation"] == "notes.list"
        assert line["session_id"] != "raw"
    assert (inside["rows"], foreign["ms"], foreign["event"]) == (3, 12, "slow query")
    assert outside["tenant_id"] is None


def test_a_security_event_keeps_its_own_identity(stream: io.StringIO) -> None:
    """The event says who it is about, which need not be who is current."""
    configure_logging(stream=stream)

    with use_context(context_of(ALICE)):
        LogSink().emit(event(1, tenant="acme"))

    (line,) = lines(stream)
    assert (line["event"], line["tenant_id"], line["outcome"]) == (
        "TENANT_MISMATCH",
        "acme",
        "denied",
    )


def test_a_detail_that_is_named_like_a_field_takes_nothings_place(stream: io.StringIO) -> None:
    """Else one detail's name decides whether an event is logged at all."""
    configure_logging(stream=stream)
    names = ("outcome", "tenant_id", "event", "level", "self", "name", "reason")

    LogSink().emit(event(1, details=dict.fromkeys(names, "mine")))

    (line,) = lines(stream)
    assert (line["outcome"], line["event"], line["tenant_id"]) == (
        "denied",
        "TENANT_MISMATCH",
        "acme",
    )
    assert line["detail_outcome"] == "mine"


@pytest.mark.parametrize("json_lines", [True, False])
def test_no_planted_secret_reaches_a_line(stream: io.StringIO, *, json_lines: bool) -> None:
    """By key, in the message, in arguments, in values, in tracebacks; of ours and of others."""
    configure_logging(json=json_lines, stream=stream)
    ours, theirs = structlog.stdlib.get_logger("app"), logging.getLogger("theirs")
    body = {"card": {"number": "4111111111111111"}, "mail": "ann@example.com"}

    ours.info(f"got {TOKEN}", password="hunter2", headers=[("Authorization", f"Bearer {TOKEN}")])
    ours.info("charged", body=body, note="card 4111 1111 1111 1111 of ann@example.com")
    theirs.warning("token %s for %s", TOKEN, "ann@example.com", extra={"api_key": "k-123456"})
    for log in (ours, theirs):
        try:
            int(f"bad credential {TOKEN} password=hunter2")
        except ValueError:
            log.exception("failed")

    text = stream.getvalue()
    for secret in (TOKEN, "hunter2", "4111111111111111", "4111 1111", "ann@", "k-123456"):
        assert secret not in text, secret
    assert text.count("ValueError") >= 2


def test_without_redaction_the_same_lines_show_everything(stream: io.StringIO) -> None:
    """Negative control: the secrets are there to be found."""
    handler = logging.StreamHandler(stream)
    logging.getLogger().handlers[:] = [handler]

    logging.getLogger("theirs").warning("token %s", TOKEN)

    assert TOKEN in stream.getvalue()


def test_lines_for_people_are_no_json(stream: io.StringIO) -> None:
    """A developer's terminal."""
    configure_logging(json=False, stream=stream)

    structlog.stdlib.get_logger("app").info("hello", rows=3)

    assert "hello" in stream.getvalue()
    assert "rows=3" in stream.getvalue()


def test_lines_below_the_level_are_not_written(stream: io.StringIO) -> None:
    """Debug lines of third parties hold whole requests."""
    configure_logging(stream=stream, level="WARNING")

    logging.getLogger("theirs").info("request body: ...")

    assert stream.getvalue() == ""
