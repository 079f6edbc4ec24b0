"""SQL that an attacker got into a statement, against a sealed tenant: it stays inside its own.

The attacker runs whatever SQL the app's role may run: on a connection of its own here, where no
text check and no binding of ours stands in the way, and through a vulnerable page below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from asgi_guard.rls import create_guarded_pool
from asgi_guard.rls.ddl.sealed import retire_seal_key_statement
from asgi_guard.rls.seal import Sealer, SealKey, SealKeys
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase, context_of
from tests.support.rls_sealed import KEYS, SEALED, seal_database

OWNERS = "SELECT DISTINCT tenant_id::text FROM notes"
_REFUSED = asyncpg.InvalidAuthorizationSpecificationError


class MovedClock:
    """A clock some seconds off the database's."""

    def __init__(self, seconds: float) -> None:
        from asgi_guard._internal.clock import SYSTEM_CLOCK  # noqa: PLC0415 - the real one

        self._real, self._seconds = SYSTEM_CLOCK, seconds

    def now(self) -> float:
        return self._real.now() + self._seconds

    def monotonic(self) -> float:
        return self._real.monotonic()


@pytest.fixture
def database(rls_database: RLSDatabase) -> RLSDatabase:
    return seal_database(rls_database)


@pytest.fixture
async def attacker(database: RLSDatabase) -> AsyncIterator[asyncpg.Connection]:
    """The runtime role's own connection, with nothing of ours around it."""
    connection = await asyncpg.connect(database.dsn)
    yield connection
    await connection.close()


async def _seen(attacker: asyncpg.Connection, token: str) -> list[str]:
    async with attacker.transaction():
        await attacker.fetchval("SELECT set_config($1, $2, true)", VARIABLES.setting, token)
        return [row[0] for row in await attacker.fetch(OWNERS)]


async def test_a_token_made_with_the_key_opens_its_tenant(attacker: asyncpg.Connection) -> None:
    """The control of everything below: a whole token, sent in the same way, is believed."""
    token = Sealer(KEYS).seal(ALICE, "user", backend=attacker.get_server_pid())

    assert await _seen(attacker, token) == [ALICE]


@pytest.mark.parametrize(
    "forge",
    [
        lambda _token, _pid: ALICE,
        lambda _token, _pid: "garbage",
        lambda _token, _pid: "s1" + "0" * 200,
        lambda token, _pid: token[:-1],
        lambda token, _pid: token + "x",
        lambda token, _pid: token.upper(),
        lambda token, _pid: " " + token,
        lambda token, _pid: "s2" + token[2:],
        lambda token, _pid: token.replace(ALICE, BOB),
        lambda token, _pid: token[:36] + "0035" + token[40:],
        lambda token, _pid: token[:36] + "0037" + token[40:],
        lambda token, _pid: token[:26] + "0000000000" + token[36:],
        lambda token, _pid: token[:10] + "9" * 16 + token[26:],
        lambda token, _pid: token[:40] + "0" * 64 + token[104:],
        lambda token, _pid: token[:40] + token[104:],
        lambda _token, pid: Sealer(SealKeys([SealKey(bytes(32))])).seal(ALICE, "u", backend=pid),
        lambda _token, pid: Sealer(KEYS).seal(ALICE, "user", backend=pid + 1),
        lambda _token, pid: Sealer(KEYS, clock=MovedClock(-31)).seal(ALICE, "user", backend=pid),
        lambda _token, pid: Sealer(KEYS, clock=MovedClock(+100)).seal(ALICE, "user", backend=pid),
    ],
    ids=[
        "a plain tenant id",
        "garbage",
        "zeros",
        "cut",
        "longer",
        "upper case",
        "a blank in front",
        "another version",
        "another tenant in it",
        "a shorter tenant",
        "a longer tenant",
        "any connection",
        "no end",
        "no signature",
        "without its signature",
        "signed with another key",
        "of another connection",
        "expired",
        "lives too long",
    ],
)
async def test_what_the_app_did_not_sign_for_here_and_now_is_refused_by_the_database(
    attacker: asyncpg.Connection, forge: Any
) -> None:
    """Forged, swapped, expired, replayed elsewhere, garbage: an error, and never a row."""
    pid = attacker.get_server_pid()
    token = forge(Sealer(KEYS).seal(ALICE, "user", backend=pid), pid)

    with pytest.raises(_REFUSED) as refused:
        await _seen(attacker, token)

    assert "tenant_seal" in str(refused.value)
    assert ALICE not in str(refused.value)


async def test_each_single_character_of_a_token_counts(attacker: asyncpg.Connection) -> None:
    """A part that the signature does not cover would be the attacker's to write."""
    token = Sealer(KEYS).seal(ALICE, "user", backend=attacker.get_server_pid())

    for place, character in enumerate(token):
        other = "1" if character != "1" else "2"
        with pytest.raises(_REFUSED):
            await _seen(attacker, token[:place] + other + token[place + 1 :])


async def test_a_retired_key_opens_nothing(
    database: RLSDatabase, attacker: asyncpg.Connection
) -> None:
    """A key that leaked is retired; what it signs must be worth nothing at once."""
    database.database.execute(retire_seal_key_statement(KEYS.signing.key_id, SEALED))
    token = Sealer(KEYS).seal(ALICE, "user", backend=attacker.get_server_pid())

    with pytest.raises(_REFUSED):
        await _seen(attacker, token)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM asgi_guard.seal_keys",
        "INSERT INTO asgi_guard.seal_keys VALUES ('00000000', '', '')",
        "UPDATE asgi_guard.seal_keys SET ends = 'infinity'",
        "COPY asgi_guard.seal_keys TO STDOUT",
        "TRUNCATE asgi_guard.seal_keys",
        "BEGIN; LOCK TABLE asgi_guard.seal_keys",
        "CREATE OR REPLACE FUNCTION asgi_guard.current_tenant() RETURNS uuid RETURN NULL::uuid",
        "ALTER FUNCTION asgi_guard.current_tenant() SET search_path = pg_temp",
        "DROP FUNCTION asgi_guard.current_tenant() CASCADE",
        "CREATE FUNCTION asgi_guard.sha256(bytea) RETURNS bytea RETURN ''::bytea",
        "CREATE OPERATOR public.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
        "SET ROLE bind_owner",
        "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    ],
)
async def test_the_apps_role_reaches_neither_keys_nor_functions(
    attacker: asyncpg.Connection, statement: str
) -> None:
    """Whoever reads a key signs for anybody; whoever changes the function needs no key."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await attacker.execute(statement)


@pytest.mark.parametrize(
    "prelude",
    [
        "SET search_path = pg_temp, public",
        "CREATE TEMP TABLE seal_keys AS SELECT 'x' AS key_id",
        "SET standard_conforming_strings = off",
        "SET bytea_output = 'escape'",
        "SET client_encoding = 'LATIN1'",
        "SET TimeZone = 'Asia/Tokyo'",
        "SET DateStyle = 'German'",
        "SET plpgsql.extra_errors = 'all'",
        "SET transform_null_equals = on",
        "SET enable_indexscan = off",
        "SET row_security = off",
        "SET lc_messages = 'C'",
    ],
)
async def test_no_setting_of_the_session_makes_a_forged_token_good(
    attacker: asyncpg.Connection, prelude: str
) -> None:
    """The functions run as their owner, but in the attacker's session."""
    pid = attacker.get_server_pid()
    forged = Sealer(SealKeys([SealKey(bytes(32))])).seal(ALICE, "user", backend=pid)
    try:
        await attacker.execute(prelude)
    except asyncpg.PostgresError:
        return  # not even that

    with pytest.raises(asyncpg.PostgresError):
        await _seen(attacker, forged)


async def test_a_live_token_cannot_be_read_from_another_connection_of_the_role(
    database: RLSDatabase, attacker: asyncpg.Connection
) -> None:
    """It would be good for the next transaction of that very connection."""
    async with create_guarded_pool(
        database.dsn, variables=SEALED, seal_keys=KEYS, min_size=1, max_size=1
    ) as pool:
        with use_context(context_of(BOB)):
            async with pool.acquire() as victim, victim.transaction():
                texts = await attacker.fetch("SELECT query FROM pg_stat_activity")
                token = await victim.fetchval(f"SELECT current_setting('{VARIABLES.setting}')")

    assert token.startswith("s1")
    assert any("set_config" in (row[0] or "") for row in texts)  # where it would have been
    assert not any(token[40:104] in (row[0] or "") for row in texts)


async def test_a_token_is_worth_nothing_on_another_connection(
    database: RLSDatabase, attacker: asyncpg.Connection
) -> None:
    """Stolen in whatever way, it is good for the server process that it was made for."""
    async with create_guarded_pool(
        database.dsn, variables=SEALED, seal_keys=KEYS, min_size=1, max_size=1
    ) as pool:
        with use_context(context_of(BOB)):
            token = await pool.fetchval(f"SELECT current_setting('{VARIABLES.setting}')")

    with pytest.raises(_REFUSED, match="another connection"):
        await _seen(attacker, token)
