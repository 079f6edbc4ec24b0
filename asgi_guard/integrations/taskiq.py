"""taskiq: tasks that run for their sender.

The envelope is a label of the message. It binds the task's name and id and its arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError, EnvelopeRefusedError
from asgi_guard.integrations.jobs import FIELD, JobArrival, JobGuard, argument_bytes, without_handle
from asgi_guard.tenancy.context import UserExecutionContext

require_extra("taskiq", feature=__name__, extra="taskiq")

from taskiq import (  # noqa: E402 - a missing extra is named first
    AsyncBroker,
    AsyncTaskiqDecoratedTask,
    Context,
    TaskiqDepends,
    TaskiqMessage,
    TaskiqMiddleware,
)
from taskiq.formatters.proxy_formatter import ProxyFormatter  # noqa: E402 - as above
from taskiq.serializers import JSONSerializer, ORJSONSerializer  # noqa: E402 - as above

__all__ = ["TaskiqJobs"]

_DELIVERY: Final = "asgi_guard_delivery"
_LIFETIME: Final = "asgi_guard_lifetime"
_DELAY: Final = "delay"


class TaskiqJobs:
    """Sends and runs tasks of one broker.

    ::

        jobs = TaskiqJobs(broker, JobGuard(envelopes, db=engine))

        @jobs.task()
        async def build_report(session: AsyncSession, report_id: str) -> None: ...

        await build_report.kiq("42")  # in a request, or in another task

    Args:
        broker: With JSON messages; results too, if its backend names its serializer.
        guard: Seals, opens, and gives tasks their database handle.

    Raises:
        ConfigError: Messages or results are encoded by anything but JSON.
    """

    def __init__(self, broker: AsyncBroker, guard: JobGuard) -> None:
        self._broker = broker
        self._guard = guard
        self._middleware = _Envelopes(guard)
        _check(broker)
        broker.add_middlewares(self._middleware)

    def task(
        self, task_name: str | None = None, *, lifetime: float | None = None, **labels: Any
    ) -> Callable[[Callable[..., Any]], AsyncTaskiqDecoratedTask[..., Any]]:
        """Decorate a function, in place of ``broker.task``.

        Args:
            task_name: As of ``broker.task``.
            lifetime: Seconds from when a task is due until it must have ended, retries included.
            **labels: As of ``broker.task``. A ``delay`` in seconds counts as the time until the
                task is due.

        Raises:
            ConfigError: The function does not take the database handle.
        """

        def decorate(work: Callable[..., Any]) -> AsyncTaskiqDecoratedTask[..., Any]:
            made = self._broker.register_task(
                self._runner(work),
                task_name=task_name or f"{work.__module__}:{work.__name__}",
                **labels,
            )
            self._middleware.lifetimes[made.task_name] = lifetime
            return made

        return decorate

    def _runner(self, work: Callable[..., Any]) -> Callable[..., Any]:
        guard, middleware = self._guard, self._middleware

        async def run(*args: Any, asgi_guard_delivery: Any, **kwargs: Any) -> Any:
            arrival = middleware.arrival(asgi_guard_delivery.message)
            try:
                return await guard.run(arrival, work, *args, **kwargs)
            except EnvelopeRefusedError:
                # No middleware shall try again what can only be refused again.
                asgi_guard_delivery.message.labels["retry_on_error"] = False
                raise

        seen = without_handle(work, drop=int(guard.gives_handle))
        delivery = inspect.Parameter(
            _DELIVERY, inspect.Parameter.KEYWORD_ONLY, default=TaskiqDepends(), annotation=Context
        )
        parameters = [*seen.parameters.values()]
        end = len(parameters)
        if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
            end -= 1
        parameters.insert(end, delivery)
        run.__signature__ = seen.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {
            one.name: one.annotation
            for one in parameters
            if one.annotation is not inspect.Parameter.empty
        }
        run.__name__, run.__qualname__ = work.__name__, work.__qualname__
        run.__module__, run.__doc__ = work.__module__, work.__doc__
        return run


class _Envelopes(TaskiqMiddleware):
    """Seals messages where they are sent, and keeps what a worker was handed as it was."""

    def __init__(self, guard: JobGuard) -> None:
        super().__init__()
        self._guard = guard
        self._running: dict[int, _Running] = {}
        self.lifetimes: dict[str, float | None] = {}

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Seal a message to one of our tasks; a retry keeps the envelope that it came with."""
        if message.task_name not in self.lifetimes:
            return message
        # As the worker will see it: taskiq encodes models, dates and the like on the way.
        encoded = self.broker.formatter.loads(self.broker.formatter.dumps(message).message)
        bound = argument_bytes(encoded.args, encoded.kwargs)
        before = self._before(message)
        if before is not None and before.arguments == bound:
            return message
        message.labels[FIELD] = self._guard.envelopes.seal(
            message.task_name,
            job_id=message.task_id,
            arguments=bound,
            context=None if before is None else before.context,
            delay=float(message.labels.get(_DELAY) or 0),
            lifetime=self.lifetimes[message.task_name],
        )
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Note the arguments before taskiq turns them into what the task's types ask for."""
        if message.task_name in self.lifetimes:
            bound = _bytes_or_none(message)
            self._running[id(message)] = _Running(message, bound)
        return message

    def post_execute(self, message: TaskiqMessage, result: Any) -> None:  # noqa: ARG002 - taskiq's
        """Forget the message."""
        self._running.pop(id(message), None)

    def arrival(self, message: TaskiqMessage) -> JobArrival:
        """Return what the worker was handed."""
        running = self._running.get(id(message))
        if running is None or running.message is not message or running.arguments is None:
            return JobArrival(
                envelope=None, job=message.task_name, job_id=message.task_id, arguments=b""
            )

        def note(context: UserExecutionContext) -> None:
            running.context = context

        return JobArrival(
            envelope=message.labels.get(FIELD),
            job=message.task_name,
            job_id=message.task_id,
            arguments=running.arguments,
            on_open=note,
        )

    def _before(self, message: TaskiqMessage) -> _Running | None:
        """Find the delivery that *message* repeats: taskiq's retries send the same id again."""
        envelope = message.labels.get(FIELD)
        for running in self._running.values():
            same = running.message
            if (
                running.context is not None
                and same.task_id == message.task_id
                and same.task_name == message.task_name
                and same.labels.get(FIELD) == envelope
            ):
                return running
        return None


class _Running:
    """One message that a worker works on."""

    __slots__ = ("arguments", "context", "message")

    def __init__(self, message: TaskiqMessage, arguments: bytes | None) -> None:
        self.message = message
        self.arguments = arguments
        self.context: UserExecutionContext | None = None


def _bytes_or_none(message: TaskiqMessage) -> bytes | None:
    try:
        return argument_bytes(message.args, message.kwargs)
    except ConfigError:
        return None  # what JSON does not have was not sealed either


def _check(broker: AsyncBroker) -> None:
    formatter = broker.formatter
    if type(formatter) is not ProxyFormatter and "json" not in type(formatter).__name__.lower():
        raise _not_json("formatter", formatter)
    known = (JSONSerializer, ORJSONSerializer)
    if not isinstance(broker.serializer, known):
        raise _not_json("serializer", broker.serializer)
    results = getattr(broker.result_backend, "serializer", None)
    if results is not None and not isinstance(results, known):
        raise _not_json("result_backend.serializer", results)


def _not_json(name: str, value: object) -> ConfigError:
    return ConfigError(
        f"taskiq.{name}",
        f"is a {type(value).__name__}: whoever writes to the broker may choose what is decoded",
        "Pass serializer=JSONSerializer().",
    )
