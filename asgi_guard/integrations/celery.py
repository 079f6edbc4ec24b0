"""Celery: tasks that run for their sender, over JSON.

The envelope is a header of the message. It binds the task's name and id, its arguments, and what
follows it: link, link_error, chain and chord ride in the message too, and whoever could edit them
would have the worker send jobs in the sender's name.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Final
from uuid import uuid4

from asgi_guard._internal.clock import SYSTEM_CLOCK, utc
from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError, EnvelopeRefusedError
from asgi_guard.integrations.jobs import FIELD, JobArrival, JobGuard, argument_bytes, without_handle
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context

require_extra("celery", feature=__name__, extra="celery")

from celery import Celery, Task, current_task  # noqa: E402 - a missing extra is named first
from kombu.utils.json import dumps, loads  # noqa: E402 - as above

from asgi_guard.integrations.celery_settings import (  # noqa: E402 - as above
    JSON,
    check_settings,
    not_json,
)

__all__ = ["CeleryJobs"]

_dumps: Any = dumps  # untyped, as all of Celery
_loads: Any = loads
_OPENED: Final = "_asgi_guard_context"


class CeleryJobs:
    """Sends and runs tasks of one Celery app.

    ::

        jobs = CeleryJobs(app, JobGuard(envelopes, db=engine))

        @jobs.task()
        def build_report(session, report_id): ...

        build_report.delay("42")  # in a request, or in another task

    Args:
        app: Its serializers must be JSON, and it must accept nothing else.
        guard: Seals, opens, and gives tasks their database handle. The handle is a sync one.

    Raises:
        ConfigError: The app accepts pickle, YAML or any other content than JSON, or runs in a
            pool of greenlets.

    ``app.send_task("name")`` seals nothing, so the worker refuses what it sent.
    """

    def __init__(self, app: Celery, guard: JobGuard) -> None:
        check_settings(app)
        self._app = app
        self._guard = guard

    def task(
        self, *, lifetime: float | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], Task]:
        """Decorate a function, in place of ``app.task``.

        Args:
            lifetime: Seconds from when a task is due until it must have ended, retries included.
            **options: As of ``app.task``, but for ``base`` and ``serializer``. With ``bind``
                the task itself comes first, then the handle.

        Raises:
            ConfigError: An option is not for guarded tasks, or the function does not take the
                handle.
        """
        if {"base", "serializer"} & options.keys():
            raise ConfigError(
                "CeleryJobs.task", "got base or serializer", "Leave them to the integration."
            )
        guard = self._guard

        def decorate(work: Callable[..., Any]) -> Task:
            is_bound = bool(options.get("bind"))
            drop = is_bound + guard.gives_handle
            seen = without_handle(work, drop=drop)

            def run(task: Task, *args: Any, **kwargs: Any) -> Any:
                check_settings(task.app)  # settings may have changed since
                call = partial(work, task) if is_bound else work
                try:
                    return guard.run_sync(_arrival(task), call, *args, **kwargs)
                except EnvelopeRefusedError:
                    # What the message names as its followers is nobody's word, and Celery sends
                    # them on a failure too.
                    task.request.errbacks = task.request.chord = None
                    raise

            run.__name__, run.__qualname__ = work.__name__, work.__qualname__
            run.__module__, run.__doc__ = work.__module__, work.__doc__
            named = {"name": f"{work.__module__}.{work.__name__}", "typing": False, **options}
            named.update(bind=True, base=_GuardedTask, serializer="json")
            # Read by Celery, to tell tasks that it calls in place after a failure from those that
            # it sends.
            named["__header__"] = staticmethod(_header(seen))
            # What was refused can only be refused again.
            named["dont_autoretry_for"] = (
                *options.get("dont_autoretry_for", ()),
                EnvelopeRefusedError,
            )
            made: Task = self._app.task(
                **named, asgi_guard=guard, asgi_guard_lifetime=lifetime, asgi_guard_signature=seen
            )(run)
            return made

        return decorate


class _GuardedTask(Task):  # type: ignore[misc] # Celery ships no types
    """A task that seals the current context whenever it is sent."""

    abstract = True
    asgi_guard: ClassVar[JobGuard]
    asgi_guard_lifetime: ClassVar[float | None]
    asgi_guard_signature: ClassVar[Any]

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Any:
        """As Celery's, for the current context.

        Raises:
            ContextMissingError: There is none; nothing was sent.
            TypeError: The task does not take these arguments.
        """
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        self.asgi_guard_signature.bind(*args, **kwargs)
        if options.get("serializer", "json") not in JSON:
            raise not_json("apply_async(serializer)", options["serializer"])
        task_id = task_id or str(uuid4())
        headers = dict(options.pop("headers", None) or {})
        bound = _bound(args, kwargs, options.get("link"), options.get("link_error"), options)
        envelope = _envelope_of_retry(self, task_id, bound)
        headers[FIELD] = envelope or self.asgi_guard.envelopes.seal(
            self.name,
            job_id=task_id,
            arguments=bound,
            context=_sender(),
            delay=_delay(options.get("countdown"), options.get("eta")),
            lifetime=self.asgi_guard_lifetime,
        )
        return super().apply_async(args, kwargs, task_id=task_id, headers=headers, **options)


def _header(signature: inspect.Signature) -> Callable[..., None]:
    def header(*_args: Any, **_kwargs: Any) -> None:
        """Take what senders pass."""

    header.__signature__ = signature  # type: ignore[attr-defined]
    return header


def _arrival(task: Task) -> JobArrival:
    request = task.request
    following = {"chain": request.chain, "chord": request.chord}
    return JobArrival(
        envelope=request.get(FIELD) or (request.headers or {}).get(FIELD),
        job=task.name,
        job_id=str(request.id or ""),
        arguments=_bound(
            request.args, request.kwargs, request.callbacks, request.errbacks, following
        ),
        on_open=lambda context: setattr(request, _OPENED, context),
    )


def _bound(args: Any, kwargs: Any, link: Any, link_error: Any, options: Mapping[str, Any]) -> bytes:
    """Return what the envelope binds, as it looks after Celery's own encoding."""
    parts = (
        list(args or ()),
        dict(kwargs or {}),
        _listed(link),
        _listed(link_error),
        _listed(options.get("chain")),
        options.get("chord"),
    )
    return argument_bytes(*_plain(parts))


def _plain(value: Any) -> Any:
    """Encode as Celery does, and leave its tags for dates and the like as they are."""
    try:
        return json.loads(_dumps(_loads(_dumps(value))))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "job arguments",
            "hold something that Celery's JSON does not have",
            "Send ids and plain values, and look objects up in the task.",
        ) from error


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _sender() -> UserExecutionContext | None:
    """Return whose the new task is, where Celery itself sends it: what follows a task that ended.

    Links, chains and chords are sent after the task's own context is gone, while its request is
    still the current one. They were bound by its envelope.
    """
    if current_context() is not None:
        return None  # the current one
    task = current_task._get_current_object() if current_task else None  # noqa: SLF001 - the proxy's own
    found = None if task is None else task.request.get(_OPENED)
    # A message may have a header of this name; it is never a context.
    return found if isinstance(found, UserExecutionContext) else None


def _envelope_of_retry(task: Task, task_id: str, bound: bytes) -> Any:
    """Return the envelope that a retry keeps: it is one job still, and counted as one.

    It may not have been opened yet, where memberships could not be looked up.
    """
    request = task.request
    if request.called_directly or request.id != task_id:
        return None
    arrival = _arrival(task)
    return arrival.envelope if arrival.arguments == bound else None


def _delay(countdown: float | None, eta: datetime | str | None) -> float:
    if countdown:
        return max(0.0, float(countdown))
    if not eta:
        return 0.0
    due = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    if due.tzinfo is None:
        due = due.replace(tzinfo=utc(0).tzinfo)
    return max(0.0, due.timestamp() - SYSTEM_CLOCK.now())
