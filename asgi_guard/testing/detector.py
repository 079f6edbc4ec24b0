"""A detector for tests: an object that two tenants' code touches is reported, with both stacks.

What leaks between tenants without any query is an object: the agent that was made once, the list
in a module, the client that remembers its last caller. A test that runs the app for two tenants
and watches those objects finds them::

    def test_nothing_is_shared(client, tenant_detector):
        tenant_detector.watch_name("app.agents.support_agent")
        tenant_detector.watch_class(Conversation)
        client.get("/ask", headers=ALICE)
        client.get("/ask", headers=BOB)  # the fixture fails the test at its end
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar, cast, overload

from asgi_guard.errors import ConfigError
from asgi_guard.testing.patched import patch_class
from asgi_guard.testing.proxy import is_watched, watched
from asgi_guard.testing.touches import Contamination, OnTouch, Touches, Track

__all__ = ["TenantDetector", "detect_shared", "tenant_bound"]

T = TypeVar("T")


class TenantDetector:
    """Watches objects from the first touch on, until `close`.

    Code that runs under no context (start-up, the test itself) touches nothing. An expired
    context counts as the user it was.

    Args:
        on_touch: ``"collect"``: keep what is found, for `check`; ``"raise"``: raise
            `ContaminationError` where the second owner's code touches, which the app may swallow.
        track: ``"tenant"``: two users of a tenant may share an object; ``"user"``: they may not.
        allow: What is shared on purpose, e.g. the configuration: these objects are never reported.

    Raises:
        ConfigError: An option is unknown.
    """

    def __init__(
        self,
        *,
        on_touch: OnTouch = "collect",
        track: Track = "tenant",
        allow: tuple[object, ...] = (),
    ) -> None:
        for setting, value, known in (
            ("on_touch", on_touch, ("collect", "raise")),
            ("track", track, ("tenant", "user")),
        ):
            if value not in known:
                raise ConfigError(f"TenantDetector({setting})", f"{value!r} is unknown", f"{known}")
        self._touches = Touches(on_touch, track)
        self._allowed = list(allow)  # kept alive: ids are used again
        self._undo = ExitStack()

    @property
    def found(self) -> tuple[Contamination, ...]:
        """What has been seen so far."""
        return tuple(self._touches.found)

    def check(self) -> None:
        """Fail if anything has been found.

        Raises:
            ContaminationError: With both stacks of each.
        """
        self._touches.check()

    def close(self) -> None:
        """Put back what was replaced. Objects that were handed out stay wrapped."""
        self._undo.close()

    def watch(self, target: T, name: str = "") -> T:
        """Return *target* in a wrapper that notes each touch; use it in the place of *target*.

        Items, attributes, calls, iteration, operators: everything that goes through the wrapper.
        ``isinstance`` and ``==`` answer as before; a copy or a pickle of it is a plain one.

        Args:
            target: Any object, e.g. a dict, a list, an agent.
            name: For the report; its type by default.
        """
        if is_watched(target) or any(target is each for each in self._allowed):
            return target
        named = name or f"a {type(target).__qualname__}"
        return cast("T", watched(target, self._touches, named))

    def watch_name(self, dotted: str) -> None:
        """Replace a module's or class's attribute by its watched self, until `close`.

        Args:
            dotted: E.g. ``"app.agents.support_agent"``. Modules that took the object over with
                ``from app.agents import support_agent`` keep the bare one: name it there.

        Raises:
            ConfigError: There is no such attribute, or it is a class (see `watch_class`).
        """
        owner, attribute = _find(dotted)
        target = getattr(owner, attribute)
        if isinstance(target, type):
            raise ConfigError(
                "TenantDetector.watch_name", f"{dotted!r} is a class", "Use watch_class."
            )
        setattr(owner, attribute, self.watch(target, dotted))
        self._undo.callback(setattr, owner, attribute, target)

    def watch_class(self, cls: type, *, allow: tuple[str, ...] = ()) -> None:
        """Note each touch of every instance of *cls*, until `close`.

        Args:
            cls: A class written in Python; its attributes are watched, and its special methods.
            allow: Attributes that may be read by everybody, e.g. settings.

        Raises:
            ConfigError: It cannot be patched: a builtin, or one written in C.
        """
        self._undo.callback(patch_class(cls, self._touches, frozenset(allow), self._skips))

    def _skips(self, instance: object) -> bool:
        return any(instance is each for each in self._allowed)


@contextmanager
def detect_shared(
    *targets: str | type,
    on_touch: OnTouch = "collect",
    track: Track = "tenant",
    allow: tuple[object, ...] = (),
) -> Iterator[TenantDetector]:
    """Watch *targets* in a block, and raise at its end if two owners touched one of them.

    ::

        with detect_shared("app.agents.support_agent", Conversation):
            await run_for(alice)
            await run_for(bob)

    Args:
        *targets: Dotted names and classes; more with ``watch`` of what the block gives.
        on_touch: See `TenantDetector`.
        track: The same.
        allow: The same.

    Raises:
        ConfigError: A target cannot be watched.
        ContaminationError: Something was found.
    """
    detector = TenantDetector(on_touch=on_touch, track=track, allow=allow)
    try:
        for each in targets:
            if isinstance(each, str):
                detector.watch_name(each)
            else:
                detector.watch_class(each)
        yield detector
    finally:
        detector.close()
    detector.check()


@overload
def tenant_bound(cls: type[T], /) -> type[T]: ...
@overload
def tenant_bound(
    *, track: Track = ..., allow: tuple[str, ...] = ...
) -> Callable[[type[T]], type[T]]: ...


def tenant_bound(cls: Any = None, /, *, track: Track = "user", allow: tuple[str, ...] = ()) -> Any:
    """Decorate a class so that each of its instances answers the first owner alone, for good.

    For classes of tests and of staging: a touch costs some microseconds. In production use
    `asgi_guard.tenancy.ExecutionState`.

    Args:
        cls: The class, when used as plain ``@tenant_bound``.
        track: ``"user"``: the first user; ``"tenant"``: the first tenant.
        allow: Attributes that everybody may read.

    Raises:
        ConfigError: It is no class, or cannot be patched.
    """

    def bind(each: Any) -> Any:
        if not isinstance(each, type):
            raise ConfigError("tenant_bound", f"{each!r} is no class", "Decorate a class.")
        patch_class(each, Touches("raise", track), frozenset(allow), lambda _: False)
        return each

    return bind if cls is None else bind(cls)


def _find(dotted: str) -> tuple[Any, str]:
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:cut]))
            for name in parts[cut:-1]:
                owner = getattr(owner, name)
            getattr(owner, parts[-1])
        except (ImportError, AttributeError):
            continue
        return owner, parts[-1]
    raise ConfigError("watch_name", f"{dotted!r} is not there", "Write 'package.module.name'.")
