"""A page of ``docs/`` as code: its Python blocks, run in order in one namespace."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard.rls import password_statement
from asgi_guard.secret import Secret
from asgi_guard.testing import PostgresDatabase

__all__ = ["Page", "as_role", "prepare", "tutorial_models"]

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_ROLES = ("app_runtime", "app_system")


class Page:
    """One page; where it names a database, the test's own stands in.

    Args:
        name: File name below ``docs/``.
        database: The test's own, if the page needs one.
        names: What the page takes from the tutorial.
    """

    def __init__(self, name: str, database: PostgresDatabase | None = None, **names: Any) -> None:
        self.path = _DOCS / name
        self.text = self.path.read_text(encoding="utf-8")
        self.blocks = re.findall(r"```python\n(.*?)```", self.text, re.DOTALL)
        self.names: dict[str, Any] = {"__name__": self.path.stem, **names}
        self._database = database

    def run(self, *numbers: int) -> dict[str, Any]:
        """Run the blocks with these *numbers*, counted from 1; all of them by default."""
        for number in numbers or range(1, len(self.blocks) + 1):
            code = compile(self._here(self.blocks[number - 1]), str(self.path), "exec", 0, True)
            exec(code, self.names)  # noqa: S102 - our page
        return self.names

    def _here(self, block: str) -> str:
        if self._database is None:
            return block
        for role in _ROLES:
            url = as_role(self._database, role)
            block = block.replace(f"postgresql+asyncpg://{role}:secret@db/app", url)
            plain = url.replace("+asyncpg", "", 1)
            block = block.replace(f"postgresql://{role}:secret@db/app", plain)
        return block


def as_role(database: PostgresDatabase, role: str) -> str:
    """Give the SQLAlchemy URL of *role*, whose password is ``secret``."""
    url = make_url(database.dsn(user=role, password="secret"))
    return url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


def tutorial_models() -> dict[str, Any]:
    """Give what the tutorial's first two steps make: ``Base``, ``Note``, ``policies``."""
    names = Page("tutorial.md").run(1, 2)
    return {name: names[name] for name in ("Base", "Note", "policies")}


async def prepare(database: PostgresDatabase, names: dict[str, Any], *more: str) -> None:
    """Make the tables, policies and passwords, as an administrator; then run *more*."""
    admin = create_async_engine(make_url(database.dsn()).set(drivername="postgresql+asyncpg"))
    async with admin.begin() as connection:
        await connection.run_sync(names["Base"].metadata.create_all)
        await connection.run_sync(names["policies"].apply)
        for role in _ROLES:
            await connection.exec_driver_sql(password_statement(role, Secret("secret")))
        for statement in more:
            await connection.exec_driver_sql(statement)
    await admin.dispose()
