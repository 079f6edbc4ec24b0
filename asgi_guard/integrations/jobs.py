"""JobGuard: what every queue's integration does around a job, in one place.

Before: the envelope is opened, under no context, whatever the worker had inherited. During: the
job runs under its sender's context, on a database handle that was verified to be its tenant's.
After: the context is gone, and what ended well is noted, so that its message cannot run again.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asgi_guard._internal.loop_thread import LoopThread
from asgi_guard.errors import ConfigError
from asgi_guard.rls import rls_enforced_session
from asgi_guard.rls.binding.handles import inspector_of
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import no_context, use_context
from asgi_guard.tenancy.envelope import ContextEnvelope, OpenedEnvelope

__all__ = ["FIELD", "JobArrival", "JobGuard", "argument_bytes", "without_handle"]

FIELD: Final = "asgi_guard_envelope"
"""Name under which an envelope travels: a header, label, option or keyword argument."""

OnOpen = Callable[[UserExecutionContext], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobArrival:
    """One delivery of one job, as the queue handed it over.

    Args:
        envelope: What came as its envelope; None if nothing did.
        job: Name that the job is registered under.
        job_id: What the queue calls it, in each of its deliveries.
        arguments: From `argument_bytes`.
        on_open: Told the job's context before it runs.
    """

    envelope: object
    job: str
    job_id: str
    arguments: bytes
    on_open: OnOpen | None = None


class JobGuard:
    """Seals jobs where they are sent, and runs them for their senders.

    Args:
        envelopes: With ``memberships`` and ``store`` where jobs are run.
        db: What jobs get a session or connection of: a guarded engine, session maker or asyncpg
            pool; or a function that returns one, called in the worker for each job. None for
            jobs that open their own, which then take no handle.

    Raises:
        ConfigError: *envelopes* is none, or *db* is neither a handle nor a function.
    """

    def __init__(self, envelopes: ContextEnvelope, *, db: Any = None) -> None:
        if not isinstance(envelopes, ContextEnvelope):
            raise ConfigError(
                "JobGuard.envelopes", f"is a {type(envelopes).__name__}", "Pass a ContextEnvelope."
            )
        is_handle = db is not None and inspector_of(type(db)) is not None
        if db is not None and not is_handle and not callable(db):
            raise ConfigError(
                "JobGuard.db", f"is a {type(db).__name__}", "Pass a guarded_engine(...) or a pool."
            )
        self.envelopes = envelopes
        self._db = db
        self._is_factory = db is not None and not is_handle
        self._loop = LoopThread("asgi-guard-jobs")

    @property
    def gives_handle(self) -> bool:
        """Whether jobs get a database handle as their first argument."""
        return self._db is not None

    async def run(
        self, arrival: JobArrival, work: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Run *work* for the job's sender; a sync function runs in a thread.

        Raises:
            EnvelopeRefusedError: The envelope does not hold; *work* was not called.
            UnavailableError: That cannot be found out now.
            RLSViolationError: The database handle is not, or not of this tenant.
        """
        with no_context():  # a worker may have been started from inside a request
            opened = await self.envelopes.open(
                arrival.envelope, arrival.job, job_id=arrival.job_id, arguments=arrival.arguments
            )
            with use_context(opened.context):
                if arrival.on_open is not None:
                    arrival.on_open(opened.context)
                if inspect.iscoroutinefunction(work):
                    result = await self._work(opened, work, args, kwargs)
                else:
                    result = await asyncio.to_thread(self._work_sync, opened, work, args, kwargs)
            await self.envelopes.finish(opened)
        return result

    def run_sync(
        self, arrival: JobArrival, work: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """As `run`, for workers of threads and processes that have no event loop.

        ``memberships`` and ``store`` are asked on a loop of the guard's own.
        """
        with no_context():
            opened = self._loop.run(
                lambda: self.envelopes.open(
                    arrival.envelope,
                    arrival.job,
                    job_id=arrival.job_id,
                    arguments=arrival.arguments,
                )
            )
            with use_context(opened.context):
                if arrival.on_open is not None:
                    arrival.on_open(opened.context)
                result = self._work_sync(opened, work, args, kwargs)
            self._loop.run(lambda: self.envelopes.finish(opened))
        return result

    def close(self) -> None:
        """End the thread of `run_sync`."""
        self._loop.close()

    async def _work(
        self,
        opened: OpenedEnvelope,
        work: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        if self._db is None:
            return await work(*args, **kwargs)
        session = rls_enforced_session(
            await self._handle(), opened.context.tenant_id, opened.claims.job
        )
        async with session as handle:
            return await work(handle, *args, **kwargs)

    def _work_sync(
        self,
        opened: OpenedEnvelope,
        work: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        if self._db is None:
            return work(*args, **kwargs)
        db = self._db() if self._is_factory else self._db
        with rls_enforced_session(db, opened.context.tenant_id, opened.claims.job) as handle:
            return work(handle, *args, **kwargs)

    async def _handle(self) -> Any:
        db = self._db() if self._is_factory else self._db
        return await db if inspect.iscoroutine(db) else db


def argument_bytes(*parts: object) -> bytes:
    """Return JSON values as bytes that are the same wherever they are computed.

    Args:
        *parts: What the job will do its work with, as it is after the queue's own encoding:
            positional and keyword arguments, and the jobs that follow it.

    Raises:
        ConfigError: They are no JSON values.
    """
    try:
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ConfigError(
            "job arguments",
            "hold something that JSON does not have",
            "Send ids and plain values, and look objects up in the job.",
        ) from None
    return text.encode()


def without_handle(work: Callable[..., Any], *, drop: int) -> inspect.Signature:
    """Return the signature that senders see: without the first *drop* parameters.

    Raises:
        ConfigError: *work* does not have as many.
    """
    signature = inspect.signature(work, eval_str=True)
    parameters = list(signature.parameters.values())
    positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if len([one for one in parameters[:drop] if one.kind in positional]) < drop:
        raise ConfigError(
            f"job {getattr(work, '__name__', work)!r}",
            "does not take the database handle",
            "Let its first parameter be the session: async def job(session, ...).",
        )
    return signature.replace(parameters=parameters[drop:])
