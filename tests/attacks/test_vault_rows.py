"""An attacker who may write every table of the vault, and has no key: what do the rows give?

Each attack is done as the database's superuser, on PostgreSQL, behind the app's back. The
negative controls at the end take one wall away and see the same attack succeed.
"""

from __future__ import annotations

import pytest
from sqlalchemy import text

from asgi_guard.errors import RLSViolationError, VaultError, VaultNotConnectedError, VaultOpenError
from asgi_guard.rls import audit_catalog, tenant_policies
from asgi_guard.tenancy import use_context
from asgi_guard.vault import TokenVault, data_key, envelope, master_key
from asgi_guard.vault.slot import Slot
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, GLOBEX, context
from tests.support.vault_fixtures import sql_stores
from tests.support.vault_stores import METADATA, VARIABLES, Stores
from tests.support.vault_world import World, token

__all__ = ["sql_stores"]

pytestmark = pytest.mark.postgres

PEOPLE = [(ACME, "alice"), (ACME, "bob"), (GLOBEX, "mallory")]
COPY_INTO_BOB = (
    "UPDATE vault_secrets AS b SET envelope = a.envelope, version = a.version, "
    "key_number = a.key_number FROM vault_secrets AS a "
    f"WHERE a.user_id = 'alice' AND b.user_id = 'bob' AND a.tenant_id = '{ACME}'"
)
COPY_INTO_GLOBEX = (
    "UPDATE vault_secrets AS b SET envelope = a.envelope, version = a.version, "
    "key_number = a.key_number FROM vault_secrets AS a "
    "WHERE a.user_id = 'alice' AND b.user_id = 'mallory'"
)
COPY_KEY_INTO_GLOBEX = (
    "UPDATE vault_keys AS b SET key_id = a.key_id, wrapped = a.wrapped, master_id = a.master_id "
    f"FROM vault_keys AS a WHERE a.tenant_id = '{ACME}' AND b.tenant_id = '{GLOBEX}'"
)
BACKUP = "CREATE TABLE backup_{0} AS TABLE vault_{0}"
RESTORE = "DELETE FROM vault_{0}; INSERT INTO vault_{0} SELECT * FROM backup_{0}"


class Scene:
    """Three people with a token each, and the attacker at the database."""

    def __init__(self, stores: Stores) -> None:
        self.world = World()
        self.stores = stores
        self.vault = self.process()

    def process(self) -> TokenVault:
        """Give the vault of a freshly started process."""
        return self.world.vault(self.stores.another())

    async def read(self, tenant: str, user: str, vault: TokenVault | None = None) -> str:
        """Get the user's token, as an app would."""
        with use_context(context(tenant, user)):
            return (await (vault or self.process()).get("google")).access_token.reveal()

    def attack(self, *statements: str) -> None:
        """Write as the superuser, who is under no policy; triggers and foreign keys off."""
        self.stores.sql("; ".join(["SET session_replication_role = replica", *statements]))

    def backup(self, *tables: str) -> None:
        self.attack(*(BACKUP.format(table) for table in tables))

    def restore(self, *tables: str) -> None:
        self.attack(*(RESTORE.format(table) for table in tables))


@pytest.fixture
async def scene(sql_stores: Stores) -> Scene:
    made = Scene(sql_stores)
    for tenant, user in PEOPLE:
        with use_context(context(tenant, user)):
            await made.vault.connect("google", token(f"token of {user}"))
    return made


async def refused(scene: Scene, tenant: str, user: str, vault: TokenVault | None = None) -> str:
    with pytest.raises(VaultError) as caught:
        await scene.read(tenant, user, vault)
    assert "token of" not in str(caught.value)
    return caught.value.code


async def test_a_row_of_another_tenant_is_never_opened(scene: Scene, rls_events: EventList) -> None:
    """With its key row or without it, in any process."""
    scene.attack(COPY_INTO_GLOBEX)
    assert await refused(scene, GLOBEX, "mallory") == "vault_swapped"

    scene.attack(COPY_KEY_INTO_GLOBEX)
    assert await refused(scene, GLOBEX, "mallory") == "vault_altered"
    assert await scene.read(ACME, "alice") == "token of alice"
    told = [event for event in rls_events if event.name == "VAULT_OPEN_FAILED"]
    assert [(event.tenant_id, event.reason) for event in told] == [
        (GLOBEX, "vault_swapped"),
        (GLOBEX, "vault_altered"),
    ]


async def test_a_row_whose_tenant_was_rewritten_is_not_opened(scene: Scene) -> None:
    """The whole of ACME handed to GLOBEX, keys, heads and secrets."""
    scene.attack(
        *(
            f"DELETE FROM vault_{table} WHERE tenant_id = '{GLOBEX}'; "
            f"UPDATE vault_{table} SET tenant_id = '{GLOBEX}' WHERE tenant_id = '{ACME}'"
            for table in ("keys", "heads", "secrets")
        )
    )

    assert await refused(scene, GLOBEX, "alice") == "vault_altered"


async def test_a_row_of_another_user_or_provider_is_not_opened(scene: Scene) -> None:
    """Within one tenant the data key is the same; the authenticated place is not."""
    scene.attack(COPY_INTO_BOB)
    assert await refused(scene, ACME, "bob") == "vault_swapped"

    scene.attack(
        *(
            f"UPDATE vault_{table} SET provider = 'slack' WHERE user_id = 'alice'"
            for table in ("heads", "secrets")
        )
    )
    with use_context(context(ACME, "alice")), pytest.raises(VaultOpenError, match="vault_swapped"):
        await scene.process().get("slack")


async def test_an_earlier_row_put_back_is_found_out_by_the_head(scene: Scene) -> None:
    """A revoked or leaked token must not come back to life with the backup of one table."""
    scene.backup("secrets")
    with use_context(context(ACME, "alice")):
        await scene.vault.reconnect("google", token("token two of alice"))
    with use_context(context(ACME, "bob")):
        await scene.vault.revoke("google")

    scene.restore("secrets")

    assert await refused(scene, ACME, "alice") == "vault_rolled_back"
    assert await refused(scene, ACME, "bob") == "vault_not_connected"
    assert await scene.read(GLOBEX, "mallory") == "token of mallory"


async def test_a_row_that_lies_about_its_version_is_not_opened(scene: Scene) -> None:
    """The version is authenticated: an old envelope cannot be renumbered."""
    scene.backup("secrets")
    with use_context(context(ACME, "alice")):
        await scene.vault.reconnect("google", token("token two of alice"))

    scene.restore("secrets")
    scene.attack("UPDATE vault_secrets SET version = 2 WHERE user_id = 'alice'")

    assert await refused(scene, ACME, "alice") == "vault_rolled_back"


async def test_heads_and_rows_put_back_together_are_found_out_by_who_remembers(
    scene: Scene,
) -> None:
    """And by nobody else: the page on the vault says so. A fresh process opens the old one."""
    with use_context(context(ACME, "alice")):
        scene.backup("secrets", "heads")
        await scene.vault.reconnect("google", token("token two of alice"))
    assert await scene.read(ACME, "alice", scene.vault) == "token two of alice"

    scene.restore("secrets", "heads")

    assert await refused(scene, ACME, "alice", scene.vault) == "vault_rolled_back"
    assert await scene.read(ACME, "alice") == "token of alice"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE vault_secrets SET envelope = substr(envelope, 1, 60)", "vault_malformed"),
        ("UPDATE vault_secrets SET envelope = ''", "vault_malformed"),
        ("UPDATE vault_secrets SET envelope = set_byte(envelope, 0, 9)", "vault_format_unknown"),
        (
            "UPDATE vault_secrets SET envelope = set_bit(envelope, 600, 1-get_bit(envelope, 600))",
            "vault_altered",
        ),
        ("UPDATE vault_secrets SET key_number = 77", "vault_key_missing"),
        ("DELETE FROM vault_keys", "vault_key_missing"),
        ("UPDATE vault_keys SET wrapped = substr(wrapped, 2)", "vault_altered"),
        ("UPDATE vault_keys SET key_id = '\\x0011223344556677'", "vault_wrong_key"),
        ("UPDATE vault_keys SET master_id = 'local:0000000000000000'", "vault_master_unknown"),
        (
            "UPDATE vault_keys SET number = 2; UPDATE vault_secrets SET key_number = 2",
            "vault_altered",
        ),
        ("UPDATE vault_keys SET shredded = true", "vault_shredded"),
        ("UPDATE vault_heads SET version = 9", "vault_rolled_back"),
    ],
)
async def test_each_alteration_has_its_own_refusal(scene: Scene, change: str, code: str) -> None:
    """An operator at three in the morning must know which table to look at."""
    scene.attack(change)

    assert await refused(scene, ACME, "alice") == code


async def test_another_master_opens_nothing(scene: Scene) -> None:
    """A stolen database without the key file is noise."""
    thief = World().vault(scene.stores.another())

    assert await refused(scene, ACME, "alice", thief) == "vault_master_unknown"


async def test_a_shredded_tenant_stays_shut_when_its_rows_come_back(scene: Scene) -> None:
    """The backups of the token table may be as old as they like."""
    scene.backup("secrets", "heads")
    with use_context(context(ACME, "alice")):
        await scene.vault.shred_tenant(confirm=ACME)

    scene.restore("secrets", "heads")

    assert await refused(scene, ACME, "alice") == "vault_shredded"
    assert await refused(scene, ACME, "alice", scene.vault) in {
        "vault_shredded",
        "vault_rolled_back",
    }
    assert await scene.read(GLOBEX, "mallory") == "token of mallory"


async def test_a_backup_of_the_keys_undoes_shredding(scene: Scene) -> None:
    """The limit that the page on the vault states, and the control of the test above."""
    scene.backup("keys", "secrets", "heads")
    with use_context(context(ACME, "alice")):
        await scene.vault.shred_tenant(confirm=ACME)

    scene.restore("keys", "secrets", "heads")

    assert await scene.read(ACME, "alice") == "token of alice"


async def test_the_tables_show_each_tenant_its_own_rows_and_nobody_any(scene: Scene) -> None:
    """After SQL injection the app's role asks for everything; the policies answer."""
    engine = scene.stores.another()._engine  # type: ignore[attr-defined]
    seen = {}
    for tenant in (ACME, GLOBEX):
        with use_context(context(tenant)):
            async with engine.connect() as connection:
                for table in ("keys", "heads", "secrets"):
                    rows = await connection.execute(text(f"SELECT tenant_id FROM vault_{table}"))
                    seen[tenant, table] = {str(row[0]) for row in rows}
    with pytest.raises(RLSViolationError):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT * FROM vault_secrets"))

    assert all(tenants == {tenant} for (tenant, _), tenants in seen.items())


async def test_the_deployment_check_finds_the_vaults_tables_sound(scene: Scene) -> None:
    """Policies, grants, keys and owners, and the behaviour of the database itself."""
    engine = scene.stores.another()._engine  # type: ignore[attr-defined]
    policies = tenant_policies(METADATA, variables=VARIABLES)

    assert await audit_catalog(engine, tables=policies, behaviour=True) == []


async def test_a_store_asked_for_another_tenant_refuses_before_the_database(
    scene: Scene, rls_events: EventList
) -> None:
    """A slot made by hand is no proof of anything."""
    store = scene.stores.another()

    with use_context(context(GLOBEX)), pytest.raises(RLSViolationError, match="TENANT_MISMATCH"):
        await store.load(Slot(ACME, "alice", "google"))
    assert rls_events.names == ["TENANT_MISMATCH"]


async def test_a_removed_row_is_missing_and_not_an_empty_token(scene: Scene) -> None:
    """Deleting is what an attacker with the tables can always do."""
    scene.attack("DELETE FROM vault_secrets")

    with pytest.raises(VaultNotConnectedError) as caught:
        await scene.read(ACME, "alice")
    assert caught.value.reason == "secret_missing"


async def test_control_without_its_place_in_the_envelope_another_users_row_opens(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: binding, authenticated data and row key forget the slot."""
    forget_the_slot(monkeypatch)
    with use_context(context(ACME, "alice")):
        await scene.process().reconnect("google", token("token of alice"))
    with use_context(context(ACME, "bob")):
        await scene.process().reconnect("google", token("token of bob"))

    scene.attack(COPY_INTO_BOB)

    assert await scene.read(ACME, "bob") == "token of alice"


async def test_control_with_one_wrapping_key_for_all_another_tenants_row_opens(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: as above, and data keys wrapped for no tenant in particular."""
    forget_the_slot(monkeypatch)
    monkeypatch.setattr(master_key.LocalMasterKey, "_tenant_key", lambda _self, _id: bytes(32))
    monkeypatch.setattr(master_key, "_associated", lambda _tenant, _context: b"")
    scene.attack("TRUNCATE vault_secrets, vault_heads, vault_keys")
    for tenant, user in PEOPLE:
        with use_context(context(tenant, user)):
            await scene.process().connect("google", token(f"token of {user}"))

    scene.attack(COPY_INTO_GLOBEX, COPY_KEY_INTO_GLOBEX)

    assert await scene.read(GLOBEX, "mallory") == "token of alice"


async def test_control_without_the_head_an_old_row_opens(scene: Scene) -> None:
    """Negative control of the rollback test: what finds it out is the head."""
    scene.backup("secrets")
    with use_context(context(ACME, "alice")):
        await scene.vault.reconnect("google", token("token two of alice"))

    scene.restore("secrets")
    scene.attack("DELETE FROM vault_heads")

    assert await scene.read(ACME, "alice") == "token of alice"


def forget_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slot, "binding", lambda _self: bytes(32))
    monkeypatch.setattr(envelope, "_authenticated", lambda _header, _slot, _version: b"")
    monkeypatch.setattr(data_key.DataKey, "row_key", lambda self, _slot, _version: self.reveal())
