"""The how-to about agent state: its code runs, and the difference it promises is real."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from asgi_guard.tenancy import use_context
from tests.support.tenancy_world import ACME, GLOBEX, context

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "agent-state.md"


def blocks() -> list[dict[str, Any]]:
    """Run each Python block of the page and return what it defines."""
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    namespaces: list[dict[str, Any]] = []
    for source in found:
        namespace: dict[str, Any] = {}
        exec(compile(source, str(PAGE), "exec"), namespace)  # noqa: S102 - our own page
        namespaces.append(namespace)
    return namespaces


async def asked_at_once(agent: Any) -> list[list[str]]:
    """Let two users of two tenants ask at the same moment."""

    async def ask(tenant: str, question: str) -> list[str]:
        with use_context(context(tenant)):
            answer: list[str] = await agent.run(question)
            return answer

    return await asyncio.gather(ask(ACME, "acme's question"), ask(GLOBEX, "globex's question"))


async def test_before_the_change_two_users_see_each_others_questions() -> None:
    """The page must show the bug it cures, or nobody recognises their own."""
    before, _after, _job = blocks()

    first, second = await asked_at_once(before["agent"])

    assert "globex's question" in first
    assert "acme's question" in second


async def test_after_the_change_each_run_keeps_to_itself() -> None:
    """Readers will paste this."""
    _before, after, _job = blocks()

    first, second = await asked_at_once(after["agent"])

    assert first == ["acme's question", "what the tool found"]
    assert second == ["globex's question", "what the tool found"]


async def test_the_job_of_the_page_runs_the_new_agent() -> None:
    """Outside of a request somebody has to enter the context."""
    _before, after, job = blocks()

    await job["nightly"](after["agent"], ACME, "alice")
