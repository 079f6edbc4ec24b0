"""One pydantic-ai agent for everybody: runs, deps and histories stay with their users."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from asgi_guard.errors import (
    ConfigError,
    ContextContaminationError,
    ContextExpiredError,
    ContextMissingError,
    NotOwnedError,
)
from asgi_guard.integrations.pydantic_ai import TenantRuns, adopt_history
from asgi_guard.tenancy import UserExecutionContext, require_context, use_context
from tests.support.agents_people import alice, bob, carol


async def stub(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    """A model that asks for its tool once, and then repeats everything it was told."""
    last = messages[-1]
    await asyncio.sleep(0)  # another run's turn
    if isinstance(last, ModelRequest) and any(isinstance(p, ToolReturnPart) for p in last.parts):
        told = [
            str(part.content)
            for each in messages
            for part in each.parts
            if hasattr(part, "content")
        ]
        return ModelResponse(parts=[TextPart(" | ".join(told))])
    return ModelResponse(parts=[ToolCallPart("rows", {})])


@dataclass
class Deps:
    context: UserExecutionContext


def agent_for_everybody(*, guarded: bool = True) -> Agent[Deps, str]:
    capabilities = [TenantRuns()] if guarded else []
    agent = Agent(FunctionModel(stub), deps_type=Deps, capabilities=capabilities)

    @agent.tool
    async def rows(ctx: RunContext[Deps]) -> str:
        await asyncio.sleep(0)
        context = require_context("rows")
        return f"rows of {context.user_id} by {ctx.deps.context.user_id} in {context.operation}"

    return agent


async def test_concurrent_runs_on_one_agent_do_not_cross() -> None:
    """The agent is made once; its runs interleave at each await."""
    agent = agent_for_everybody()

    async def run(who: UserExecutionContext) -> str:
        with use_context(who):
            return (await agent.run(f"I am {who.user_id}", deps=Deps(who))).output

    people = [alice(), bob(), carol()]
    for who, output in zip(people, await asyncio.gather(*map(run, people)), strict=True):
        assert f"rows of {who.user_id} by {who.user_id} in agent.tool.rows" in output
        assert not any(other.user_id in output for other in people if other is not who)


async def test_a_history_continues_for_its_owner_only() -> None:
    """A conversation id taken from the caller loads somebody else's messages sooner or later."""
    agent = agent_for_everybody()
    with use_context(alice()):
        first = await agent.run("my secret is 42", deps=Deps(alice()))
        stored = first.all_messages_json()
        history = ModelMessagesTypeAdapter.validate_json(stored)
        again = await agent.run("go on", deps=Deps(alice()), message_history=history)
        assert "my secret is 42" in again.output
        twice = await agent.run("on", deps=Deps(alice()), message_history=again.all_messages())
        assert "my secret is 42" in twice.output

    for who in (bob(), carol()):
        with use_context(who):
            with pytest.raises(NotOwnedError):
                await agent.run("go on", deps=Deps(who), message_history=history)
            with pytest.raises(NotOwnedError):
                adopt_history(history)


async def test_control_a_bare_agent_repeats_anothers_history() -> None:
    """Negative control."""
    agent = agent_for_everybody(guarded=False)
    with use_context(alice()):
        history = (await agent.run("my secret is 42", deps=Deps(alice()))).all_messages()
    with use_context(bob()):
        leaked = await agent.run("go on", deps=Deps(bob()), message_history=history)
    assert "my secret is 42" in leaked.output


async def test_a_history_without_a_mark_is_adopted_on_purpose_or_refused() -> None:
    """What was stored before must not become whoever's asks first by itself."""
    bare = agent_for_everybody(guarded=False)
    with use_context(alice()):
        history = (await bare.run("from before", deps=Deps(alice()))).all_messages()
        agent = agent_for_everybody()
        with pytest.raises(NotOwnedError):
            await agent.run("go on", deps=Deps(alice()), message_history=history)
        with pytest.raises(NotOwnedError):
            await agent.run("go on", deps=Deps(alice()), message_history=history[1:2])
        adopted = adopt_history(history)
        output = (await agent.run("go on", deps=Deps(alice()), message_history=adopted)).output
        assert "from before" in output
    with use_context(bob()), pytest.raises(NotOwnedError):
        await agent.run("go on", deps=Deps(bob()), message_history=adopted)


async def test_runs_need_a_context_and_their_own_deps() -> None:
    """Deps that are made once at start-up are the first user's for ever."""
    agent = agent_for_everybody()
    with pytest.raises(ContextMissingError):
        await agent.run("hello", deps=Deps(alice()))
    with use_context(alice(expires_at=1.0)), pytest.raises(ContextExpiredError):
        await agent.run("hello", deps=Deps(alice()))
    with use_context(bob()):
        for deps in (Deps(alice()), alice(), {"context": alice()}):
            with pytest.raises(ContextContaminationError):
                await agent.run("hello", deps=deps)  # type: ignore[arg-type]


async def test_a_run_that_is_handed_on_goes_no_step_further() -> None:
    """A run object kept between requests is stepped by whoever comes next."""
    agent = agent_for_everybody()
    with use_context(alice()):
        entering = agent.iter("my secret is 42", deps=Deps(alice()))
        run = await entering.__aenter__()
        await anext(aiter(run))
    with use_context(bob()), pytest.raises(ContextContaminationError):
        async for _ in run:
            pass
    with use_context(alice()), pytest.raises(ContextContaminationError):
        await entering.__aexit__(ContextContaminationError, ContextContaminationError(), None)


async def test_streamed_runs_are_marked_too() -> None:
    """`run_stream` is another way through the library."""

    async def chunks(_messages: list[ModelMessage], _info: AgentInfo) -> Any:
        yield "hello"

    agent: Agent[None, str] = Agent(
        FunctionModel(stream_function=chunks), capabilities=[TenantRuns()]
    )
    with use_context(alice()):
        async with agent.run_stream("my secret is 42") as streamed:
            assert await streamed.get_output() == "hello"
        history = streamed.all_messages()
        async with agent.run_stream("go on", message_history=history) as streamed:
            await streamed.get_output()
    with use_context(bob()), pytest.raises(NotOwnedError):
        async with agent.run_stream("go on", message_history=history) as streamed:
            await streamed.get_output()


def test_bad_arguments_are_refused_when_built() -> None:
    """Not in the first request."""
    with pytest.raises(ConfigError):
        TenantRuns(owned_by="everybody")  # type: ignore[arg-type]
