"""arq: jobs that run for their sender, over JSON.

arq pickles jobs by default, and whoever can write to its Redis then runs code in the worker before
anything could be checked. Guarded workers and senders use `dump_json` and `load_json` instead.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import update_wrapper
from typing import Any, Final
from uuid import uuid4

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.jobs import FIELD, JobArrival, JobGuard, argument_bytes, without_handle

require_extra("arq", feature=__name__, extra="arq")

from arq import ArqRedis, Retry  # noqa: E402 - a missing extra is named first
from arq.jobs import Job  # noqa: E402 - as above
from arq.worker import Function, func  # noqa: E402 - as above

__all__ = ["ArqJobs", "dump_json", "load_json"]

_RETRY_AFTER: Final = 5  # seconds, when memberships or store are away


class ArqJobs:
    """Sends and runs arq jobs.

    ::

        jobs = ArqJobs(JobGuard(envelopes, db=engine))

        @jobs.function()
        async def build_report(ctx, session, report_id): ...

        class WorkerSettings:
            functions = [build_report]
            job_serializer, job_deserializer = dump_json, load_json

        await jobs.enqueue(pool, "build_report", "42")

    Args:
        guard: Seals, opens, and gives jobs their database handle.
    """

    def __init__(self, guard: JobGuard) -> None:
        self._guard = guard
        self._lifetimes: dict[str, float | None] = {}

    async def enqueue(
        self,
        pool: ArqRedis,
        function: str,
        *args: Any,
        _job_id: str | None = None,
        _defer_until: datetime | None = None,
        _defer_by: float | timedelta | None = None,
        _lifetime: float | None = None,
        **kwargs: Any,
    ) -> Job | None:
        """As arq's ``enqueue_job``, for the current context.

        Args:
            pool: Made with ``job_serializer=dump_json``.
            function: Name of the job.
            *args: JSON values.
            _job_id: As arq's.
            _defer_until: As arq's; part of the envelope's delay.
            _defer_by: As arq's.
            _lifetime: Seconds from when it is due until it must have ended.
            **kwargs: JSON values, and arq's other options.

        Raises:
            ContextMissingError: No context is current; nothing was sent.
            ConfigError: The pool pickles, or an argument is no JSON value.
        """
        if pool.job_serializer is not dump_json:
            raise _pickles("the pool")
        job_id = _job_id or uuid4().hex
        own = {name: value for name, value in kwargs.items() if not name.startswith("_")}
        kwargs[FIELD] = self._guard.envelopes.seal(
            function,
            job_id=job_id,
            arguments=argument_bytes(args, own),
            delay=_delay(_defer_until, _defer_by),
            lifetime=self._lifetimes.get(function) if _lifetime is None else _lifetime,
        )
        return await pool.enqueue_job(
            function,
            *args,
            _job_id=job_id,
            _defer_until=_defer_until,
            _defer_by=_defer_by,
            **kwargs,
        )

    def function(
        self, *, name: str | None = None, lifetime: float | None = None, **options: Any
    ) -> Callable[[Callable[..., Awaitable[Any]]], Function]:
        """Decorate an ``async def job(ctx, session, ...)`` for ``WorkerSettings.functions``.

        Args:
            name: Of the job; the function's own by default.
            lifetime: Seconds from when a job is due until it must have ended. Senders in other
                processes that have not imported the function pass ``_lifetime``.
            **options: As of ``arq.func``: ``timeout``, ``max_tries`` ...

        Raises:
            ConfigError: It does not take ``ctx`` and, if the guard has a database, the handle.
        """

        def decorate(work: Callable[..., Awaitable[Any]]) -> Function:
            without_handle(work, drop=2 if self._guard.gives_handle else 1)
            named = name or work.__qualname__
            self._lifetimes[named] = lifetime

            async def run(ctx: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
                return await self._run(named, work, ctx, args, kwargs)

            update_wrapper(run, work)
            del run.__dict__["__wrapped__"]
            return func(run, name=named, **options)

        return decorate

    @staticmethod
    def check(worker_settings: Any) -> None:
        """Refuse worker settings that unpickle what the queue holds; for start-up.

        Raises:
            ConfigError: ``job_serializer`` and ``job_deserializer`` are not ours.
        """
        found = (
            _setting(worker_settings, "job_serializer"),
            _setting(worker_settings, "job_deserializer"),
        )
        if found != (dump_json, load_json):
            raise _pickles("the worker")

    async def _run(
        self,
        name: str,
        work: Callable[..., Awaitable[Any]],
        ctx: Mapping[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if ctx["redis"].job_deserializer is not load_json:
            raise _pickles("the worker")  # the first job of all tells, where `check` was not called
        envelope = kwargs.pop(FIELD, None)
        arrival = JobArrival(
            envelope=envelope,
            job=name,
            job_id=str(ctx["job_id"]),
            arguments=argument_bytes(args, kwargs),
        )

        async def call(*given: Any, **named: Any) -> Any:
            return await work(ctx, *given, **named)

        try:
            return await self._guard.run(arrival, call, *args, **kwargs)
        except UnavailableError as failure:
            raise Retry(defer=_RETRY_AFTER) from failure


def dump_json(job: dict[str, Any]) -> bytes:
    """Encode what arq keeps; give it as ``job_serializer`` to workers and pools.

    An exception is kept as its class and text.
    """
    return json.dumps(job, default=_told, allow_nan=False).encode()


def load_json(data: bytes) -> dict[str, Any]:
    """Decode what `dump_json` wrote; give it as ``job_deserializer``.

    Raises:
        ValueError: It did not, or is pickled.
    """
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("no job")  # noqa: TRY004 - arq treats both alike
    return found


def _told(value: object) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    raise TypeError(f"a {type(value).__name__} is no JSON value")


def _setting(settings: Any, name: str) -> Any:
    found = settings.get(name) if isinstance(settings, Mapping) else settings.__dict__.get(name)
    return found.__func__ if isinstance(found, staticmethod) else found


def _delay(until: datetime | None, by: float | timedelta | None) -> float:
    if until is not None:
        return max(0.0, until.timestamp() - SYSTEM_CLOCK.now())
    if by is None:
        return 0.0
    return by.total_seconds() if isinstance(by, timedelta) else float(by)


def _pickles(who: str) -> ConfigError:
    return ConfigError(
        "arq.job_serializer",
        f"of {who} is not dump_json, so that messages are pickled or foreign",
        "Pass job_serializer=dump_json, job_deserializer=load_json to worker and create_pool.",
    )
