"""Passwords reach the server as verifiers: no script, log or repr holds one."""

from __future__ import annotations

import asyncpg
import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.passwords import password_statement
from asgi_guard.secret import Secret
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import fresh_variables


@pytest.mark.postgres
async def test_the_verifier_lets_the_password_in_and_nothing_else(
    postgres_database: PostgresDatabase,
) -> None:
    """A wrong verifier would lock the app out; a weak one would let anybody in."""
    role = fresh_variables().runtime_role
    statement = password_statement(role, Secret("it's 100% $ecret \\ ok"))
    postgres_database.execute(f"CREATE ROLE {role} LOGIN", statement)
    try:
        let_in = await asyncpg.connect(postgres_database.dsn(role, "it's 100% $ecret \\ ok"))
        await let_in.close()
        for wrong in ("it's", statement.partition("'")[2].rstrip("'")):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(postgres_database.dsn(role, wrong))
    finally:
        postgres_database.execute(f"DROP ROLE {role}")


def test_the_statement_holds_no_password_and_two_are_never_alike() -> None:
    """Server logs keep statements; a salt keeps equal passwords from looking equal."""
    one, other = (password_statement("app_runtime", Secret("hunter2")) for _ in range(2))

    assert "hunter2" not in one
    assert one.startswith("ALTER ROLE app_runtime PASSWORD 'SCRAM-SHA-256$4096:")
    assert one != other


@pytest.mark.parametrize("password", ["", "pässword", "line\nbreak", "nul\0"])
def test_a_password_that_would_need_preparing_is_refused_unseen(password: str) -> None:
    """SASLprep maps characters: the stored verifier would be of another password."""
    with pytest.raises(ConfigError) as refused:
        password_statement("app_runtime", Secret(password))

    assert not password or password not in str(refused.value)
