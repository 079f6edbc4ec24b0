"""One LangGraph graph for everybody: what one user's runs keep is not another's to name."""

from __future__ import annotations

import operator
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.errors import EmptyInputError
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore, InvalidNamespaceError
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph.types import CachePolicy, Command, interrupt

from asgi_guard.errors import (
    ConfigError,
    ContextContaminationError,
    ContextExpiredError,
    ContextMissingError,
    NotOwnedError,
)
from asgi_guard.integrations.langgraph import OwnedCheckpointer
from asgi_guard.integrations.langgraph_store import OwnedNodeCache, OwnedStore
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.tenancy import current_context, require_context, use_context
from asgi_guard.tenancy.ownership import owner_label
from tests.support.agents_people import alice, bob, carol

THREAD: Any = {"configurable": {"thread_id": "chat-1"}}


class State(TypedDict):
    said: Annotated[list[str], operator.add]


def conversation(checkpointer: BaseCheckpointSaver[Any]) -> Any:
    """A graph that remembers what it was told, and who was current in its nodes."""

    def listen(_state: State) -> dict[str, list[str]]:
        return {"said": [f"heard by {require_context('node').user_id}"]}

    builder: Any = StateGraph(State)
    builder.add_node("listen", listen)
    builder.add_edge(START, "listen")
    builder.add_edge("listen", END)
    return builder.compile(checkpointer=checkpointer)


def approval(checkpointer: BaseCheckpointSaver[Any]) -> Any:
    """A graph that stops inside a subgraph until somebody approves."""

    def ask(_state: State) -> dict[str, list[str]]:
        return {"said": [f"approved: {interrupt('transfer 1000?')}"]}

    inner: Any = StateGraph(State)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    outer: Any = StateGraph(State)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    return outer.compile(checkpointer=checkpointer)


class Events:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.seen: list[SecurityEvent] = []

    def emit(self, event: SecurityEvent) -> None:
        self.seen.append(event)


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseCheckpointSaver[Any]]:
    with ExitStack() as stack:
        if request.param == "memory":
            yield InMemorySaver()
        else:
            made = SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db"))
            yield stack.enter_context(made)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> Iterator[BaseStore]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    made = SqliteStore(connection)
    made.setup()
    yield made
    connection.close()


def test_the_same_thread_id_is_another_thread_for_each_user(
    saver: BaseCheckpointSaver[Any],
) -> None:
    """Thread ids come from callers; guessing one must not open a conversation."""
    graph = conversation(OwnedCheckpointer(saver))
    for who in (alice(), carol(), bob()):
        with use_context(who):
            graph.invoke({"said": [f"{who.user_id}'s secret"]}, THREAD)

    for who in (alice(), carol(), bob()):
        with use_context(who):
            said = graph.get_state(THREAD).values["said"]
            assert said == [f"{who.user_id}'s secret", f"heard by {who.user_id}"]
            assert len(list(graph.get_state_history(THREAD))) == 3


def test_control_a_bare_checkpointer_gives_the_thread_to_whoever_names_it(
    saver: BaseCheckpointSaver[Any],
) -> None:
    """Negative control: this is what the wrapper is for."""
    graph = conversation(saver)
    with use_context(alice()):
        graph.invoke({"said": ["alice's secret"]}, THREAD)
    with use_context(bob()):
        assert "alice's secret" in graph.get_state(THREAD).values["said"]


@pytest.mark.parametrize("named", [None, THREAD], ids=["all", "one"])
def test_listing_enumerates_ones_own_checkpoints_only(
    saver: BaseCheckpointSaver[Any], named: Any
) -> None:
    """`list(None)` lists everybody's in every saver; a limit must count one's own."""
    owned = OwnedCheckpointer(saver)
    graph = conversation(owned)
    for who in (alice(), bob()):
        with use_context(who):
            graph.invoke({"said": [f"{who.user_id}'s"]}, THREAD)
    assert len(list(saver.list(None))) == 6

    with use_context(alice()):
        found = list(owned.list(named))
        limited = list(owned.list(named, limit=2))
        forged = list(owned.list(named, filter={"asgi_guard_owner": owner_label(bob())}))

    assert len(found) == len(forged) == 3
    assert len(limited) == 2
    assert "bob" not in str(found) + str(forged)
    assert {each.config["configurable"]["thread_id"] for each in found} == {"chat-1"}
    assert "asgi_guard_owner" not in str(found)


def test_a_stored_id_of_another_owner_is_refused_with_an_event(
    saver: BaseCheckpointSaver[Any], events: Events
) -> None:
    """An id that leaked from the database, a log or a backup opens nothing either."""
    owned = OwnedCheckpointer(saver)
    graph = conversation(owned)
    with use_context(alice()):
        graph.invoke({"said": ["alice's secret"]}, THREAD)
    stolen: Any = {"configurable": {"thread_id": f"{owner_label(alice())}.chat-1"}}

    with use_context(bob()):
        for attempt in (
            lambda: graph.get_state(stolen),
            lambda: graph.invoke({"said": ["hello"]}, stolen),
            lambda: owned.delete_thread(stolen["configurable"]["thread_id"]),
            lambda: list(owned.list(stolen)),
            lambda: owned.put_writes(stolen, [("said", "x")], "task"),
        ):
            with pytest.raises(NotOwnedError):
                attempt()

    assert {(event.name, event.reason) for event in events.seen} == {
        ("AGENT_ACCESS_REFUSED", "thread_of_another")
    }
    with use_context(alice()):
        assert "alice's secret" in graph.get_state(stolen).values["said"]


def test_a_checkpoint_id_does_not_travel_back_in_anothers_time(
    saver: BaseCheckpointSaver[Any],
) -> None:
    """Time travel: naming a checkpoint of another thread finds nothing and forks nothing."""
    graph = conversation(OwnedCheckpointer(saver))
    with use_context(alice()):
        graph.invoke({"said": ["alice's secret"]}, THREAD)
        own = [each.config for each in graph.get_state_history(THREAD)]
        rewound = graph.invoke(None, own[1])
        assert "alice's secret" in rewound["said"]

    with use_context(bob()):
        for config in own:
            assert graph.get_state(config).values == {}
            with pytest.raises(EmptyInputError):
                graph.invoke(None, config)


def test_an_interrupted_run_is_resumed_by_its_own_user_only(
    saver: BaseCheckpointSaver[Any],
) -> None:
    """Whoever can resume a run approves what it was stopped for; subgraphs included."""
    graph = approval(OwnedCheckpointer(saver))
    with use_context(alice()):
        stopped = graph.invoke({"said": ["alice's"]}, THREAD)
        assert stopped["__interrupt__"][0].value == "transfer 1000?"
        state = graph.get_state(THREAD, subgraphs=True)
        inside = state.tasks[0].state.config
        assert inside["configurable"]["checkpoint_ns"].startswith("inner:")

    for who in (bob(), carol()):
        with use_context(who):
            with pytest.raises(NotOwnedError):
                graph.invoke(Command(resume="yes"), THREAD)
            assert graph.get_state(inside).values == {}
    with use_context(alice()):
        assert graph.get_state(THREAD).next == ("inner",)
        resumed = graph.invoke(Command(resume="no"), THREAD)["said"]
        assert (resumed[0], resumed[-1]) == ("alice's", "approved: no")


def test_deleting_copying_and_pruning_stay_with_ones_own_threads() -> None:
    """A thread that another can delete or copy is theirs to destroy or to read."""
    inner = InMemorySaver()
    owned = OwnedCheckpointer(inner)
    graph = conversation(owned)
    for who in (alice(), bob()):
        with use_context(who):
            graph.invoke({"said": [f"{who.user_id}'s"]}, THREAD)

    with use_context(bob()):
        owned.delete_thread("chat-1")
        assert graph.get_state(THREAD).values == {}
        with pytest.raises(NotOwnedError):
            owned.copy_thread(f"{owner_label(alice())}.chat-1", "mine")
        with pytest.raises(NotOwnedError):
            owned.prune([f"{owner_label(alice())}.chat-1"])
        with pytest.raises(NotImplementedError):
            owned.delete_for_runs(["run-of-alice"])
    with use_context(alice()):
        assert "alice's" in graph.get_state(THREAD).values["said"]


def test_threads_may_be_shared_inside_a_tenant_and_not_beyond() -> None:
    """A team's conversation is the team's."""
    graph = conversation(OwnedCheckpointer(InMemorySaver(), owned_by="tenant"))
    with use_context(alice()):
        graph.invoke({"said": ["acme's"]}, THREAD)
    with use_context(carol()):
        assert "acme's" in graph.get_state(THREAD).values["said"]
    with use_context(bob()):
        assert graph.get_state(THREAD).values == {}


def test_without_a_context_nothing_is_read_or_written() -> None:
    """A bare thread, a scheduler or an expired login gets nobody's threads."""
    owned = OwnedCheckpointer(InMemorySaver())
    with pytest.raises(ContextMissingError):
        owned.get_tuple(THREAD)
    with pytest.raises(ContextMissingError):
        owned.list(None)
    with use_context(alice(expires_at=1.0)), pytest.raises(ContextExpiredError):
        owned.get_tuple(THREAD)
    with use_context(alice()), pytest.raises(ConfigError):
        owned.get_tuple({"configurable": {}})


def test_a_list_that_is_handed_on_is_not_read_by_another() -> None:
    """An iterator reads when it is stepped, and that may be under another user."""
    owned = OwnedCheckpointer(InMemorySaver())
    graph = conversation(owned)
    with use_context(alice()):
        graph.invoke({"said": ["alice's secret"]}, THREAD)
        handed_on = owned.list(None)
        next(handed_on)
    with use_context(bob()), pytest.raises(ContextContaminationError):
        next(handed_on)


class Leaky(InMemorySaver):
    """A saver that answers with somebody's thread, whatever was asked."""

    def get_tuple(self, config: Any) -> Any:
        thread = next((name for name, kept in self.storage.items() if any(kept.values())), "none")
        return super().get_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})


def test_a_saver_that_answers_with_anothers_checkpoint_is_not_believed() -> None:
    """Negative control: what comes back is looked at as well."""
    graph = conversation(OwnedCheckpointer(Leaky()))
    with use_context(alice()):
        graph.invoke({"said": ["alice's secret"]}, THREAD)
    with use_context(bob()), pytest.raises(ContextContaminationError):
        graph.get_state(THREAD)


async def test_async_runs_of_several_users_do_not_cross(tmp_path: Path) -> None:
    """The async saver, with interleaved runs of one graph on one connection."""
    import asyncio  # noqa: PLC0415 - used here alone

    async with AsyncExitStack() as stack:
        made = AsyncSqliteSaver.from_conn_string(str(tmp_path / "async.db"))
        owned = OwnedCheckpointer(await stack.enter_async_context(made))
        graph = conversation(owned)

        async def run(who: Callable[[], Any]) -> None:
            with use_context(who()):
                for _ in range(3):
                    await graph.ainvoke({"said": [who().user_id]}, THREAD)

        await asyncio.gather(run(alice), run(bob), run(carol))
        for who in (alice(), bob(), carol()):
            with use_context(who):
                said = (await graph.aget_state(THREAD)).values["said"]
                assert said == [who.user_id, f"heard by {who.user_id}"] * 3
                listed = [each async for each in owned.alist(None)]
                assert len(listed) == 9
        with use_context(bob()):
            await owned.adelete_thread("chat-1")
            assert (await graph.aget_state(THREAD)).values == {}


def test_parallel_nodes_in_worker_threads_keep_the_context() -> None:
    """LangGraph runs nodes of one step in a thread pool; whoever is current there reads rows."""
    seen: list[Any] = []

    def node(_state: State) -> dict[str, list[str]]:
        context = current_context()
        seen.append(context and context.user_id)
        return {"said": []}

    builder: Any = StateGraph(State)
    for name in "abcd":
        builder.add_node(name, node)
        builder.add_edge(START, name)
    graph = builder.compile(checkpointer=OwnedCheckpointer(InMemorySaver()))
    with use_context(alice()):
        graph.invoke({"said": []}, THREAD)

        assert graph.get_state(THREAD).next == ()
        assert len(list(graph.get_state_history(THREAD))) == 3


def test_a_store_finds_and_lists_ones_own_items_only(store: BaseStore) -> None:
    """Long-term memory: search with an empty prefix is everybody's in a bare store."""
    owned = OwnedStore(store)
    for who in (alice(), carol(), bob()):
        with use_context(who):
            owned.put(("memories",), "1", {"text": f"{who.user_id}'s"})
            owned.put(("memories", "deep"), "2", {"text": f"{who.user_id}'s"})
    assert len(store.search(())) == 6

    with use_context(bob()):
        assert {item.value["text"] for item in owned.search((), limit=50)} == {"bob's"}
        assert {item.namespace for item in owned.search(())} == {
            ("memories",),
            ("memories", "deep"),
        }
        assert owned.list_namespaces() == [("memories",), ("memories", "deep")]
        assert owned.list_namespaces(max_depth=1) == [("memories",)]
        assert owned.list_namespaces(prefix=("memories", "deep")) == [("memories", "deep")]
        assert owned.list_namespaces(suffix=("deep",)) == [("memories", "deep")]
        found = owned.get(("memories",), "1")
        assert found is not None
        assert found.value["text"] == "bob's"
        owned.delete(("memories",), "1")
        assert owned.get(("memories",), "1") is None
        for who in (alice(), carol()):
            path = (owner_label(who), "memories")
            assert owned.search(path) == []
            assert owned.list_namespaces(prefix=path) == []
            assert owned.get(path, "1") is None
        for text in ("_" * 41, "%", "?" * 41):
            assert owned.search((text,)) == []
        with pytest.raises(InvalidNamespaceError):
            owned.put((".",), "1", {})
    with use_context(alice()):
        found = owned.get(("memories",), "1")
        assert found is not None
        assert found.value["text"] == "alice's"
    with pytest.raises(ContextMissingError):
        owned.search(())


async def test_a_node_uses_the_store_of_whoever_runs_it() -> None:
    """The store arrives in nodes through the runtime; async calls pass the same wall."""
    owned = OwnedStore(InMemoryStore())

    async def remember(_state: State, *, store: BaseStore) -> dict[str, list[str]]:
        await store.aput(("facts",), str(uuid.uuid4()), {"of": require_context("n").user_id})
        return {"said": [item.value["of"] for item in await store.asearch(())]}

    builder: Any = StateGraph(State)
    builder.add_node("remember", remember)
    builder.add_edge(START, "remember")
    graph = builder.compile(store=owned)
    for who in (alice(), bob()):
        with use_context(who):
            assert (await graph.ainvoke({"said": []}))["said"] == [who.user_id]


class LeakyStore(InMemoryStore):
    """Answers every search with everything."""

    def batch(self, ops: Any) -> Any:
        return super().batch(
            [op._replace(namespace_prefix=()) if hasattr(op, "offset") else op for op in ops]
        )


def test_a_store_that_ignores_its_prefix_is_not_believed() -> None:
    """Negative control: what comes back is looked at as well."""
    owned = OwnedStore(LeakyStore())
    with use_context(alice()):
        owned.put(("m",), "1", {})
    with use_context(bob()), pytest.raises(ContextContaminationError):
        owned.search(("m",))


@pytest.mark.parametrize("guarded", [True, False], ids=["owned", "bare"])
def test_cached_node_results_are_found_by_their_owner_only(*, guarded: bool) -> None:
    """A bare cache answers the second tenant's same question with the first one's rows."""
    bare: Any = InMemoryCache()
    calls: list[str] = []

    def node(_state: State) -> dict[str, list[str]]:
        calls.append(require_context("n").user_id)
        return {"said": [f"rows of {calls[-1]}"]}

    builder: Any = StateGraph(State)
    builder.add_node("node", node, cache_policy=CachePolicy())
    builder.add_edge(START, "node")
    cache = OwnedNodeCache(bare) if guarded else bare
    graph = builder.compile(cache=cache)
    answers = {}
    for who in (alice(), alice(), bob()):
        with use_context(who):
            answers[who.user_id] = graph.invoke({"said": ["same question"]})["said"][1]

    if guarded:
        assert answers == {"alice": "rows of alice", "bob": "rows of bob"}
        assert calls == ["alice", "bob"]
        with use_context(alice()), pytest.raises(ConfigError):
            cache.clear()
    else:
        assert answers["bob"] == "rows of alice"  # negative control


@pytest.mark.parametrize(
    "build",
    [
        lambda: OwnedCheckpointer(None),  # type: ignore[arg-type]
        lambda: OwnedCheckpointer(InMemorySaver(), owned_by="team"),  # type: ignore[arg-type]
        lambda: OwnedStore({}),  # type: ignore[arg-type]
        lambda: OwnedNodeCache({}),  # type: ignore[arg-type]
    ],
    ids=["no-checkpointer", "unknown-owner", "no-store", "no-cache"],
)
def test_bad_arguments_are_refused_when_built(build: Callable[[], object]) -> None:
    """Not in the first request."""
    with pytest.raises(ConfigError):
        build()
