"""A password shows up nowhere: not in events, logs, reprs, exceptions or their frames."""

from __future__ import annotations

import asyncio
import io
import logging
from types import TracebackType
from typing import Any

import pytest
import structlog
from argon2 import low_level

from asgi_guard._internal import events
from asgi_guard.auth.passwords import PasswordHasher, PasswordLogin
from asgi_guard.auth.throttle import Throttle, ThrottleLimits
from asgi_guard.observability import LogSink, subscribe
from asgi_guard.secret import Secret
from tests.support.passwords_people import Table, cheap_hasher, listening

CANARY = "canary-7fQ2-password"


class Talkative:
    """A list of breached passwords whose client quotes what it was asked."""

    async def is_breached(self, password: Secret) -> bool:
        raise ConnectionError(f"GET /range/{password.reveal()} failed")


def _frames(trace: TracebackType | None) -> list[Any]:
    found = []
    while trace is not None:
        if "/asgi_guard/" in trace.tb_frame.f_code.co_filename:
            found.append(trace.tb_frame.f_locals)
        trace = trace.tb_next
    return found


def _everything(error: BaseException) -> str:
    """Return what an error tracker would send: the chain, with the locals of our frames."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        parts += [repr(link), str(link), repr(link.args), repr(_frames(link.__traceback__))]
        link = link.__cause__ or link.__context__
    return "\n".join(parts)


async def _provoke(hasher: PasswordHasher, stored: str) -> list[BaseException]:
    """Do everything that can go well or wrong, and return what was raised."""

    async def explode(_old: str, _new: str) -> bool:
        raise ConnectionError("the database is gone")

    weaker = stored.replace("t=1", "t=2")
    calls = [
        hasher.hash(CANARY),
        hasher.hash(CANARY[:7]),
        hasher.hash(CANARY * 60),
        hasher.hash(CANARY + "\0"),
        hasher.verify(stored, CANARY),
        hasher.verify(stored, CANARY + "x"),
        hasher.verify(None, CANARY),
        hasher.verify(weaker, CANARY, replace=explode),
        hasher.verify("$argon2id$" + CANARY, CANARY),
        hasher.verify("$2b$04$" + "." * 53, CANARY),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    return [answer for answer in answers if isinstance(answer, BaseException)]


async def test_no_password_is_seen_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """Error trackers record locals, logs are read by many (OWASP Logging Cheat Sheet)."""
    hasher = cheap_hasher(breached=Talkative())
    stored = await cheap_hasher().hash(CANARY)
    caplog.set_level(logging.DEBUG)

    with listening() as events:
        unsubscribe = subscribe(LogSink())
        errors = await _provoke(hasher, stored)
        monkeypatch.setattr(low_level, "hash_secret_raw", _quoting)
        errors += await _provoke(cheap_hasher(), stored)
        unsubscribe()

    assert len(errors) > 10
    printed = capfd.readouterr()
    seen = "\n".join(
        [*map(_everything, errors), repr(events.seen), caplog.text, printed.out, printed.err]
    )
    assert CANARY[:7] not in seen
    assert CANARY not in repr(vars(hasher))


def _quoting(secret: bytes, _salt: bytes, **_costs: Any) -> bytes:
    raise MemoryError(f"no memory to hash {secret!r}")


async def test_the_search_would_find_a_password() -> None:
    """Negative control: an exception that quotes, raised from a frame that holds one."""
    with pytest.raises(MemoryError) as raised:
        _quoting(CANARY.encode(), b"")

    assert CANARY in _everything(raised.value)


async def test_the_log_line_of_a_refusal_names_the_reason_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As operators get it without any subscriber, and without a configuration of their own."""
    monkeypatch.setattr(events, "_sinks", events._DEFAULT)
    structlog.reset_defaults()
    lines = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(lines))
    login = PasswordLogin(
        cheap_hasher(), throttle=Throttle(limits=ThrottleLimits(account="1 per minute"))
    )
    try:
        await login.verify(None, CANARY, account="alice@example.com", address="192.0.2.1")
    finally:
        structlog.reset_defaults()

    assert "user_unknown" in lines.getvalue()
    assert CANARY not in lines.getvalue()
    assert "alice" not in lines.getvalue()


def test_a_table_of_the_tests_is_no_secret_keeper() -> None:
    """Negative control for `Secret`: a plain attribute shows in vars()."""
    assert CANARY in repr(vars(Table(CANARY)))
    assert CANARY not in repr([Secret(CANARY)])
