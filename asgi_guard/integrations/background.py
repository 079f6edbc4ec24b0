"""Background tasks of Starlette and FastAPI: the sender's tenant, proven anew when they run.

They run in the sender's own process, after its response. What they inherit ends under them: the
request's credential expires, its session is closed, its user may have been removed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.background import BackgroundTasks

from asgi_guard._internal.entropy import new_request_id
from asgi_guard.errors import ConfigError
from asgi_guard.integrations.jobs import JobArrival, JobGuard

__all__ = ["BackgroundJobs"]


class BackgroundJobs:
    """Adds background tasks that run for whoever added them.

    ::

        jobs = BackgroundJobs(JobGuard(envelopes, db=engine))

        async def build_report(session: AsyncSession, report_id: str) -> None: ...

        jobs.add(background, build_report, "42")  # in a handler

    Args:
        guard: Opens envelopes and gives tasks their database handle.

    The arguments never leave the process and are not bound. A task that is refused raises
    `EnvelopeRefusedError`, as any task that fails: the server logs it, the response was sent.
    """

    def __init__(self, guard: JobGuard) -> None:
        self._guard = guard

    def add(
        self, background: BackgroundTasks, work: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Let *work* run after the response, for the user and tenant of this request.

        Args:
            background: The handler's own.
            work: An async or sync function; gets the database handle first.
            *args: For *work*, after the handle.
            **kwargs: For *work*.

        Raises:
            ContextMissingError: No context is current.
            ConfigError: *background* is none of Starlette's.
        """
        if not isinstance(background, BackgroundTasks):
            raise ConfigError(
                "BackgroundJobs.add(background)",
                f"is a {type(background).__name__}",
                "Take a BackgroundTasks in the handler.",
            )
        name = f"background.{getattr(work, '__qualname__', type(work).__qualname__)}"
        job_id = new_request_id()
        arrival = JobArrival(
            envelope=self._guard.envelopes.seal(name, job_id=job_id, arguments=b""),
            job=name,
            job_id=job_id,
            arguments=b"",
        )
        background.add_task(partial(self._guard.run, arrival, work, *args, **kwargs))
