"""Attack: texts that are almost envelopes, and workers that keep what they should forget."""

from __future__ import annotations

import hmac
import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.integrations.dramatiq import DramatiqJobs
from asgi_guard.integrations.jobs import JobGuard
from asgi_guard.tenancy import ContextEnvelope, EnvelopeKey, EnvelopeKeys, use_context
from asgi_guard.tenancy.envelope_claims import EnvelopeTextError, read_text
from tests.support.tenancy_world import ACME, GLOBEX, Directory, context, who

KEY = EnvelopeKey.generate()
KEYS = EnvelopeKeys([KEY])
GENUINE = ContextEnvelope(KEYS).seal("report", context=context())


def signed(payload: bytes, *, version: str = "e1") -> str:
    """Sign whatever it is with the right key, as only a broken release of ours would."""
    text = urlsafe_b64encode(payload).decode().rstrip("=")
    head = f"{version}.{KEY.key_id}.{text}"
    mac = hmac.digest(KEY.secret, b"asgi-guard context envelope\0" + head.encode(), "sha256")
    return f"{head}.{mac.hex()}"


def claims() -> dict[str, Any]:
    read = read_text(GENUINE, KEYS)
    return {name: getattr(read, name) for name in read.__slots__}


def canonical(members: dict[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def reason_of(text: object) -> str:
    with pytest.raises(EnvelopeTextError) as refusal:
        read_text(text, KEYS)
    return refusal.value.reason


def test_the_signing_here_is_the_real_one() -> None:
    """Control: what follows is refused for its content."""
    assert read_text(signed(canonical(claims())), KEYS) == read_text(GENUINE, KEYS)


@pytest.mark.parametrize(
    "payload",
    [
        canonical(claims()).replace(b'{"arguments"', b'{"tenant_id":"x","arguments"'),
        canonical(claims()).replace(b",", b", ", 1),
        canonical({**claims(), "more": 1}),
        canonical({name: value for name, value in claims().items() if name != "job"}),
        canonical({**claims(), "issued_at": 1.5}),
        canonical({**claims(), "expires_at": True}),
        canonical({**claims(), "expires_at": float("inf")}),
        canonical({**claims(), "roles": "admin"}),
        canonical({**claims(), "roles": [1]}),
        canonical({**claims(), "tenant_id": None}),
        b"[" * 5000,
        b"[]",
        b"null",
        b"\xff\xfe",
        b"",
    ],
    ids=range(15),
)
def test_there_is_one_spelling(payload: bytes) -> None:
    """Two members of one name are two answers; so each is refused, and the same way."""
    assert reason_of(signed(payload)) == "envelope_malformed"


@pytest.mark.parametrize(
    "text",
    [
        signed(canonical(claims()), version="e2"),
        GENUINE + "\n",
        " " + GENUINE,
        GENUINE.upper(),
        GENUINE.replace(".", "..", 1),
        GENUINE.replace(".", "=.", 2),
        GENUINE.encode(),
        GENUINE + "0" * 9000,
        "e1.\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661.e30." + "0" * 64,
        None,
        7,
    ],
    ids=range(11),
)
def test_another_version_form_or_size_is_refused(text: object) -> None:
    """Before anything of it is decoded."""
    assert reason_of(text) == "envelope_malformed"


@settings(max_examples=150)
@given(st.integers(0, len(GENUINE) - 1), st.characters(min_codepoint=33, max_codepoint=126))
def test_no_character_can_be_changed(position: int, letter: str) -> None:
    """The signature covers version, key and claims."""
    changed = GENUINE[:position] + letter + GENUINE[position + 1 :]
    if changed != GENUINE:
        assert reason_of(changed) in {
            "envelope_forged",
            "envelope_key_unknown",
            "envelope_malformed",
        }


class Workers:
    """dramatiq's own worker, with one thread, in this process."""

    def __init__(self) -> None:
        self.broker = StubBroker()
        self.seen: list[str] = []
        members = Directory(("alice", ACME), ("bob", GLOBEX))
        envelopes = ContextEnvelope(KEYS, memberships=members, store=MemoryStore())
        self.guard = JobGuard(envelopes)
        jobs = DramatiqJobs(self.broker, self.guard)

        @jobs.actor(max_retries=0)
        def guarded() -> None:
            self.seen.append(who())

        @dramatiq.actor(broker=self.broker, max_retries=0)
        def plain() -> None:
            self.seen.append(who())

        self.guarded, self.plain = guarded, plain

    def run(self) -> list[str]:
        with use_context(context()):
            self.guarded.send()
        self.plain.send()
        with use_context(context(GLOBEX, "bob")):
            self.guarded.send()
        worker = dramatiq.Worker(self.broker, worker_threads=1, worker_timeout=50)
        worker.start()
        self.broker.join("default")
        worker.stop()
        self.guard.close()
        return self.seen


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.broker.close()


def test_nothing_of_a_job_is_left_for_the_next(workers: Workers) -> None:
    """The one after it in the same thread is nobody's."""
    assert workers.run() == [f"{ACME} alice", "none", f"{GLOBEX} bob"]


def test_a_guard_that_does_not_clear_the_context_is_caught(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without the blocks' ends, the second job sees the first one's tenant."""

    class Entered:
        def __init__(self, found: Any) -> None:
            use_context(found).__enter__()

        def __enter__(self) -> None: ...

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr("asgi_guard.integrations.jobs.no_context", nullcontext)
    monkeypatch.setattr("asgi_guard.integrations.jobs.use_context", Entered)

    assert workers.run()[1] == f"{ACME} alice"
    assert threading.current_thread() is threading.main_thread()
    assert who() == "none", "it was left in the worker's thread alone"
