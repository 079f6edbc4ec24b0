"""A class whose instances note each touch, for as long as it is patched."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, Final

from asgi_guard.errors import ConfigError
from asgi_guard.testing.touches import Ledger, Touches

__all__ = ["patch_class"]

# What Python itself asks of any object: to show it, to compare its kind, to end it.
_QUIET: Final = frozenset({"__class__", "__dict__", "__repr__", "__str__", "__del__", "__doc__"})
_UNPATCHED: Final = _QUIET | {
    "__annotate__",
    "__annotate_func__",
    "__class_getitem__",
    "__delattr__",
    "__dir__",
    "__eq__",
    "__format__",
    "__getattr__",
    "__getattribute__",
    "__hash__",
    "__init_subclass__",
    "__new__",
    "__setattr__",
    "__set_name__",
    "__sizeof__",
    "__subclasshook__",
}
_METHODS: Final = (FunctionType, MethodDescriptorType, WrapperDescriptorType)


def patch_class(
    cls: type, touches: Touches, allow: frozenset[str], skips: Callable[[object], bool]
) -> Callable[[], None]:
    """Patch *cls*: its making, its attributes and its special methods.

    Args:
        cls: A class written in Python.
        touches: Where touches go.
        allow: Attributes that may be read by everybody; setting them is a touch all the same.
        skips: Says which instances are shared on purpose.

    Returns:
        A function that puts back what was there.

    Raises:
        ConfigError: *cls* cannot be patched.
    """
    ledgers = _Ledgers(cls.__qualname__)

    def note(instance: Any, action: str) -> None:
        if not skips(instance):
            touches.record(ledgers.of(instance), action)

    replaced = {name: vars(cls).get(name, ledgers) for name in _names(cls)}
    try:
        for name in replaced:
            setattr(cls, name, _noting(cls, name, note, allow))
    except TypeError as error:
        raise ConfigError(
            "watch_class", f"{cls.__qualname__} is not written in Python", "Watch its instances."
        ) from error

    def undo() -> None:
        for name, before in replaced.items():
            if before is ledgers:
                delattr(cls, name)
            else:
                setattr(cls, name, before)

    return undo


class _Ledgers:
    """One ledger for each living instance.

    By id, and the id is forgotten with its instance: Python gives it to another one soon after.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept: dict[int, tuple[Any, Ledger]] = {}

    def of(self, instance: Any) -> Ledger:
        key = id(instance)
        known = self._kept.get(key)
        if known is not None:
            return known[1]
        try:
            held: Any = weakref.ref(instance, lambda _: self._kept.pop(key, None))
        except TypeError:  # slots without __weakref__: kept alive, so that its id stays its own
            held = instance
        return self._kept.setdefault(key, (held, Ledger(f"a {self._name}")))[1]


def _names(cls: type) -> list[str]:
    special = {
        name
        for base in cls.__mro__
        if base is not object
        for name, value in vars(base).items()
        if name.startswith("__") and isinstance(value, _METHODS) and name not in _UNPATCHED
    }
    # Whoever makes an object touches it; frozen dataclasses set attributes past __setattr__.
    # Where there is no __init__ Python would refuse the arguments of __new__ to ours.
    made = {"__init__"} if cls.__init__ is not object.__init__ else set()  # type: ignore[misc]
    return sorted({"__getattribute__", "__setattr__", "__delattr__"} | made | special)


def _noting(
    cls: type, name: str, note: Callable[[Any, str], None], allow: frozenset[str]
) -> Callable[..., Any]:
    original = getattr(cls, name)
    quiet = _QUIET | allow if name == "__getattribute__" else frozenset()
    reads = name in {"__getattribute__", "__setattr__", "__delattr__"}

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not (reads and args and args[0] in quiet):
            note(self, f"{name} {args[0]}" if reads and args else name)
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method
