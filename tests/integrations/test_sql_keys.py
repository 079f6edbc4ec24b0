"""SQLKeyStore: one sealed row, one key for all processes, and nothing for whoever reads it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from typer.testing import CliRunner

from asgi_guard.auth.jose import KeyManager, KeyStore
from asgi_guard.cli.app import app
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.sql_keys import SQLKeyStore
from asgi_guard.observability import subscribe
from asgi_guard.rls import guarded_engine
from asgi_guard.vault import KeyRing, write_master_key
from tests.support.architecture.source import ROOT
from tests.support.exchange import Events
from tests.support.sql_keys_processes import (
    MASTER,
    OTHER_MASTER,
    TABLE,
    async_engine,
    key_store,
    make_table,
    manager,
)

KINDS = [
    "aiosqlite",
    pytest.param("asyncpg", marks=pytest.mark.postgres),
    pytest.param("psycopg", marks=pytest.mark.postgres),
]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of a database with an empty table, through one driver."""
    kind = getattr(request, "param", "aiosqlite")
    if kind == "aiosqlite":
        address = f"sqlite+aiosqlite:///{tmp_path}/keys.db"
    else:
        dsn: str = request.getfixturevalue("postgres_database").dsn()
        address = dsn.replace("postgresql:", f"postgresql+{kind}:", 1)
    make_table(address)
    return address


everywhere = pytest.mark.parametrize("url", KINDS, indirect=True)


@everywhere
async def test_keys_are_made_rotated_and_revoked_for_all_processes(url: str) -> None:
    """Machines without a common disk share one ring; each sees what another has done."""
    here, there = manager(url), manager(url)
    await here.open()
    await there.open()
    first = here.signing_key().kid
    assert there.signing_key().kid == first

    second = await here.rotate(immediately=True)
    await asyncio.to_thread(there.maintain)
    assert there.signing_key().kid == second
    assert there.find(first, "ES256") is not None

    await there.revoke(first)
    await asyncio.to_thread(here.maintain)
    assert here.find(first, "ES256") is None
    assert here.signing_key().kid == second


@everywhere
async def test_the_row_shows_no_key_and_keeps_none_for_another_ring(url: str) -> None:
    """Whoever reads the table or its backup must not be able to sign."""
    keys = manager(url)
    await keys.open()
    pem = keys.signing_key().pem().reveal()

    async with async_engine(url).connect() as connection:
        row = (await connection.execute(TABLE.select())).one()
    held = b"".join(bytes(each) for each in row if isinstance(each, bytes | memoryview))
    assert pem.encode()[40:80] not in held
    assert keys.signing_key().kid.encode() not in held
    other = manager(url, ring="other")
    await other.open()
    assert other.signing_key().kid != keys.signing_key().kid


def run(*arguments: str) -> list[str]:
    """Run the program of many processes and return its lines."""
    program = [sys.executable, "-m", "tests.support.sql_keys_processes", *arguments]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("url", KINDS[:2], indirect=True)
def test_eight_processes_on_one_empty_table_end_with_one_key(url: str) -> None:
    """Eight workers start at once; with eight keys, seven of eight tokens would be refused."""
    # A SQLite file is one machine's: fewer workers show the same lock.
    workers = 4 if url.startswith("sqlite") else 8
    kids = run("cold", url, str(workers))

    assert len(kids) == workers
    assert len(set(kids)) == 1


def test_the_count_of_keys_would_show_a_store_without_a_lock(url: str) -> None:
    """Negative control: the test above can fail."""
    assert len(set(run("cold", url, "4", "--careless"))) == 4


@pytest.mark.parametrize("url", KINDS[1:2], indirect=True)
def test_a_process_killed_at_any_point_leaves_a_table_that_loads(url: str) -> None:
    """SIGKILL between any two words with the database, of a first start and of a rotation."""
    ends = run("kill", url, "60")

    assert ends.count("finished kept") == 2
    assert set(ends) == {"finished kept", "killed kept"}
    assert len(ends) > 10


async def test_an_older_master_opens_the_keys_until_they_are_resealed(url: str) -> None:
    """Masters rotate as well; the keys, and the tokens they signed, must outlive that."""
    keys = manager(url)
    await keys.open()
    kid = keys.signing_key().kid
    both = key_store(url, KeyRing(OTHER_MASTER, older=[MASTER]))
    renewed = KeyManager(both, algorithm="ES256")
    await renewed.open()
    assert renewed.signing_key().kid == kid
    sink = Events()
    stop = subscribe(sink)

    assert await both.reseal()
    assert not await both.reseal()

    stop()
    assert [event.name for event in sink.seen] == ["KEYS_RESEALED"]
    alone = KeyManager(key_store(url, KeyRing(OTHER_MASTER)), algorithm="ES256")
    await alone.open()
    assert alone.signing_key().kid == kid
    with pytest.raises(ConfigError, match=r"local:.*older"):
        await manager(url).open()
    # Whoever still has the old master alone goes on with the keys it knows.
    await keys.look_again("x")
    assert keys.signing_key().kid == kid


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("envelope = CAST(substr(envelope, 1, 99) || x'00' AS BLOB)", "vault_altered"),
        ("wrapped = x'00'", "vault_altered"),
        ("version = version + 1", "vault_altered"),
        ("envelope = x''", "vault_malformed"),
        ("ring = 'other'", "vault_swapped|vault_altered"),
        ("key_id = x'0000000000000000'", "vault_wrong_key|vault_altered"),
    ],
    ids=["envelope", "wrapped", "version", "emptied", "ring", "key_id"],
)
async def test_a_row_that_was_changed_is_refused_and_not_replaced(
    url: str, change: str, problem: str
) -> None:
    """Whoever may write to the table must not choose the keys, nor make the app forget them."""
    await manager(url).open()
    with sqlite3.connect(url.partition("///")[2]) as database:
        database.execute(f"UPDATE signing_keys SET {change}")
        database.commit()
        before = database.execute("SELECT * FROM signing_keys").fetchall()
        with pytest.raises(ConfigError, match=problem):
            await manager(url, ring="other" if "ring" in change else "default").open()
        assert database.execute("SELECT * FROM signing_keys").fetchall() == before
    database.close()


async def test_a_row_that_was_put_back_brings_no_revoked_key_back(url: str) -> None:
    """A copy of the row from before a revocation is sealed as well as the present one."""
    keys = manager(url)
    await keys.open()
    stolen = keys.signing_key().kid
    with sqlite3.connect(url.partition("///")[2]) as database:
        old = database.execute("SELECT version, key_id, wrapped, envelope FROM signing_keys")
        copy = old.fetchone()
        await keys.revoke(stolen)
        database.execute("UPDATE signing_keys SET version=?, key_id=?, wrapped=?, envelope=?", copy)
        database.commit()
        with pytest.raises(ConfigError, match="put an older row back"):
            await asyncio.to_thread(keys.maintain)
        assert keys.find(stolen, "ES256") is None
        database.execute("DELETE FROM signing_keys")
        database.commit()
        with pytest.raises(ConfigError):
            await keys.rotate()
    database.close()


async def test_a_database_that_goes_away_leaves_the_known_keys_in_use(
    url: str, tmp_path: Path
) -> None:
    """An hour without the database must not log everybody out."""
    keys = manager(url)
    await keys.open()
    kid = keys.signing_key().kid
    sink = Events()
    stop = subscribe(sink)

    (tmp_path / "keys.db").rename(tmp_path / "away.db")
    (tmp_path / "keys.db").write_bytes(b"no database, to be sure\n" * 100)
    await keys.look_again("x")

    stop()
    assert keys.signing_key().kid == kid
    assert [event.name for event in sink.seen] == ["KEY_MAINTENANCE_FAILED"]
    with pytest.raises(UnavailableError, match="keys_unreachable"):
        await manager(url).open()


def test_what_cannot_work_is_refused_when_built(tmp_path: Path) -> None:
    """At start-up; a pool's connections belong to another event loop."""
    path = f"sqlite+aiosqlite:///{tmp_path}/x.db"
    good: dict[str, Any] = {
        "engine": async_engine(path),
        "table": TABLE,
        "masters": KeyRing(MASTER),
    }
    assert isinstance(SQLKeyStore(**good), KeyStore)
    wrong: list[dict[str, Any]] = [
        {"engine": create_async_engine(path)},
        {"engine": "postgresql://"},
        {"engine": guarded_engine("postgresql+asyncpg://app@db.internal/app")},
        {"masters": MASTER},
        {"ring": "../x"},
        {"ring": ""},
        {"timeout": 0},
    ]
    for bad in wrong:
        with pytest.raises(ConfigError, match="SQLKeyStore"):
            SQLKeyStore(**{**good, **bad})


def test_an_operator_uses_the_table_as_a_folder(url: str, tmp_path: Path) -> None:
    """The same commands, and an error instead of a key where a name is misspelled."""
    write_master_key(tmp_path / "master")
    environment = {
        "ASGI_GUARD_KEYS_DSN": url,
        "ASGI_GUARD_KEYS_MASTER_FILE": str(tmp_path / "master"),
    }

    def keys(*arguments: str, **changes: str | None) -> tuple[int, str]:
        done = CliRunner(env={**environment, **changes}).invoke(app, ["keys", *arguments])
        return done.exit_code, done.output

    code, said = keys("list", "sql:default")
    assert (code, "has no keys" in said) == (2, True)
    assert keys("init", "sql:default", "--algorithm", "ES256")[0] == 0
    assert keys("rotate", "sql:default", "--algorithm", "ES256", "--now")[0] == 0
    published = json.loads(keys("jwks", "sql:default")[1].strip().split("\n")[-1])
    first, second = (each["kid"] for each in published["keys"])
    assert keys("revoke", "sql:default", first, "--yes")[0] == 0
    assert second in keys("list", "sql:default")[1]
    assert "already" in keys("reseal", "sql:default")[1]

    write_master_key(tmp_path / "newer")
    newer = {"ASGI_GUARD_KEYS_MASTER_FILE": str(tmp_path / "newer")}
    code, said = keys("list", "sql:default", **newer)
    assert (code, "has no master" in said) == (2, True)
    older = ("--older-master-file", str(tmp_path / "master"))
    assert "resealed" in keys(*older, "reseal", "sql:default", **newer)[1]
    assert second in keys("list", "sql:default", **newer)[1]

    wrong: list[tuple[str, dict[str, str | None]]] = [
        ("sql:default", {"ASGI_GUARD_KEYS_DSN": None}),
        ("sql:default", {"ASGI_GUARD_KEYS_DSN": "nonsense"}),
        ("sql:default", {"ASGI_GUARD_KEYS_DSN": f"sqlite:///{tmp_path}/keys.db"}),
        ("sql:default", {"ASGI_GUARD_KEYS_MASTER_FILE": str(tmp_path / "missing")}),
        ("sql:../x", {}),
        (str(tmp_path / "nowhere"), {}),
    ]
    for place, changes in wrong:
        assert keys("list", place, **changes)[0] == 2, place
    assert keys("reseal", str(tmp_path))[0] == 2
