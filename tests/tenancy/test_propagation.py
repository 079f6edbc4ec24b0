"""propagate: the context crosses a thread only when the code says so."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import (
    ConfigError,
    ContextContaminationError,
    ContextExpiredError,
    ContextMissingError,
)
from asgi_guard.protocols import Receive, Scope, Send
from asgi_guard.tenancy import (
    ExecutionState,
    current_context,
    propagate,
    require_context,
    use_context,
)
from asgi_guard.tenancy.fail_closed import FailClosedMiddleware
from tests.support.tenancy_calls import get
from tests.support.tenancy_world import ACME, GLOBEX, MovedClock, context, who


def in_thread(fn: Callable[[], object]) -> object:
    """Run *fn* in a thread of its own and return what it returned or raised."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(fn())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(10)
    return outcome[0]


def test_a_bare_thread_has_no_context_and_guarded_work_refuses_there() -> None:
    """Which request a thread works for cannot be guessed."""
    with use_context(context()):
        assert isinstance(in_thread(require_context), ContextMissingError)


def test_a_propagated_function_runs_for_whoever_handed_it_over() -> None:
    """The one way into a thread, and it is visible in the code."""
    with use_context(context()):
        work = propagate(who)

    assert in_thread(work) == f"{ACME} alice"


def test_a_pools_thread_keeps_nothing_of_its_last_job() -> None:
    """The next job on the same thread belongs to somebody else."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        with use_context(context(ACME)):
            first = pool.submit(propagate(who)).result(10)
        with use_context(context(GLOBEX)):
            second = pool.submit(propagate(who)).result(10)
        bare = pool.submit(who).result(10)

    assert (first, second, bare) == (f"{ACME} alice", f"{GLOBEX} alice", "none")


def test_the_place_of_the_call_does_not_matter_and_is_restored() -> None:
    """A callback made by A and called under B still works for A, and B goes on as B."""
    with use_context(context(ACME)):
        work = propagate(who)

    with use_context(context(GLOBEX)):
        assert work() == f"{ACME} alice"
        assert who() == f"{GLOBEX} alice"


async def test_an_async_function_stays_async_and_keeps_its_context_across_awaits() -> None:
    """Frameworks look whether a callable is a coroutine function."""

    async def work(number: int, *, unit: str) -> str:
        await asyncio.sleep(0)
        return f"{who()} {number} {unit}"

    with use_context(context()):
        carried = propagate(work)

    assert asyncio.iscoroutinefunction(carried)
    assert carried.__name__ == "work"
    assert await carried(7, unit="kg") == f"{ACME} alice 7 kg"
    assert current_context() is None


async def test_a_coroutine_that_a_plain_callable_returns_runs_under_the_context_too() -> None:
    """A lambda, a bound object: the work happens after the call has returned."""

    async def work() -> str:
        await asyncio.sleep(0)
        return who()

    class Tool:
        async def __call__(self) -> str:
            return await work()

    with use_context(context(ACME)):
        carried = [propagate(lambda: work()), propagate(Tool()), propagate(functools.partial(work))]  # noqa: PLW0108 - a lambda is the case

    with use_context(context(GLOBEX)):
        seen = [await each() for each in carried]

    assert seen == [f"{ACME} alice"] * 3


def test_there_must_be_something_to_carry() -> None:
    """Found out where it is handed over, not later in a thread."""
    with pytest.raises(ContextMissingError, match="propagate"):
        propagate(who)


def test_generator_functions_are_refused() -> None:
    """Between two steps the context would stay with whoever consumes it."""

    def steps() -> Iterator[str]:
        yield who()

    async def async_steps() -> AsyncIterator[str]:
        yield who()

    with use_context(context()):
        for generator in (steps, async_steps):
            with pytest.raises(ConfigError, match="generator"):
                propagate(generator)


def test_a_propagated_function_does_not_prolong_the_context() -> None:
    """A queue that runs the work after the credential's end gets a refusal."""
    later = MovedClock(SYSTEM_CLOCK.now() + 7200)
    with use_context(context(expires_at=SYSTEM_CLOCK.now() + 3600)):
        work = propagate(lambda: require_context("report", clock=later))

    assert isinstance(in_thread(work), ContextExpiredError)


async def test_a_violation_in_a_propagated_thread_still_decides_the_requests_answer() -> None:
    """A handler that swallows the error of its thread must not answer 200 over it."""

    def violate() -> None:
        with use_context(context(GLOBEX)):
            len(state)

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        with use_context(context()), contextlib.suppress(ContextContaminationError):
            work = propagate(violate)
            await asyncio.get_running_loop().run_in_executor(None, work)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all is well"})

    with use_context(context()), ExecutionState.open() as state:
        answer = await get(FailClosedMiddleware(app))

    assert answer.status == 500
    assert b"CONTEXT_CONTAMINATION" in answer.body
