"""dramatiq: actors that run for their sender.

The envelope is an option of the message. It binds the actor, the message id, the arguments and
the messages that follow in a pipeline.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable
from typing import Any, Final

from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import (
    ConfigError,
    ContextMissingError,
    EnvelopeRefusedError,
    GuardError,
)
from asgi_guard.integrations.jobs import FIELD, JobArrival, JobGuard, argument_bytes, without_handle
from asgi_guard.tenancy.context import UserExecutionContext

require_extra("dramatiq", feature=__name__, extra="dramatiq")

import dramatiq  # noqa: E402 - a missing extra is named first
from dramatiq.middleware import Middleware, MiddlewareError  # noqa: E402 - as above

__all__ = ["DramatiqJobs"]

_LIFETIME: Final = "asgi_guard_lifetime"
_FOLLOWING: Final = ("pipe_target", "pipe_ignore", "group_completion_callbacks")


class DramatiqJobs:
    """Sends and runs actors of one broker.

    ::

        jobs = DramatiqJobs(broker, JobGuard(envelopes, db=engine))

        @jobs.actor()
        def build_report(session, report_id): ...

        build_report.send("42")  # in a request, or in another actor

    Args:
        broker: Each message to one of `actor` is sealed on its way in.
        guard: Seals, opens, and gives actors their database handle: a sync one for functions, an
            async one for ``async def`` (with dramatiq's ``AsyncIO`` middleware).

    Raises:
        ConfigError: Messages are encoded by anything but dramatiq's JSON.
    """

    def __init__(self, broker: dramatiq.Broker, guard: JobGuard) -> None:
        _check_encoder()
        self._broker = broker
        self._guard = guard
        self._names: set[str] = set()
        # First of all: its "after" comes last, when what follows a message has been sent.
        self._middleware = _Envelopes(guard, self._names)
        broker.middleware.insert(0, self._middleware)
        broker.actor_options |= self._middleware.actor_options

    def actor(
        self, *, lifetime: float | None = None, **options: Any
    ) -> Callable[[Callable[..., Any]], dramatiq.Actor[..., Any]]:
        """Decorate a function, in place of ``dramatiq.actor``.

        Args:
            lifetime: Seconds from when a message is due until its work must have ended, retries
                included.
            **options: As of ``dramatiq.actor``.

        Raises:
            ConfigError: The function does not take the database handle.
        """

        def decorate(work: Callable[..., Any]) -> dramatiq.Actor[..., Any]:
            without_handle(work, drop=int(self._guard.gives_handle))
            name = str(options.get("actor_name") or work.__name__)
            given = options.get("throws") or ()
            never_again = (*(given if isinstance(given, tuple) else (given,)), EnvelopeRefusedError)
            options.update(actor_name=name, throws=never_again, asgi_guard_lifetime=lifetime)
            made = dramatiq.actor(broker=self._broker, **options)(self._runner(name, work))
            self._names.add(name)
            return made

        return decorate

    def _runner(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        current, guard = self._middleware, self._guard
        if inspect.iscoroutinefunction(work):
            # The message is looked up in the worker's thread, before the loop's takes over.
            async def run(arrival: JobArrival, *args: Any, **kwargs: Any) -> Any:
                return await guard.run(arrival, work, *args, **kwargs)

            from dramatiq.asyncio import async_to_sync  # noqa: PLC0415

            waiting = async_to_sync(run)

            def call(*args: Any, **kwargs: Any) -> Any:
                return waiting(current.arrival(name), *args, **kwargs)
        else:

            def call(*args: Any, **kwargs: Any) -> Any:
                return guard.run_sync(current.arrival(name), work, *args, **kwargs)

        call.__name__, call.__qualname__ = work.__name__, work.__qualname__
        call.__module__, call.__doc__ = work.__module__, work.__doc__
        return call


class _Work:
    """The message that a thread works on, and whom it turned out to be for."""

    __slots__ = ("context", "message")

    def __init__(self, message: Any) -> None:
        self.message = message
        self.context: UserExecutionContext | None = None


class _Slot(threading.local):
    """What a thread works on; an object of its own, since an async actor's loop fills it in."""

    work: _Work | None = None


_slot: Final = _Slot()  # one for all guards: what follows may be an actor of another


# ruff: noqa: ARG002 - hooks take what dramatiq hands them
class _Envelopes(Middleware):
    """Seals messages on their way to the broker; remembers the one that a thread works on."""

    def __init__(self, guard: JobGuard, names: set[str]) -> None:
        self._guard = guard
        self._names = names

    @property
    def actor_options(self) -> set[str]:
        """Return the names that actors may be given."""
        return {_LIFETIME}

    def before_enqueue(self, broker: dramatiq.Broker, message: Any, delay: int | None) -> None:
        """Seal *message*, unless it is on its way through the queue already."""
        if message.actor_name not in self._names or FIELD in message.options:
            return  # a retry, or one that was put off and is due now
        try:
            actor = broker.get_actor(message.actor_name)
            message.options[FIELD] = self._guard.envelopes.seal(
                message.actor_name,
                job_id=message.message_id,
                arguments=_bound(message),
                context=_predecessor(message),
                delay=(delay or 0) / 1000,
                lifetime=actor.options.get(_LIFETIME),
            )
        except ContextMissingError as error:
            raise _NoContextError(error.operation) from None
        except GuardError as error:
            raise _NotSentError(str(error)) from error

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Begin anew: nothing of the thread's last message is left."""
        _slot.work = _Work(message)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: Any,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Forget the message and its context."""
        _slot.work = None

    def after_skip_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Forget the message and its context."""
        _slot.work = None

    def arrival(self, name: str) -> JobArrival:
        """Return what this thread works on; nothing, where an actor is called as a function."""
        work = _slot.work
        if work is None or work.message.actor_name != name:
            return JobArrival(envelope=None, job=name, job_id="", arguments=b"")

        def note(context: UserExecutionContext) -> None:
            work.context = context

        return JobArrival(
            envelope=work.message.options.get(FIELD),
            job=name,
            job_id=work.message.message_id,
            arguments=_bound(work.message),
            on_open=note,
        )


def _predecessor(message: Any) -> UserExecutionContext | None:
    """Return whose *message* is, if the thread's own message named it as its successor."""
    work = _slot.work
    if work is None:
        return None
    target = work.message.options.get("pipe_target") or {}
    return work.context if target.get("message_id") == message.message_id else None


class _NoContextError(ContextMissingError, MiddlewareError):
    """No context to send; of the one kind that dramatiq lets through to the sender."""


class _NotSentError(MiddlewareError):
    """A message was not sealed, so it was not sent; the cause says why."""


def _bound(message: Any) -> bytes:
    following = {name: message.options.get(name) for name in _FOLLOWING}
    encoded = dramatiq.get_encoder().encode(
        {"args": list(message.args), "kwargs": message.kwargs, "following": following}
    )
    return argument_bytes(json.loads(encoded))


def _check_encoder() -> None:
    if type(dramatiq.get_encoder()) is not dramatiq.JSONEncoder:
        raise ConfigError(
            "dramatiq.encoder",
            f"is a {type(dramatiq.get_encoder()).__name__}: whoever writes to the broker chooses "
            "what the worker decodes",
            "Leave it dramatiq.JSONEncoder().",
        )
