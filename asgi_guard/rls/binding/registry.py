"""Which engines are guarded, with which variables, and which cross tenants on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from asgi_guard.rls.variables import RLSVariables

__all__ = ["AnyEngine", "EngineMark", "mark_engine", "mark_of", "sync_engine_of"]

AnyEngine = Engine | AsyncEngine


@dataclass(frozen=True, slots=True)
class EngineMark:
    """What an engine was made for.

    Args:
        variables: Names that its database uses.
        system: It crosses tenants, for `system_session`; else it is guarded.
    """

    variables: RLSVariables
    system: bool = False


# By dialect: an engine with execution options is another object with the same dialect, and
# dispose() keeps it.
_marks: WeakKeyDictionary[Dialect, EngineMark] = WeakKeyDictionary()


def sync_engine_of(engine: AnyEngine) -> Engine:
    """Give the engine under an `AsyncEngine`, or the engine itself."""
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


def mark_engine(engine: AnyEngine, mark: EngineMark) -> None:
    """Remember what *engine* was made for."""
    _marks[sync_engine_of(engine).dialect] = mark


def mark_of(handle: AnyEngine | Connection | AsyncConnection) -> EngineMark | None:
    """Tell what the engine of *handle* was made for; None for any engine not made here."""
    return _marks.get(handle.dialect)
