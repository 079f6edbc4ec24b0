"""A plan's steps, as plain values that are printed, stored and run from the store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from asgi_guard.rls.adoption.spec import Stage

__all__ = ["Action", "Check", "Step"]


@dataclass(frozen=True, slots=True)
class Action:
    """Statements that are run together.

    Args:
        statements: SQL.
        alone: Outside a transaction, one by one: what builds or validates without a long lock.
            Each may be run again after it was killed.
        index: The index that an ``alone`` action builds: an invalid one, left by a build that
            was killed, is dropped first.
    """

    statements: tuple[str, ...]
    alone: bool = False
    index: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A query that must count nothing before a step goes on, and what is wrong where it does."""

    query: str
    problem: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done, and how it is taken back.

    Args:
        stage: Where it belongs.
        table: What it is about.
        title: What it does, in words; unique together with the table.
        forward: What is run.
        backward: What takes it back; nothing where there is nothing to take back.
        checks: What must hold first.
        fill: Tables whose rows are filled in batches, with the SQL of a row's tenant.
    """

    stage: Stage
    table: str
    title: str
    forward: tuple[Action, ...] = ()
    backward: tuple[Action, ...] = ()
    checks: tuple[Check, ...] = ()
    fill: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Step:
        """Read what `to_json` wrote."""
        raw: dict[str, Any] = json.loads(text)
        return cls(
            stage=raw["stage"],
            table=raw["table"],
            title=raw["title"],
            forward=_actions(raw["forward"]),
            backward=_actions(raw["backward"]),
            checks=tuple(Check(**item) for item in raw["checks"]),
            fill=tuple((table, source) for table, source in raw["fill"]),
        )

    def script(self) -> str:
        """Return what it runs, for a reader."""
        lines = [f"-- [{self.stage}] {self.table}: {self.title}"]
        for action in self.forward:
            lines += [f"{statement};" for statement in action.statements]
        lines += [f"-- in batches: UPDATE {table} … = {source}" for table, source in self.fill]
        return "\n".join(lines)


def _actions(raw: list[dict[str, Any]]) -> tuple[Action, ...]:
    return tuple(Action(tuple(item["statements"]), item["alone"], item["index"]) for item in raw)
