"""The page of agents runs, with the libraries that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic_ai.models.test import TestModel

from asgi_guard.errors import InsufficientScopeError, NotOwnedError
from asgi_guard.rls import guarded_engine
from asgi_guard.tenancy import use_context
from asgi_guard.testing import PostgresDatabase
from tests.support.agents_people import ACME, alice, bob
from tests.support.pages import Page, as_role, prepare, tutorial_models

TestModel.__test__ = False  # type: ignore[attr-defined] # no test class, whatever its name

ROOT = Path(__file__).resolve().parents[2]
ROW = f"INSERT INTO notes VALUES ('{ACME}', gen_random_uuid(), 'mine')"
READS = {"scopes": {"notes:read"}}


@pytest.mark.postgres
async def test_the_page_of_agents_runs(postgres_database: PostgresDatabase) -> None:
    """Its blocks assert by themselves; here is what they must not do for others."""
    models = tutorial_models()
    await prepare(postgres_database, models, ROW)
    engine = guarded_engine(as_role(postgres_database, "app_runtime"))
    names = Page("agents.md", engine=engine, **models).run()

    with use_context(alice(**READS)):
        assert await names["search_notes"]("mi") == ["mine"]
    with use_context(bob(**READS)):
        assert await names["search_notes"]("mi") == []
        assert names["vectors"].query([1.0, 0.0]) == []
    with use_context(bob()), pytest.raises(InsufficientScopeError):
        names["look_up"]("north")
    await engine.dispose()

    thread = {"configurable": {"thread_id": "1"}}
    with use_context(alice()):
        names["graph"].invoke({"messages": [("user", "hi")]}, thread)
        history = (await names["agent"].run("hi")).all_messages()
    with use_context(bob()):
        assert names["graph"].get_state(thread).values == {}
        with pytest.raises(NotOwnedError):
            await names["agent"].run("hi", message_history=history)
    names["client"].close()


def test_the_page_names_each_extra_and_each_extra_is_there() -> None:
    """Somebody will type ``pip install "asgi-guard[...]"`` from the table."""
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"\| `([a-z-]+)` \|$", page, re.MULTILINE))

    assert named == {"qdrant", "langgraph", "mcp", "pydantic-ai"}
    assert [extra for extra in named if f"\n{extra} = [" not in project] == []
