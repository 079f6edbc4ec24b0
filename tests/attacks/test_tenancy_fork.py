"""A forked worker must not keep the identity of the request that happened to start it.

``ProcessPoolExecutor`` forks lazily, at the first submit: on Linux before Python 3.14 its worker
begins as a copy of a thread that serves a tenant, and would serve every later tenant as that one.
"""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar

import pytest

from asgi_guard.errors import ContextMissingError
from asgi_guard.tenancy import propagate, require_context, use_context
from tests.support.tenancy_world import ACME, GLOBEX, context, who

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no fork"),
    # Python 3.12 warns of fork in a process with threads; that it is unwise is the point.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]

FORK = multiprocessing.get_context("fork")

unprotected: ContextVar[str] = ContextVar("unprotected", default="none")


def said_by_child(say: Callable[[], str]) -> str:
    """Fork, let the child *say* something, and return it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, say().encode())
        except BaseException as error:
            os.write(writer, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return said


def unprotected_value() -> str:
    return unprotected.get()


def test_a_pools_worker_that_was_forked_in_a_request_serves_nobody() -> None:
    """Neither in its first job nor when another tenant sends it the next one."""
    with ProcessPoolExecutor(max_workers=1, mp_context=FORK) as pool:
        with use_context(context(ACME)):
            first = pool.submit(who).result(30)
        with use_context(context(GLOBEX)):
            second = pool.submit(who).result(30)

    assert (first, second) == ("none", "none")


def test_control_a_plain_context_variable_is_kept_by_the_worker() -> None:
    """The same experiment with a variable of its own shows the leak, so it can see one."""
    token = unprotected.set(ACME)
    with ProcessPoolExecutor(max_workers=1, mp_context=FORK) as pool:
        pool.submit(unprotected_value).result(30)
        unprotected.reset(token)

        later = pool.submit(unprotected_value).result(30)

    assert later == ACME


def test_a_bare_fork_in_a_request_starts_without_a_context() -> None:
    """And guarded work refuses in the child, while the parent goes on."""
    with use_context(context()):
        assert said_by_child(who) == "none"
        assert said_by_child(lambda: str(require_context())) == "ContextMissingError"
        assert who() == f"{ACME} alice"


def test_a_child_that_leaves_its_parents_block_does_not_trip() -> None:
    """The block's end must reset what was set, not what replaced it."""

    def leave() -> str:
        block.__exit__(None, None, None)
        with use_context(context(GLOBEX)):
            return who()

    block = use_context(context(ACME))
    block.__enter__()
    try:
        assert said_by_child(leave) == f"{GLOBEX} alice"
    finally:
        block.__exit__(None, None, None)


async def test_a_fork_from_a_copied_context_starts_without_one_either() -> None:
    """asyncio.to_thread and create_task run in copies, which the child inherits as well."""
    with use_context(context()):
        from_thread = await asyncio.to_thread(said_by_child, who)
        copied = contextvars.copy_context()

    assert from_thread == "none"
    assert said_by_child(lambda: copied.run(who)) == "none"


def test_a_propagated_function_does_not_cross_a_fork() -> None:
    """A closure is inherited by the child as it is; the context in it must not work there."""
    with use_context(context()):
        work = propagate(who)

    assert said_by_child(work) == ContextMissingError.__name__
    assert work() == f"{ACME} alice"
