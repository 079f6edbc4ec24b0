"""The current context: entered for a block, gone after it, and none once it has expired."""

from __future__ import annotations

import asyncio

import pytest

from asgi_guard.errors import ConfigError, ContextExpiredError, ContextMissingError
from asgi_guard.tenancy import current_context, require_context, use_context
from asgi_guard.tenancy.current import entered_context, no_context
from tests.support.tenancy_world import ACME, GLOBEX, MovedClock, context, who


def test_outside_of_everything_there_is_no_context() -> None:
    """The default must be nobody: whoever forgets to say who gets nothing."""
    assert current_context() is None
    with pytest.raises(ContextMissingError, match=r"notes\.list"):
        require_context("notes.list")


def test_a_block_runs_under_its_context_and_leaves_nothing() -> None:
    """Also when it ends by an exception."""

    def fail() -> None:
        with use_context(context()) as entered:
            assert require_context() is entered
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert current_context() is None


def test_an_inner_block_gives_way_to_the_outer_one_again() -> None:
    """A job that works for two tenants in turn must not stay with the second."""
    with use_context(context(ACME)):
        with use_context(context(GLOBEX)):
            assert who().startswith(GLOBEX)
        assert who().startswith(ACME)


def test_a_block_is_entered_once() -> None:
    """Kept and entered by two requests at once, it would reset one of them to the other."""
    block = use_context(context())
    with block, pytest.raises(ConfigError, match="twice"):
        block.__enter__()
    with pytest.raises(ConfigError, match="twice"):
        block.__enter__()

    assert current_context() is None


@pytest.mark.parametrize("impostor", [None, (ACME, "alice"), {"tenant_id": ACME}, "acme"])
def test_only_a_context_can_be_entered(impostor: object) -> None:
    """A plain tuple has passed none of the checks."""
    with (
        pytest.raises(ConfigError, match="use_context"),
        use_context(impostor),  # type: ignore[arg-type]
    ):
        pass


def test_a_context_past_its_expiry_is_none_at_all() -> None:
    """A job that outlives its user's credential must not read one further row."""
    clock = MovedClock()
    with use_context(context(expires_at=clock.now() + 60)):
        clock.time += 59.9
        assert current_context(clock=clock) is not None

        clock.time += 0.1

        assert current_context(clock=clock) is None
        with pytest.raises(ContextExpiredError, match="report"):
            require_context("report", clock=clock)


@pytest.mark.parametrize("end", [0, 0.0, 1.0, float("nan"), float("-inf")])
def test_the_systems_clock_is_asked_by_default(end: float) -> None:
    """And a comparison with NaN, which is always false, does not make a context eternal."""
    with use_context(context(expires_at=end)):
        assert current_context() is None


def test_the_expired_context_is_still_named_in_events() -> None:
    """The operator wants to know whose job went on for too long."""
    expired = context(expires_at=1.0)

    with use_context(expired):
        assert entered_context() is expired


def test_a_child_ends_with_its_parent() -> None:
    """Narrowing must not be a way to live longer."""
    with use_context(context(expires_at=1.0).child("tool")):
        assert current_context() is None


def test_a_caller_is_told_401_for_an_expired_context_and_how_to_mend_it() -> None:
    """RFC 9110 section 15.5.2 asks for WWW-Authenticate on each 401."""
    error = ContextExpiredError()

    assert error.status == 401
    assert error.headers[0][0] == b"www-authenticate"


async def test_no_context_hides_what_a_task_inherited() -> None:
    """Servers start the next request of a connection from the task of the one before."""

    async def next_request() -> str:
        with no_context():
            return who()

    with use_context(context()):
        seen = await asyncio.create_task(next_request())

    assert seen == "none"


async def test_a_context_entered_by_one_task_is_unseen_by_its_siblings() -> None:
    """Two requests of one worker, interleaved at every await."""
    both_entered = asyncio.Barrier(2)

    async def request(tenant: str) -> str:
        with use_context(context(tenant)):
            await both_entered.wait()
            seen = who()
            await both_entered.wait()
            return seen

    seen = await asyncio.gather(request(ACME), request(GLOBEX))

    assert seen == [f"{ACME} alice", f"{GLOBEX} alice"]
