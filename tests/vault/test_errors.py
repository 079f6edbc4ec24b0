"""What the caller of an app is told when the vault refuses: a status and a code, nothing else."""

from __future__ import annotations

import json
import pickle

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard import errors
from asgi_guard._internal.responses import problem_body
from asgi_guard.errors import ConfigError, GuardError, TenantInvalidError
from asgi_guard.integrations.sql_vault import SqlVaultStore
from asgi_guard.integrations.sql_vault_tables import VaultTables
from asgi_guard.rls import RLSVariables
from asgi_guard.tenancy import INTEGER, SLUG


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.VaultNotConnectedError("revoked"), 409, "vault_not_connected"),
        (errors.VaultConflictError("already_connected"), 409, "vault_conflict"),
        (errors.VaultRefreshError("timeout"), 503, "vault_refresh_failed"),
        (errors.VaultUnavailableError("vault_database"), 503, "vault_unavailable"),
        (errors.VaultOpenError("vault_swapped"), 500, "vault_swapped"),
        (errors.VaultKeyInUseError(3), 500, "vault_key_in_use"),
    ],
)
def test_each_error_has_its_answer(error: GuardError, status: int, code: str) -> None:
    """Codes are stable: clients and dashboards branch on them. They travel pickled, too."""
    told, body = problem_body(error, "r1")

    assert isinstance(error, errors.VaultError)
    assert (told, json.loads(body)["code"]) == (status, code)
    assert pickle.loads(pickle.dumps(error)).code == code  # noqa: S301 - our own


def test_a_code_that_no_page_explains_is_refused() -> None:
    """A typo in a code would reach nobody's dashboard."""
    with pytest.raises(ConfigError):
        errors.VaultOpenError("vault_odd")


def test_the_sql_store_wants_a_guarded_engine_and_tables_of_its_own() -> None:
    """On a plain engine the first wall would be missing."""
    engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    metadata = MetaData()
    tables = VaultTables(metadata)

    with pytest.raises(ConfigError, match="guarded"):
        SqlVaultStore(engine, tables)
    with pytest.raises(ConfigError, match="prefix"):
        VaultTables(metadata)
    assert len(VaultTables(metadata, prefix="other_").secrets.foreign_keys) == 2


@pytest.mark.parametrize(
    ("variables", "good", "value", "bad"),
    [
        (RLSVariables(tenant_id=INTEGER), "17", 17, "acme"),
        (RLSVariables(tenant_id=SLUG), "acme", "acme", "Acme"),
    ],
)
def test_tenant_ids_of_other_shapes_are_refused_before_the_database(
    variables: RLSVariables, good: str, value: object, bad: str
) -> None:
    """With the error that every other room gives."""
    tables = VaultTables(MetaData(), variables=variables)

    assert tables.tenant_value(good) == value
    with pytest.raises(TenantInvalidError):
        tables.tenant_value(bad)
