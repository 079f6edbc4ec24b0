"""procrastinate: jobs in PostgreSQL that run for their sender.

The envelope is one of the job's arguments. The database numbers jobs only when they are stored,
so the envelope belongs to the first job that it is delivered with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError, EnvelopeRefusedError
from asgi_guard.integrations.jobs import FIELD, JobArrival, JobGuard, argument_bytes, without_handle

require_extra("procrastinate", feature=__name__, extra="procrastinate")

import procrastinate  # noqa: E402 - a missing extra is named first
from procrastinate.jobs import Job  # noqa: E402 - as above
from procrastinate.retry import (  # noqa: E402 - as above
    BaseRetryStrategy,
    RetryDecision,
    get_retry_strategy,
)
from procrastinate.tasks import Task  # noqa: E402 - as above

__all__ = ["ProcrastinateJobs"]


class ProcrastinateJobs:
    """Sends and runs the tasks of one procrastinate app.

    ::

        jobs = ProcrastinateJobs(app, JobGuard(envelopes, db=engine))

        @jobs.task()
        async def build_report(session: AsyncSession, report_id: str) -> None: ...

        await jobs.defer_async(build_report, report_id="42")

    Args:
        app: The app, or a blueprint of it.
        guard: Seals, opens, and gives jobs their database handle.

    ``task.defer_async(...)`` seals nothing, so the worker refuses what it stored. Periodic tasks
    have no sender: leave them to ``app.task`` and `system_session`.
    """

    def __init__(self, app: procrastinate.App | procrastinate.Blueprint, guard: JobGuard) -> None:
        self._app = app
        self._guard = guard
        self._lifetimes: dict[int, float | None] = {}

    def task(
        self, *, lifetime: float | None = None, retry: Any = False, **options: Any
    ) -> Callable[[Callable[..., Any]], Task[..., Any, ...]]:
        """Decorate a function, in place of ``app.task``.

        Args:
            lifetime: Seconds from when a job is due until it must have ended, retries included.
            retry: As of ``app.task``; what was refused is not tried again.
            **options: As of ``app.task``, but for ``pass_context``.

        Raises:
            ConfigError: ``pass_context`` was given, or the function does not take the handle.
        """
        if "pass_context" in options:
            raise ConfigError(
                "ProcrastinateJobs.task", "got pass_context", "Leave it to the integration."
            )
        guard = self._guard

        def decorate(work: Callable[..., Any]) -> Task[..., Any, ...]:
            without_handle(work, drop=int(guard.gives_handle))

            async def run(context: procrastinate.JobContext, /, **kwargs: Any) -> Any:
                return await guard.run(_arrival(context.job, kwargs), work, **kwargs)

            run.__name__, run.__qualname__ = work.__name__, work.__qualname__
            run.__module__, run.__doc__ = work.__module__, work.__doc__
            made: Any = self._app.task(
                pass_context=True, retry=_Retries(get_retry_strategy(retry)), **options
            )(run)
            self._lifetimes[id(made)] = lifetime
            return made  # type: ignore[no-any-return]

        return decorate

    async def defer_async(
        self, task: Task[..., Any, ...], configure: dict[str, Any] | None = None, **kwargs: Any
    ) -> int:
        """Store a job of *task* for the current context; returns its id.

        Args:
            task: From `task`.
            configure: As of procrastinate's ``task.configure``: ``schedule_in``, ``lock`` ...
            **kwargs: The job's arguments, JSON values.

        Raises:
            ContextMissingError: No context is current; nothing was stored.
            ConfigError: An argument is no JSON value, or *task* is not ours.
        """
        deferrer = self._sealed(task, configure or {}, kwargs)
        return int(await deferrer.defer_async())

    def defer(
        self, task: Task[..., Any, ...], configure: dict[str, Any] | None = None, **kwargs: Any
    ) -> int:
        """As `defer_async`, for code without an event loop."""
        return int(self._sealed(task, configure or {}, kwargs).defer())

    def _sealed(self, task: Any, configure: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        if id(task) not in self._lifetimes:
            raise ConfigError(
                "ProcrastinateJobs.defer(task)", f"got {task!r}", "Pass what jobs.task() made."
            )
        plain = task.configure(**configure)
        arguments = {**plain.job.task_kwargs, **kwargs}
        due = plain.job.scheduled_at
        arguments[FIELD] = self._guard.envelopes.seal(
            task.name,
            arguments=argument_bytes(arguments),
            delay=0.0 if due is None else max(0.0, due.timestamp() - SYSTEM_CLOCK.now()),
            lifetime=self._lifetimes[id(task)],
        )
        return task.configure(**{**configure, "task_kwargs": arguments})


class _Retries(BaseRetryStrategy):
    """The task's own strategy, but for what can only be refused again."""

    def __init__(self, own: BaseRetryStrategy | None) -> None:
        self._own = own

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Ask the task's own strategy, unless the envelope did not hold."""
        if self._own is None or isinstance(exception, EnvelopeRefusedError):
            return None
        again = self._own.get_retry_exception(exception, job)
        return None if again is None else again.retry_decision


def _arrival(job: Job, kwargs: dict[str, Any]) -> JobArrival:
    envelope = kwargs.pop(FIELD, None)
    return JobArrival(
        envelope=envelope,
        job=job.task_name,
        job_id=str(job.id or ""),
        arguments=argument_bytes(kwargs),
    )
