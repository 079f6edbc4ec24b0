"""Recording the statements that SQLAlchemy sends, for the operator lint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

__all__ = ["record_statements"]


@contextmanager
def record_statements() -> Iterator[list[str]]:
    """Give a list that each statement of every engine is added to, once, while the block lasts.

    Compiled, with placeholders where values go: no value is kept.
    """
    seen: dict[str, None] = {}
    listed: list[str] = []

    def add(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement not in seen:
            seen[statement] = None
            listed.append(statement)

    event.listen(Engine, "before_cursor_execute", add)
    try:
        yield listed
    finally:
        event.remove(Engine, "before_cursor_execute", add)
