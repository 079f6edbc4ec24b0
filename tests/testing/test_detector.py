"""The detector reports what two tenants' code touches, and nothing else."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import os
import pickle
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.tenancy import propagate, use_context
from asgi_guard.testing import (
    ContaminationError,
    TenantDetector,
    detect_shared,
    tenant_bound,
)
from tests.support.agents_people import alice, bob, carol


class Agent:
    """The classic: one for the process, and the conversation in it."""

    model = "stub"

    def __init__(self) -> None:
        self.messages: list[str] = []

    def run(self, question: str) -> list[str]:
        self.messages.append(question)
        return self.messages

    def __len__(self) -> int:
        return len(self.messages)


shared_agent = Agent()
CONFIG = MappingProxyType({"model": "stub"})


def handle(question: str) -> list[str]:
    """A handler that uses the module's agent, found by name at each call."""
    return shared_agent.run(f"{CONFIG['model']}: {question}")


def serve(question: str) -> list[str]:
    """A handler that behaves: an agent for each call."""
    return Agent().run(f"{CONFIG['model']}: {question}")


NAME = f"{__name__}.shared_agent"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the module be found by its name, as an app's modules are."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())


def _this() -> Any:
    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


def test_a_shared_object_is_reported_with_both_stacks() -> None:
    """The report must lead to both places in the code, or nobody can mend it."""
    shared: list[str] = []

    def first(log: list[str]) -> None:
        log.append("alice's")

    def second(log: list[str]) -> str:
        return log[0]

    with pytest.raises(ContaminationError) as caught, detect_shared() as detector:  # noqa: PT012 - the block's end raises
        log = detector.watch(shared, "the log")
        with use_context(alice()):
            first(log)
        with use_context(bob()):
            second(log)

    (found,) = caught.value.found
    assert (found.first.user_id, found.second.user_id) == ("alice", "bob")
    assert "in first\n    log.append" in found.first.stack
    assert "in second\n    return log[0]" in found.second.stack
    told = str(caught.value)
    assert told.startswith("CONTEXT_CONTAMINATION: the log was touched under two contexts.")
    assert found.first.stack in told
    assert found.second.stack in told
    assert "asgi_guard/testing" not in told, "the detector's own frames help nobody"


TOUCHES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "get-item": (lambda: {"a": 1}, lambda it: it["a"]),
    "set-item": (dict, lambda it: it.__setitem__("b", 2)),
    "contains": (lambda: {"a": 1}, lambda it: "a" in it),
    "iterate": (lambda: [1, 2], list),
    "length": (Agent, len),
    "bool": (list, bool),
    "equality": (list, lambda it: it == []),
    "in-place": (list, lambda it: it.__iadd__([1])),
    "get-attribute": (Agent, lambda it: it.messages),
    "set-attribute": (Agent, lambda it: setattr(it, "messages", [])),
    "method": (Agent, lambda it: it.run("x")),
    "call": (lambda: lambda: 1, lambda it: it()),
    "unpack": (lambda: {"a": 1}, lambda it: {**it}),
    "copy": (list, copy.copy),
    "deep-copy": (list, copy.deepcopy),
    "pickle": (list, pickle.dumps),
    "with": (threading.Lock, lambda it: it.__enter__() and it.__exit__(None, None, None)),
}


@pytest.mark.parametrize("kind", TOUCHES)
def test_every_kind_of_touch_is_seen(kind: str) -> None:
    """One that is missed is the one by which a leak goes on."""
    make, touch = TOUCHES[kind]
    detector = TenantDetector()
    it = detector.watch(make())
    with use_context(alice()):
        touch(it)
    assert detector.found == ()
    with use_context(bob()):
        touch(it)
    assert len(detector.found) == 1


def test_control_nothing_watched_is_nothing_found() -> None:
    """Negative control: the same two touches of the bare object."""
    shared: list[int] = []
    with detect_shared():
        for who in (alice(), bob()):
            with use_context(who):
                shared.append(1)
    assert shared == [1, 1]


def test_a_singleton_is_watched_by_its_name_and_put_back() -> None:
    """Most leaks sit in a module."""
    module = sys.modules[__name__]
    before = module.shared_agent
    with pytest.raises(ContaminationError, match="shared_agent"), detect_shared(NAME):  # noqa: PT012 - as above
        for who in (alice(), bob()):
            with use_context(who):
                module.shared_agent.run("what is left?")
    assert module.shared_agent is before


def test_a_patched_class_tells_its_instances_apart() -> None:
    """One agent for each user is right; one that both touch is not."""
    with detect_shared(Agent) as detector:
        agents = {}
        for who in (alice(), bob()):
            with use_context(who):
                agents[who.user_id] = Agent()
                agents[who.user_id].run("x")
        assert detector.found == ()
    agents["alice"].run("no longer watched")

    with pytest.raises(ContaminationError, match="a Agent"), detect_shared(Agent):  # noqa: PT012 - as above
        with use_context(alice()):
            agent = Agent()
        with use_context(bob()):
            len(agent)
    assert "__getattribute__" not in vars(Agent)
    assert Agent().run("x") == ["x"]


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: int = 1


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int = 1


class Inherits(Agent):
    pass


class OfABuiltin(dict[str, int]):
    pass


@pytest.mark.parametrize(
    ("cls", "touch"),
    [
        (Frozen, lambda it: it.a),
        (Slotted, lambda it: it.a),
        (Inherits, len),
        (OfABuiltin, lambda it: "a" in it),
        (OfABuiltin, lambda it: it.get("a")),
    ],
    ids=["frozen", "slots", "inherited", "builtin-operator", "builtin-method"],
)
def test_every_kind_of_class_can_be_watched(cls: type, touch: Callable[[Any], Any]) -> None:
    """Whoever makes an object is the first to touch it; inherited methods touch it as well."""
    detector = TenantDetector()
    detector.watch_class(cls)
    with use_context(alice()):
        it = cls()
        touch(it)
    with use_context(bob()):
        touch(cls())
        assert detector.found == ()
        touch(it)
    detector.close()
    assert len(detector.found) == 1


async def test_a_well_behaved_app_gives_no_false_alarm() -> None:
    """A detector that cries wolf is switched off: tasks, threads, shared constants, start-up."""
    with detect_shared(Agent, allow=(CONFIG,)) as detector:
        config = detector.watch(CONFIG)
        assert config is CONFIG
        started: Any = detector.watch({"built": "at start-up"})
        started["port"] = 1

        async def request(who: Any) -> None:
            with use_context(who):
                mine: Any = detector.watch([])
                for _ in range(50):
                    mine.append(serve("x"))
                    await asyncio.sleep(0)
                    await asyncio.to_thread(mine.append, 1)
                thread = threading.Thread(target=propagate(mine.append), args=(2,))
                thread.start()
                thread.join()

        await asyncio.gather(*map(request, (alice(), bob(), carol())))
        started["port"] = 2
    assert detector.found == ()


async def test_touches_from_tasks_and_threads_count_for_their_owners() -> None:
    """Interleaved, and from a pool: one report for each object, whoever comes when."""
    detector = TenantDetector()
    shared = detector.watch({})

    async def request(who: Any) -> None:
        with use_context(who):
            for number in range(20):
                shared[number] = who.user_id
                await asyncio.to_thread(shared.get, number)

    await asyncio.gather(request(alice()), request(bob()))
    (found,) = detector.found
    assert {found.first.user_id, found.second.user_id} == {"alice", "bob"}


def test_ids_used_again_are_not_confused() -> None:
    """Python gives a dead object's address to the next one, of another tenant."""
    with detect_shared(Agent) as detector:
        for number in range(500):
            with use_context(alice() if number % 2 else bob()):
                Agent().run("x")
        gc.collect()
        assert detector.found == ()


def test_two_users_of_a_tenant_may_share_unless_told_otherwise() -> None:
    """Tenants are the promise; users are a choice."""
    for track, expected in (("tenant", 0), ("user", 1)):
        detector = TenantDetector(track=track)  # type: ignore[arg-type]
        shared = detector.watch([])
        for who in (alice(), carol()):
            with use_context(who):
                shared.append(1)
        assert len(detector.found) == expected


def test_it_raises_where_it_happens_when_asked() -> None:
    """With a debugger at the second touch."""
    detector = TenantDetector(on_touch="raise")
    shared = detector.watch([])
    with use_context(alice()):
        shared.append(1)
    with use_context(bob()), pytest.raises(ContaminationError):
        shared.append(2)
    assert len(shared) == 1


def test_a_bound_class_answers_its_first_owner_alone() -> None:
    """For classes that one knows to be a run's."""

    @tenant_bound(allow=("model",))
    class Conversation(Agent):
        pass

    with use_context(alice()):
        conversation = Conversation()
        conversation.run("mine")
    with use_context(carol()):
        assert conversation.model == "stub"
        with pytest.raises(ContaminationError):
            conversation.run("hers")
        assert Conversation().run("own") == ["own"]


def test_a_wrapper_is_taken_for_what_it_wraps() -> None:
    """Code under test must not notice that it is watched."""
    detector = TenantDetector()
    agent = detector.watch(Agent())
    assert isinstance(agent, Agent)
    assert repr(detector.watch([1])) == "[1]"
    assert detector.watch([1]) == [1]
    assert detector.watch({"a": 1}) | {"b": 2} == {"a": 1, "b": 2}
    assert detector.watch(2) + detector.watch(3) == 5
    assert not callable(detector.watch([]))
    with pytest.raises(TypeError, match="unhashable"):
        hash(detector.watch([]))
    assert detector.watch(agent) is agent
    items = detector.watch([1])
    items += [2]
    assert len(items) == 2
    with use_context(alice()):
        items += [3]
    with use_context(bob()):
        items += [4]
    assert len(detector.found) == 1, "still watched after +="
    assert type(copy.copy(items)) is type(pickle.loads(pickle.dumps(items))) is list  # noqa: S301 - our own
    assert weakref.ref(agent)() is agent


@pytest.mark.parametrize(
    "build",
    [
        lambda: TenantDetector(on_touch="log"),  # type: ignore[arg-type]
        lambda: TenantDetector(track="all"),  # type: ignore[arg-type]
        lambda: TenantDetector().watch_name("no.such.module"),
        lambda: TenantDetector().watch_name("collections.OrderedDict"),
        lambda: TenantDetector().watch_class(dict),
        lambda: tenant_bound(3),  # type: ignore[call-overload]
    ],
    ids=["on-touch", "track", "name", "class-by-name", "builtin", "no-class"],
)
def test_bad_arguments_are_refused_when_built(build: Callable[[], object]) -> None:
    """Not silently watching nothing."""
    with pytest.raises(ConfigError):
        build()


def test_the_fixture_gives_a_detector(tenant_detector: TenantDetector) -> None:
    """It comes with the plugin."""
    shared = tenant_detector.watch([])
    with use_context(alice()):
        shared.append(1)


def test_the_fixture_fails_the_test_at_its_end(tmp_path: Path) -> None:
    """Also when the app swallowed everything."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["asgi_guard.testing.plugin"]\n')
    (tmp_path / "test_shared.py").write_text(
        """
from asgi_guard.tenancy import UserExecutionContext, use_context

def test_shared(tenant_detector):
    shared = tenant_detector.watch([])
    for tenant in "ab":
        with use_context(UserExecutionContext(tenant_id=tenant, user_id="u")):
            shared.append(tenant)
"""
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "1 passed, 1 error" in told
    assert "CONTEXT_CONTAMINATION: a list was touched under two contexts." in told
