"""LoopThread: an event loop for threads and forked workers that have none."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

from asgi_guard._internal.loop_thread import LoopThread
from asgi_guard.tenancy import current_context, use_context
from tests.support.tenancy_world import context


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    made = LoopThread("test-loop")
    yield made
    made.close()


async def _where() -> tuple[int, object]:
    return threading.get_ident(), asyncio.get_running_loop()


def test_all_calls_share_one_loop(loop_thread: LoopThread) -> None:
    """A client's connections belong to the loop that opened them."""
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda: found.append(loop_thread.run(_where))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert loop_thread.run(_where)[0] != threading.get_ident()


def test_it_is_nobodys(loop_thread: LoopThread) -> None:
    """A look-up on behalf of a worker runs under no request's context."""

    async def who() -> object:
        return current_context()

    with use_context(context()):
        assert loop_thread.run(who) is None


def test_errors_come_back(loop_thread: LoopThread) -> None:
    """As they were raised."""

    async def fail() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError):
        loop_thread.run(fail)


def test_a_forked_child_starts_a_loop_of_its_own(loop_thread: LoopThread) -> None:
    """The parent's thread is not there; waiting for it would be for ever."""
    loop_thread.run(_where)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, b"y" if loop_thread.run(_where) else b"n")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert answer.read() == b"y"
    os.waitpid(child, 0)
