"""Tokens that an app has stored, in a file or a table, signed anew in batches.

Killed at any point, a run has done some of its batches whole and the others not at all, and the
next run goes on: a token that is signed already is left as it is.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from sqlalchemy import ColumnClause, bindparam, column, func, select, table, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard._internal.private_files import read_private, replace_private
from asgi_guard.auth.jose import Resigner
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.secret import Secret

__all__ = ["StoredTokenFile", "StoredTokenTable", "Tally"]

Tally = Counter[str]
"""How many tokens were ``resigned``, ``done`` before, ``expired``, ``refused`` or ``changed``."""

_LONGEST_FILE: Final = 1 << 30
_MOST_AT_ONCE: Final = 10_000


class StoredTokenFile:
    """A file of mode 0600 with one token per line, which nobody writes to meanwhile.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def count(self) -> int:
        """Return how many lines hold something.

        Raises:
            ConfigError: The file is open to others, a link, or not there.
        """
        return sum(1 for line in self._lines() if line.strip())

    async def resign(
        self,
        resigner: Resigner,
        *,
        batch: int,
        dry_run: bool,
        tell: Callable[[Tally], None],
    ) -> Tally:
        """Sign the tokens anew and put the new file in the old one's place, whole.

        Args:
            resigner: Signs.
            batch: After how many lines *tell* is called.
            dry_run: Change nothing, and tell what would be.
            tell: Takes the tally so far.

        Raises:
            ConfigError: The file is open to others, or was written to meanwhile.
        """
        _check_batch(batch)
        tally, written, before = Tally(), [], self._stamp()
        lines = self._lines()
        for start in range(0, len(lines), batch):
            some = lines[start : start + batch]
            written += await asyncio.to_thread(_resigned_lines, resigner, some, tally)
            tell(tally)
        if dry_run or not tally["resigned"]:
            return tally
        if self._stamp() != before:
            raise ConfigError(str(self._path), "was written to meanwhile", "Stop that, and retry.")
        content = "\n".join(written).encode()
        await asyncio.to_thread(replace_private, self._path, content)
        return tally

    def _lines(self) -> list[str]:
        try:
            content = read_private(self._path, limit=_LONGEST_FILE)
        except FileNotFoundError:
            raise ConfigError(str(self._path), "is not there", "Name the file.") from None
        return content.decode("utf-8", "surrogateescape").split("\n")

    def _stamp(self) -> tuple[int, int, int]:
        found = os.lstat(self._path)
        return found.st_ino, found.st_mtime_ns, found.st_size


class StoredTokenTable:
    """A column of a table; rows that the app changes meanwhile are left to the app.

    Args:
        engine: Not guarded, as a role that sees all rows of the table.
        name: Of the table, with its schema if it needs one.
        id_column: Unique and ordered; rows are visited in its order.
        token_column: Holds the token as text.

    Raises:
        ConfigError: The engine is not async.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        name: str,
        *,
        id_column: str = "id",
        token_column: str = "token",  # noqa: S107 - a name
    ) -> None:
        if not isinstance(engine, AsyncEngine):
            raise ConfigError("engine", f"is a {type(engine).__name__}", "Pass an AsyncEngine.")
        schema, _, plain = name.rpartition(".")
        self._engine = engine
        self._id: ColumnClause[Any] = column(id_column)
        self._token: ColumnClause[Any] = column(token_column)
        self._table = table(plain, self._id, self._token, schema=schema or None)

    async def count(self) -> int:
        """Return how many rows hold a token.

        Raises:
            UnavailableError: The database does not answer, or there is no such table.
        """
        query = select(func.count()).select_from(self._table).where(self._token.is_not(None))
        return int((await self._run(query)).scalar_one())

    async def resign(
        self,
        resigner: Resigner,
        *,
        batch: int,
        dry_run: bool,
        tell: Callable[[Tally], None],
    ) -> Tally:
        """Sign the tokens anew, one transaction per batch; a row that changed meanwhile is left.

        Args:
            resigner: Signs.
            batch: Rows of one transaction.
            dry_run: Change nothing, and tell what would be.
            tell: Takes the tally so far.

        Raises:
            UnavailableError: The database does not answer; batches before are done.
        """
        _check_batch(batch)
        tally = Tally()
        rows = await self._after(None, batch)
        while rows:
            changes = await asyncio.to_thread(_changes, resigner, rows, tally)
            if changes and not dry_run:
                await self._write(changes, tally)
            tell(tally)
            rows = await self._after(rows[-1][0], batch)
        return tally

    async def _after(self, last: Any, batch: int) -> Sequence[tuple[Any, str]]:
        query = select(self._id, self._token).where(self._token.is_not(None))
        if last is not None:
            query = query.where(self._id > last)
        found = await self._run(query.order_by(self._id).limit(batch))
        return [(row[0], row[1]) for row in found.all()]

    async def _write(self, changes: Sequence[tuple[Any, str, Secret]], tally: Tally) -> None:
        # By compare-and-set: what the app has rotated meanwhile must not come back.
        statement = (
            update(self._table)
            .where(self._id == bindparam("row"), self._token == bindparam("old"))
            .values({self._token.name: bindparam("new")})
        )
        problem = ""
        try:
            async with self._engine.begin() as connection:
                for row, old, new in changes:
                    values = {"row": row, "old": old, "new": new.reveal()}
                    if (await connection.execute(statement, values)).rowcount != 1:
                        tally["resigned"] -= 1
                        tally["changed"] += 1
        except (SQLAlchemyError, OSError) as failure:
            problem = type(failure).__name__
        if problem:
            _fail(problem)

    async def _run(self, statement: Any) -> Any:
        problem = ""
        try:
            async with self._engine.connect() as connection:
                return await connection.execute(statement)
        except (SQLAlchemyError, OSError) as failure:
            problem = type(failure).__name__
        return _fail(problem)


def _resigned_lines(resigner: Resigner, lines: Sequence[str], tally: Tally) -> list[str]:
    written = []
    for line in lines:
        token = line.strip()
        result = resigner.resign(token) if token else None
        if result is not None:
            tally[result.outcome] += 1
        changed = None if result is None else result.token
        written.append(line if changed is None else changed.reveal())
    return written


def _changes(
    resigner: Resigner, rows: Sequence[tuple[Any, str]], tally: Tally
) -> list[tuple[Any, str, Secret]]:
    changes = []
    for row, token in rows:
        outcome, new = resigner.resign(token)
        tally[outcome] += 1
        if new is not None:
            changes.append((row, token, new))
    return changes


def _check_batch(batch: int) -> None:
    if not 1 <= batch <= _MOST_AT_ONCE:
        raise ConfigError("batch", f"is {batch}", f"Pass 1 to {_MOST_AT_ONCE}.")


def _fail(problem: str) -> NoReturn:
    """Name what went wrong by its class: SQLAlchemy's own text quotes the bound tokens.

    Call it where no error is being handled, for that would hang on this one.
    """
    failure = UnavailableError("stored_tokens_unreachable")
    failure.add_note(f"The database said: {problem}")
    raise failure
