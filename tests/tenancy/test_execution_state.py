"""ExecutionState: one run's memory, which answers its own user only, until the run ends."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from asgi_guard.errors import ConfigError, ContextContaminationError, ContextMissingError
from asgi_guard.tenancy import ExecutionState, use_context
from asgi_guard.tenancy.context import UserExecutionContext
from tests.support.exchange import Events
from tests.support.tenancy_world import ACME, GLOBEX, MovedClock, context

TOUCHES: dict[str, Callable[[Any], object]] = {
    "read": lambda state: state["goal"],
    "read a missing key": lambda state: state["other"],
    "get": lambda state: state.get("goal"),
    "write": lambda state: state.__class__.__setitem__(state, "goal", "stolen"),
    "delete": lambda state: state.__class__.__delitem__(state, "goal"),
    "contains": lambda state: "goal" in state,
    "len": len,
    "bool": bool,
    "iterate": iter,
    "reversed": lambda state: list(state.keys()),
    "values": lambda state: list(state.values()),
    "items": lambda state: dict(state.items()),
    "dict": dict,
    "unpack": lambda state: {**state},
    "pop": lambda state: state.pop("goal"),
    "popitem": lambda state: state.popitem(),
    "clear": lambda state: state.clear(),
    "update": lambda state: state.update(goal="stolen"),
    "setdefault": lambda state: state.setdefault("goal", "stolen"),
    "equal": lambda state: state == {"goal": "secret"},
    "not equal": lambda state: state != {},
    "repr": repr,
    "str": str,
    "format": lambda state: f"{state}",
    "dir": dir,
    "attribute": lambda state: state.goal,
    "private attribute": lambda state: state._values,
    "dunder attribute": lambda state: state.__doc__,
    "hasattr": lambda state: hasattr(state, "_values"),
    "set attribute": lambda state: setattr(state, "goal", "stolen"),
    "set private attribute": lambda state: setattr(state, "_owner", None),
    "delete attribute": lambda state: delattr(state, "_values"),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "enter": lambda state: type(state).__enter__(state),
}

STRANGERS = {
    "foreign_tenant": context(GLOBEX, "alice"),
    "foreign_user": context(ACME, "mallory"),
    "no_context": None,
}


def attempt(touch: Callable[[Any], object], state: ExecutionState) -> ContextContaminationError:
    """Touch *state* and return the error that this must be."""
    with pytest.raises(ContextContaminationError) as caught:
        touch(state)
    return caught.value


@pytest.mark.parametrize("reason", STRANGERS)
@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_every_touch_by_a_stranger_raises_and_leaves_one_event(
    touch: Callable[[Any], object], reason: str, events: Events
) -> None:
    """The shared agent object: whatever the next user's run does with it, it learns nothing."""
    with use_context(context()), ExecutionState.open("agent.run") as state:
        state["goal"] = "secret"
        stranger = STRANGERS[reason]

        error = in_context(stranger, lambda: attempt(touch, state))

        assert dict(state) == {"goal": "secret"}
    assert "secret" not in str(error)
    assert "alice" not in str(error)
    assert [event.name for event in events.seen] == ["CONTEXT_CONTAMINATION"]
    assert events.reasons == [reason]


def in_context(stranger: UserExecutionContext | None, work: Callable[[], Any]) -> Any:
    """Run *work* under *stranger*, or in a thread that has no context at all."""
    if stranger is not None:
        with use_context(stranger):
            return work()
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    thread.join(10)
    return result[0]


def test_the_event_names_the_intruder_and_of_the_owner_the_request_only(events: Events) -> None:
    """A tenant's admin may read the tenant's events; another tenant's name is not for them."""
    owner = context(ACME, "alice", request_id="request-of-alice")
    with use_context(owner), ExecutionState.open("agent.run") as state:
        in_context(context(GLOBEX, "mallory"), lambda: attempt(len, state))

    (event,) = events.seen
    assert (event.tenant_id, event.user_id, event.operation) == (GLOBEX, "mallory", "agent.run")
    assert dict(event.details) == {"owner_request_id": "request-of-alice"}


def test_hasattr_and_isinstance_do_not_turn_the_refusal_into_an_answer() -> None:
    """Serialisers and debuggers ask isinstance, which shows nothing."""
    with use_context(context()), ExecutionState.open() as state, use_context(context(GLOBEX)):
        assert not isinstance(state, dict)
        assert isinstance(state, ExecutionState)


def test_an_iterator_taken_by_the_owner_gives_a_stranger_nothing() -> None:
    """Not its first step, which Python runs late, nor one in the middle."""
    with use_context(context()), ExecutionState.open(initial={"a": 1, "b": 2}) as state:
        fresh, begun, view, method = iter(state), iter(state), state.values(), state.get
        next(begun)
        with use_context(context(GLOBEX)):
            for touch in (
                lambda _state: next(fresh),
                lambda _state: next(begun),
                lambda _state: list(view),
                lambda _state: method("a"),
            ):
                attempt(touch, state)


def test_the_owner_uses_it_as_a_mapping() -> None:
    """It replaces a dict, and must be as handy as one."""
    with use_context(context()), ExecutionState.open("agent.run", initial={"goal": "sum"}) as state:
        state["steps"] = []
        state["steps"].append("read")
        state.update(done=False)

        assert state["goal"] == "sum"
        assert list(state) == ["goal", "steps", "done"]
        assert state == {"goal": "sum", "steps": ["read"], "done": False}
        assert state != {}
        assert len(state) == 3
        assert state.pop("done") is False
        assert "done" not in state
        del state["steps"]
        with pytest.raises(KeyError):
            state["steps"]
        with pytest.raises(AttributeError, match="items, not attributes"):
            state.goal = "other"
        with pytest.raises(TypeError):
            hash(state)
        assert "get" in dir(state)


def test_its_repr_shows_keys_and_no_values() -> None:
    """It lands in logs and tracebacks; values are what the customer said to the agent."""
    with use_context(context()), ExecutionState.open("agent.run") as state:
        state["diagnosis"] = "private"

        assert repr(state) == "ExecutionState('agent.run', keys=['diagnosis'])"


@pytest.mark.parametrize("leave", [copy.copy, copy.deepcopy, pickle.dumps])
def test_not_even_the_owner_takes_a_copy_out(leave: Callable[[Any], object]) -> None:
    """A copy would outlive the run, and belong to nobody."""
    with (
        use_context(context()),
        ExecutionState.open() as state,
        pytest.raises(TypeError, match="outlive its run"),
    ):
        leave(state)


async def test_children_of_the_run_use_it_wherever_they_work() -> None:
    """Tools run under a narrower context, in tasks and threads, for the same user."""
    with use_context(context(roles={"admin"})) as owner:
        async with ExecutionState.open("agent.run") as state:

            async def tool(number: int) -> None:
                with use_context(owner.child(f"tool-{number}", roles=set())):
                    await asyncio.sleep(0)
                    state[f"tool-{number}"] = await asyncio.to_thread(len, state)

            async with asyncio.TaskGroup() as group:
                for number in range(3):
                    group.create_task(tool(number))

            assert set(state) == {"tool-0", "tool-1", "tool-2"}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_after_the_run_it_refuses_its_owner_too(
    touch: Callable[[Any], object], events: Events
) -> None:
    """A cache or a closure that kept it must not bring it into the user's next run."""
    with use_context(context()):
        with ExecutionState.open("agent.run") as state:
            state["goal"] = "secret"

        error = attempt(touch, state)

    assert "ended" in str(error)
    assert events.reasons == ["run_ended"]


def test_the_end_drops_the_values_also_after_an_error_and_without_a_context() -> None:
    """What is kept for the debugger is kept for the attacker as well."""

    class Held:
        pass

    kept: list[ExecutionState] = []

    def run() -> None:
        with use_context(context()):
            state = ExecutionState.open().__class__(context())
            type(state).__enter__(state)
            state["held"] = Held()
            kept.append(state)
        type(state).__exit__(state, KeyError, KeyError(), None)

    run()

    assert object.__getattribute__(kept[0], "_values") == {}


def test_it_is_used_inside_of_its_block_only(events: Events) -> None:
    """A state that was never entered would never end."""
    with use_context(context()):
        state = ExecutionState.open()
        attempt(len, state)
        with state:
            attempt(lambda each: type(each).__enter__(each), state)
        attempt(lambda each: type(each).__enter__(each), state)

    assert events.reasons == ["not_begun", "run_entered_twice", "run_ended"]


def test_it_cannot_be_opened_for_nobody() -> None:
    """Nor for something that only looks like somebody."""
    with pytest.raises(ContextMissingError, match=r"agent\.run"):
        ExecutionState.open("agent.run")
    with pytest.raises(ConfigError, match="owner"):
        ExecutionState((ACME, "alice"))  # type: ignore[arg-type]


def test_it_refuses_its_owner_once_the_credential_has_expired(events: Events) -> None:
    """A long run ends with the right to run it."""
    clock = MovedClock()
    with (
        use_context(context(expires_at=clock.now() + 60)),
        ExecutionState.open(clock=clock) as state,
    ):
        state["goal"] = "sum"
        clock.time += 60

        attempt(len, state)

    assert events.reasons == ["context_expired"]
    assert events.seen[0].user_id == "alice"
