"""What senders and real workers of every queue share: keys, memberships, events, what jobs saw.

A worker is another process. It finds its world in one environment variable, and tells the tests
through Redis what its jobs saw and which events it emitted; waiting is a blocking read.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import text

from asgi_guard.integrations.jobs import JobGuard
from asgi_guard.integrations.redis import RedisStore
from asgi_guard.observability import subscribe
from asgi_guard.protocols import SecurityEvent
from asgi_guard.rls import guarded_engine
from asgi_guard.tenancy import (
    ContextEnvelope,
    EnvelopeKeys,
    Membership,
    UserExecutionContext,
    current_context,
)
from tests.support.rls_schema import ALICE, BOB, VARIABLES

__all__ = ["ALICE", "BOB", "JobsWorld", "context", "running", "seen_by", "who"]

ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = "ASGI_GUARD_TEST_JOBS"
_PATIENCE = 25


@dataclass(frozen=True)
class JobsWorld:
    """Where everything is."""

    redis_url: str
    dsn: str
    keys: str
    name: str

    @classmethod
    def of_this_process(cls) -> JobsWorld:
        return cls(**json.loads(os.environ[_VARIABLE]))

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, _VARIABLE: json.dumps(asdict(self)), "PYTHONPATH": str(ROOT)}

    @cached_property
    def redis(self) -> Any:
        return redis.Redis.from_url(self.redis_url, socket_timeout=_PATIENCE + 5)

    def engine(self, driver: str) -> Any:
        return guarded_engine(
            self.dsn.replace("postgresql://", f"postgresql+{driver}://", 1), variables=VARIABLES
        )

    def envelopes(self, *, keys: str | None = None, **options: Any) -> ContextEnvelope:
        """What an honest sender has; an attacker has another key."""
        return ContextEnvelope(EnvelopeKeys.from_text(keys or self.keys), **options)

    def worker_guard(self, driver: str, **options: Any) -> JobGuard:
        """What a worker has."""
        subscribe(_Telling(self))
        envelopes = self.envelopes(
            memberships=RedisMemberships(self),
            store=RedisStore(self.redis_url, prefix=f"{self.name}:store:"),
            **options,
        )
        return JobGuard(envelopes, db=self.engine(driver))

    def key(self, *words: str) -> str:
        return ":".join((self.name, *words))

    def admit(self, user_id: str, tenant_id: str, *, status: str = "active") -> None:
        self.redis.set(self.key("member", user_id, tenant_id), status)

    def tell(self, label: str, **facts: Any) -> None:
        self.redis.rpush(self.key("seen", label), json.dumps(facts))

    def wait(self, label: str) -> dict[str, Any]:
        """Wait for what the job with this label saw."""
        found = self.redis.blpop([self.key("seen", label)], timeout=_PATIENCE)
        assert found is not None, f"no job told about {label}"
        return dict(json.loads(found[1]))

    def told_already(self, label: str) -> int:
        return int(self.redis.llen(self.key("seen", label)))

    def event(self, job_id: str) -> tuple[str, str]:
        """Wait for the next event about a job; gives name and reason."""
        found = self.redis.blpop([self.key("event", job_id)], timeout=_PATIENCE)
        assert found is not None, f"no event about {job_id}"
        name, _, reason = found[1].decode().partition(" ")
        return name, reason


class RedisMemberships:
    """Memberships that a test changes while workers run."""

    def __init__(self, world: JobsWorld) -> None:
        self._world = world

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        status = self._world.redis.get(self._world.key("member", user_id, tenant_id))
        if status is None:
            return None
        return Membership(roles={"editor"}, tenant_status=status.decode())


class _Telling:
    """Sends a worker's events to the test."""

    def __init__(self, world: JobsWorld) -> None:
        self._world = world

    def emit(self, event: SecurityEvent) -> None:
        about = str(event.details.get("job_id", ""))
        self._world.redis.rpush(self._world.key("event", about), f"{event.name} {event.reason}")


def context(tenant_id: str, user_id: str = "user-1", **fields: Any) -> UserExecutionContext:
    return UserExecutionContext(
        tenant_id=tenant_id,
        user_id=user_id,
        roles={"editor", "admin"},
        operation="http POST",
        **fields,
    )


def who() -> str:
    now = current_context()
    return "none" if now is None else f"{now.tenant_id} {now.user_id} {now.operation}"


TENANTS_SEEN = text("SELECT DISTINCT tenant_id::text FROM notes")


def seen_by(session: Any) -> dict[str, Any]:
    """What a sync job sees: whom it runs for, and whose rows the database shows."""
    return {"who": who(), "tenants": list(session.scalars(TENANTS_SEEN)), "place": place()}


def place() -> str:
    return f"{os.getpid()}-{threading.get_ident()}"


@contextmanager
def running(
    world: JobsWorld, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[Any]:
    """Run a worker as long as the block: ``python -m`` and *arguments*."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**world.environment, **(env or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            _stop(process)
            log.seek(0)
            sys.stdout.write(log.read()[-6000:].decode(errors="replace"))  # of a failing test


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(1)  # some take their time to say goodbye, and nothing here depends on it
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its own session, made above
        process.wait(8)
