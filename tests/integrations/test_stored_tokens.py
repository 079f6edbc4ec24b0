"""Stored tokens are signed anew while the app goes on; what it changes meanwhile is its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard.auth.jose import Resigner
from asgi_guard.auth.jose.resigner import Resigned
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.stored_tokens import StoredTokenFile, StoredTokenTable, Tally
from asgi_guard.secret import Secret
from tests.support.jose_tokens import NOW, access_claims, signing_key
from tests.support.tenancy_world import MovedClock

SECRET = "an old secret that every service has had for years"


class Interrupted(Resigner):
    """A resigner that lets something happen when it is asked first."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__(secret=Secret(SECRET), key=signing_key(), clock=MovedClock())
        self.meanwhile: Callable[[], None] | None = meanwhile

    def resign(self, token: str) -> Resigned:
        happening, self.meanwhile = self.meanwhile, None
        if happening is not None:
            happening()
        return super().resign(token)


def stored(jti: str) -> str:
    return jwt.encode(access_claims(exp=NOW + 3600, jti=jti), SECRET, "HS256")


def ignore(_tally: Tally) -> None:
    """Take no note of the progress."""


async def test_a_token_that_the_app_rotates_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    """It was used: brought back, it would be a replay of our own making."""
    app = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with app.begin() as connection:
        connection.execute(text("CREATE TABLE kept (id INTEGER PRIMARY KEY, token TEXT)"))
        for number in (1, 2):
            connection.execute(
                text("INSERT INTO kept VALUES (:id, :t)"), {"id": number, "t": stored(str(number))}
            )

    def rotate() -> None:
        with app.begin() as connection:
            connection.execute(text("UPDATE kept SET token = 'rotated' WHERE id = 1"))

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")
    table = StoredTokenTable(engine, "kept")
    tally = await table.resign(Interrupted(rotate), batch=10, dry_run=False, tell=ignore)
    await engine.dispose()

    assert {name: count for name, count in tally.items() if count} == {"changed": 1, "resigned": 1}
    with app.connect() as connection:
        rows = [row[0] for row in connection.execute(text("SELECT token FROM kept ORDER BY id"))]
    app.dispose()
    assert rows[0] == "rotated"
    assert jwt.get_unverified_header(rows[1])["alg"] == "ES256"


async def test_a_file_that_the_app_writes_to_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """The token that was added last would be gone."""
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text(stored("1") + "\n")
    added = stored("2")

    def add() -> None:
        file.write_text(file.read_text() + added + "\n")

    with pytest.raises(ConfigError, match="meanwhile"):
        await StoredTokenFile(file).resign(Interrupted(add), batch=1, dry_run=False, tell=ignore)
    assert added in file.read_text()


async def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Its tokens are no secrets any more."""
    file = tmp_path / "tokens"
    file.write_text(stored("1"))
    file.chmod(0o644)

    with pytest.raises(ConfigError, match="0644"):
        await StoredTokenFile(file).count()


async def test_an_unreachable_database_names_no_token(tmp_path: Path) -> None:
    """SQLAlchemy's own message quotes what was bound."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'none.db'}")
    table = StoredTokenTable(engine, "missing")

    with pytest.raises(UnavailableError) as caught:
        await table.count()
    await engine.dispose()
    assert "SELECT" not in f"{caught.value} {caught.value.__cause__}"
