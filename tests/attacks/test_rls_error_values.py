"""What an error of the database may say of the row that caused it."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from asgi_guard.rls import guarded_engine
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import TENANTS, VARIABLES, RLSDatabase, context_of

CANARY = "a-tenants-secret-value"
BROKEN = text("SELECT CAST(:value AS text), 1 / CAST(:zero AS integer)")


@pytest.mark.parametrize(("options", "shown"), [({}, False), ({"hide_parameters": False}, True)])
async def test_a_failing_statement_does_not_repeat_its_values(
    rls_database: RLSDatabase, options: dict[str, bool], *, shown: bool
) -> None:
    """Errors end in logs that other people read; the second case shows that the check can fail."""
    engine = guarded_engine(rls_database.url(), variables=VARIABLES, **options)

    with use_context(context_of(TENANTS[0])), pytest.raises(DBAPIError) as caught:
        async with engine.begin() as connection:
            await connection.execute(BROKEN, {"value": CANARY, "zero": 0})
    await engine.dispose()

    assert (CANARY in str(caught.value)) is shown
