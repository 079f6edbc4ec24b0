"""A wrapper around one object that notes each touch and otherwise is that object.

Operators of Python look special methods up on the class, so the wrapper's class is made for the
type of its object, with the special methods that the type has and no others: ``callable``,
``iter`` and ``await`` answer as for the object itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from asgi_guard.testing.touches import Ledger, Touches

__all__ = ["is_watched", "watched"]

_GET: Final = object.__getattribute__
_SET: Final = object.__setattr__

# Not for the wrapper to pass on: making, ending and describing the wrapper itself.
_OWN: Final = frozenset(
    {
        "__class__",
        "__class_getitem__",
        "__copy__",
        "__deepcopy__",
        "__del__",
        "__delattr__",
        "__dict__",
        "__dir__",
        "__doc__",
        "__getattr__",
        "__getattribute__",
        "__getnewargs__",
        "__getnewargs_ex__",
        "__getstate__",
        "__init__",
        "__init_subclass__",
        "__module__",
        "__new__",
        "__reduce__",
        "__reduce_ex__",
        "__set_name__",
        "__setattr__",
        "__setstate__",
        "__sizeof__",
        "__slots__",
        "__subclasshook__",
        "__weakref__",
    }
)


class _Watched:
    """What every wrapper has."""

    __slots__ = ("__weakref__", "_guard_ledger", "_guard_target", "_guard_touches")

    def __getattribute__(self, name: str) -> Any:
        target = _GET(self, "_guard_target")
        if name == "__class__":  # isinstance() asks, of anything
            return type(target)
        if name in {"__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__"}:
            return _GET(self, name)
        _note(self, f"reading .{name}")
        return getattr(target, name)

    def __setattr__(self, name: str, value: object) -> None:
        _note(self, f"setting .{name}")
        setattr(_GET(self, "_guard_target"), name, value)

    def __delattr__(self, name: str) -> None:
        _note(self, f"deleting .{name}")
        delattr(_GET(self, "_guard_target"), name)

    def __dir__(self) -> list[str]:
        return dir(_GET(self, "_guard_target"))

    def __copy__(self) -> Any:
        _note(self, "copying")
        return copy.copy(_GET(self, "_guard_target"))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        _note(self, "copying")
        return copy.deepcopy(_GET(self, "_guard_target"), memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        _note(self, "pickling")
        return _GET(self, "_guard_target").__reduce_ex__(protocol)


def watched(target: Any, touches: Touches, name: str) -> Any:
    """Return *target* in a wrapper whose touches go to *touches* under *name*."""
    kind: Any = type(target)
    wrapper = _class_for(kind)()
    _SET(wrapper, "_guard_target", target)
    _SET(wrapper, "_guard_ledger", Ledger(name))
    _SET(wrapper, "_guard_touches", touches)
    return wrapper


def is_watched(value: object) -> bool:
    """Tell whether *value* is a wrapper already."""
    return issubclass(type(value), _Watched)


def _note(wrapper: Any, action: str) -> None:
    _GET(wrapper, "_guard_touches").record(_GET(wrapper, "_guard_ledger"), action)


@lru_cache(maxsize=512)
def _class_for(kind: type) -> type:
    names = {
        name
        for base in kind.__mro__
        for name in vars(base)
        if name.startswith("__") and name.endswith("__") and name not in _OWN
    }
    methods = {name: _passing_on(name) for name in names if callable(getattr(kind, name, None))}
    # A dict has no hash, and neither has its wrapper.
    hashed = {} if callable(getattr(kind, "__hash__", None)) else {"__hash__": None}
    return type(kind.__name__, (_Watched,), {"__slots__": (), **methods, **hashed})


def _passing_on(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        target = _GET(self, "_guard_target")
        if name not in {"__repr__", "__str__"}:  # a debugger's look, or pytest's, is no use
            _note(self, name)
        plain = tuple(_GET(a, "_guard_target") if is_watched(a) else a for a in args)
        found = getattr(type(target), name)(target, *plain, **kwargs)
        # `shared += [1]` binds the result again: it must stay watched.
        return self if found is target else found

    method.__name__ = name
    return method
