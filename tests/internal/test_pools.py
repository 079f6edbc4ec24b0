"""BoundedPool: work off the loop, a bound on who waits, and fresh threads after a fork."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import textwrap
import threading

import pytest

from asgi_guard._internal.constant_time import equal
from asgi_guard._internal.pools import BoundedPool
from asgi_guard.errors import ConfigError, UnavailableError

FORKING = """
    import asyncio, os, sys
    from asgi_guard._internal.pools import BoundedPool

    pool = BoundedPool("test", workers=1, queue=0, full="full")
    where = lambda: os.getpid()

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(pool.run(where)) == os.getpid()
    child = os.fork()
    if child == 0:
        mine = asyncio.new_event_loop()
        answer = mine.run_until_complete(asyncio.wait_for(pool.run(where), 20))
        os._exit(0 if answer == os.getpid() else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Held:
    """A job that waits until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.go = threading.Event()
        self.runs = 0

    def __call__(self) -> int:
        self.runs += 1
        self.started.set()
        if not self.go.wait(30):
            raise TimeoutError("nobody let the job go")
        return threading.get_ident()

    async def until_started(self) -> None:
        for _ in range(30_000):
            if self.started.is_set():
                return
            await asyncio.sleep(0.001)
        raise TimeoutError("the job never started")


@pytest.fixture
def pool() -> BoundedPool:
    return BoundedPool("test", workers=1, queue=1, full="test_full")


async def test_the_loop_goes_on_while_a_thread_works(pool: BoundedPool) -> None:
    """One login must not stall everybody else's request."""
    held = Held()
    job = asyncio.create_task(pool.run(held))

    await held.until_started()  # the loop ran these turns while the job held its thread
    held.go.set()

    assert await job != threading.get_ident()


async def test_a_full_queue_is_refused_at_once_and_has_room_again_later(pool: BoundedPool) -> None:
    """A flood must not pile up in memory behind a queue without end."""
    held = Held()
    jobs = [asyncio.create_task(pool.run(held)) for _ in range(2)]
    await held.until_started()

    with pytest.raises(UnavailableError) as refused:
        await pool.run(held)
    held.go.set()
    await asyncio.gather(*jobs)

    assert refused.value.reason == "test_full"
    assert refused.value.status == 503
    assert pool.pending == 0
    assert await pool.run(lambda: "served") == "served"


async def test_a_job_whose_caller_has_gone_is_skipped_but_keeps_its_place(
    pool: BoundedPool,
) -> None:
    """Who connects and hangs up must neither cost a hash nor slip past the bound."""
    running, waiting = Held(), Held()
    first = asyncio.create_task(pool.run(running))
    await running.until_started()
    gone = asyncio.create_task(pool.run(waiting))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone

    with pytest.raises(UnavailableError):
        await pool.run(waiting)  # the abandoned one is still in line
    running.go.set()
    await first

    assert await pool.run(lambda: "next") == "next"
    assert waiting.runs == 0


async def test_a_job_sees_nothing_of_the_request_that_sent_it(pool: BoundedPool) -> None:
    """A thread that keeps a request's context serves the next tenant with it."""
    who = contextvars.ContextVar("who", default="nobody")
    who.set("alice")

    assert await pool.run(who.get) == "nobody"


async def test_what_a_job_raises_arrives_and_gives_the_place_back(pool: BoundedPool) -> None:
    """Else errors would eat the pool up, one by one."""
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)

    assert pool.pending == 0


async def test_a_closed_pool_starts_again(pool: BoundedPool) -> None:
    """An app's lifespan may run more than once in a test process."""
    await pool.run(int)
    pool.close()

    assert await pool.run(lambda: 3) == 3


def test_a_forked_worker_gets_threads_of_its_own() -> None:
    """Threads do not survive a fork: a pool that believes in them waits for ever."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout.strip(), done.returncode) == ("0", 0), done.stderr


@pytest.mark.parametrize("bad", [{"workers": 0, "queue": 1}, {"workers": 1, "queue": -1}])
def test_bounds_that_bound_nothing_are_refused(bad: dict[str, int]) -> None:
    """At start-up, with the setting's name."""
    with pytest.raises(ConfigError, match=r"test\."):
        BoundedPool("test", full="full", **bad)


def test_equal_compares_values() -> None:
    """The home of comparisons must at least compare."""
    assert equal(b"same", b"same")
    assert not equal(b"same", b"sama")
    assert not equal(b"same", b"sam")
