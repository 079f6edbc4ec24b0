"""Operations, each with what it leaves on record: set up before the ``yield``, done after it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.audit_log import AuditLog
from asgi_guard.auth.jose import KeyManager, TokenIssuer
from asgi_guard.auth.passwords import PasswordHasher
from asgi_guard.auth.sessions import SessionService
from asgi_guard.errors import GuardError
from asgi_guard.secret import Secret
from asgi_guard.stack import Guard
from asgi_guard.tenancy import Membership, use_context
from asgi_guard.vault import (
    InMemoryVaultStore,
    KeyRing,
    LocalMasterKey,
    VaultRotation,
    new_master_key,
)
from tests.support.api_keys_world import make, service
from tests.support.audit_served import AsOperator, hosted
from tests.support.exchange import ask, http_scope
from tests.support.hosts_apps import HOSTS
from tests.support.hosts_guard import ACME as HOSTS_ACME
from tests.support.hosts_guard import GLOBEX as HOSTS_GLOBEX
from tests.support.hosts_guard import guard_settings, token
from tests.support.jose_tokens import policy
from tests.support.tenancy_world import ACME, context
from tests.support.vault_world import World

__all__ = ["OPERATIONS", "Operation"]

Operation = Callable[[Path, AuditLog], AsyncIterator[None]]
OPERATIONS: dict[str, tuple[Operation, list[str]]] = {}
PASSWORD = Secret("correct horse battery staple")


def leaves(*names: str) -> Callable[[Operation], Operation]:
    """Enter an operation into the table."""

    def enter(operation: Operation) -> Operation:
        OPERATIONS[operation.__name__] = (operation, list(names))
        return operation

    return enter


async def _request(headers: dict[str, str], method: str = "GET", path: str = "/whoami") -> None:
    guarded = Guard(guard_settings()).install(HOSTS["raw"]([]))
    await ask(guarded, http_scope(method, path, headers))


@leaves("AUTHENTICATION_SUCCEEDED")
async def a_request_that_is_let_in(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    yield
    await _request(token("alice", HOSTS_ACME))


@leaves("AUTHENTICATION_FAILED")
async def a_request_with_a_wrong_credential(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    yield
    await _request({"authorization": "Bearer %%"})


@leaves("AUTHENTICATION_SUCCEEDED", "TENANT_REFUSED")
async def a_request_for_a_foreign_tenant(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    yield
    await _request(token("alice", HOSTS_GLOBEX))


@leaves("CROSS_ORIGIN_REFUSED")
async def a_forged_request(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    yield
    await _request({"sec-fetch-site": "cross-site"}, "POST", "/only-post")


@leaves("PASSWORD_HASHED")
async def hashing_a_password(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    hasher = PasswordHasher()
    yield
    await hasher.hash(PASSWORD)


@leaves("PASSWORD_VERIFIED")
async def a_right_password(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    hasher = PasswordHasher()
    stored = await hasher.hash(PASSWORD)
    yield
    await hasher.verify(stored, PASSWORD)


@leaves("PASSWORD_REFUSED")
async def a_wrong_password(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    hasher = PasswordHasher()
    stored = await hasher.hash(PASSWORD)
    yield
    await hasher.verify(stored, Secret("wrong"))


@leaves("API_KEY_CREATED")
async def creating_an_api_key(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = service()
    yield
    await make(keys)


@leaves("API_KEY_ROTATED")
async def rotating_an_api_key(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = service()
    issued = await make(keys)
    yield
    await keys.rotate(issued.record.key_id, tenant_id=ACME)


@leaves("API_KEY_REVOKED")
async def revoking_an_api_key(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = service()
    issued = await make(keys)
    yield
    await keys.revoke(issued.record.key_id, tenant_id=ACME)


@leaves("API_KEY_VERIFIED")
async def using_an_api_key(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = service()
    issued = await make(keys)
    yield
    await keys.verify(issued.key.reveal())


@leaves("API_KEY_REFUSED")
async def using_an_api_key_that_is_none(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = service()
    yield
    await _refused(keys.verify("acme_live_nothing"))


@leaves("SESSION_CREATED")
async def signing_in(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    sessions = SessionService(MemoryStore())
    yield
    await sessions.create(user_id="alice", tenant_id=ACME)


@leaves("SESSION_EXTENDED")
async def extending_a_session(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    sessions = SessionService(MemoryStore())
    issued = await sessions.create(user_id="alice", tenant_id=ACME)
    yield
    await sessions.extend(issued.sid)


@leaves("SESSION_RENEWED")
async def renewing_a_session(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    sessions = SessionService(MemoryStore())
    issued = await sessions.create(user_id="alice", tenant_id=ACME)
    yield
    await sessions.renew(issued.sid)


@leaves("SESSION_TENANT_SWITCHED")
async def going_to_another_tenant(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    class Everywhere:
        async def lookup(self, user_id: str, tenant_id: str) -> Membership:
            return Membership(roles={"member"})

    sessions = SessionService(MemoryStore(), memberships=Everywhere())
    issued = await sessions.create(user_id="alice", tenant_id=ACME)
    yield
    await sessions.switch_tenant(issued.sid, tenant_id=HOSTS_GLOBEX)


@leaves("SESSION_TERMINATED")
async def signing_out(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    sessions = SessionService(MemoryStore())
    issued = await sessions.create(user_id="alice", tenant_id=ACME)
    yield
    await sessions.terminate(issued.sid)


@leaves("SESSIONS_TERMINATED")
async def signing_out_everywhere(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    sessions = SessionService(MemoryStore())
    yield
    await sessions.terminate_all(user_id="alice", tenant_id=ACME)


@leaves("SESSION_REFUSED")
async def using_a_session_that_is_none(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    sessions = SessionService(MemoryStore())
    yield
    await _refused(sessions.validate("nothing"))


async def _manager(path: Path) -> KeyManager:
    keys = KeyManager(path / "keys", algorithm="ES256")
    await keys.open()
    return keys


@leaves("KEY_ROTATED")
async def making_the_first_signing_key(path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    yield
    await _manager(path)


@leaves("KEY_CREATED")
async def rotating_signing_keys(path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = await _manager(path)
    yield
    await keys.rotate()


@leaves("KEY_ROTATED")
async def rotating_signing_keys_at_once(path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = await _manager(path)
    yield
    await keys.rotate(immediately=True)


@leaves("KEY_REVOKED")
async def revoking_a_signing_key(path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = await _manager(path)
    before = keys.status()[0].kid
    await keys.rotate(immediately=True)
    yield
    await keys.revoke(before)


@leaves("KEYS_EXPORTED")
async def exporting_signing_keys(path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = await _manager(path)
    yield
    await keys.export_escrow(Secret("a passphrase that is long enough"))


@leaves("KEYS_RESTORED")
async def restoring_signing_keys(path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    keys = await _manager(path)
    passphrase = Secret("a passphrase that is long enough")
    blob = await keys.export_escrow(passphrase)
    empty = KeyManager(path / "elsewhere", algorithm="ES256")
    yield
    await empty.restore_escrow(blob, passphrase)


@leaves("TOKEN_ISSUED")
async def issuing_a_token(path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    issuer = TokenIssuer(policy(), keys=await _manager(path))
    yield
    await issuer.issue_access("alice", client_id="web")


@leaves("VAULT_KEY_MADE", "VAULT_CONNECTED")
async def connecting_a_provider(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    world = World()
    yield
    await world.vault(InMemoryVaultStore()).connect("google", world.expired())


def _vault_operation(
    name: str, events: list[str], act: Callable[[World, Any], Any], *, secret: bool = False
) -> None:
    async def operation(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
        world = World()
        vault = world.vault(InMemoryVaultStore())
        if secret:
            await vault.put_secret("smtp", Secret("s3cret"))
        else:
            await vault.connect("google", world.expired())
            await vault.get("google")
        yield
        await act(world, vault)

    OPERATIONS[name] = (operation, events)


_vault_operation("opening_a_token", ["VAULT_OPENED"], lambda _w, v: v.get("google"))
_vault_operation(
    "verifying_a_token", ["VAULT_OPENED", "VAULT_VERIFIED"], lambda _w, v: v.verify("google")
)
_vault_operation(
    "reconnecting", ["VAULT_RECONNECTED"], lambda w, v: v.reconnect("google", w.expired())
)
_vault_operation("revoking_a_token", ["VAULT_REVOKED"], lambda _w, v: v.revoke("google"))
_vault_operation(
    "storing_a_secret", ["VAULT_SECRET_STORED"], lambda _w, v: v.put_secret("x", Secret("y"))
)
_vault_operation(
    "opening_a_secret", ["VAULT_OPENED"], lambda _w, v: v.get_secret("smtp"), secret=True
)
_vault_operation(
    "removing_a_secret",
    ["VAULT_SECRET_REMOVED"],
    lambda _w, v: v.delete_secret("smtp"),
    secret=True,
)
_vault_operation(
    "shredding_a_tenant", ["VAULT_SHREDDED"], lambda _w, v: v.shred_tenant(confirm=ACME)
)


@leaves("VAULT_REFRESHED", "VAULT_OPENED")
async def refreshing_a_token(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    world = World()
    vault = world.vault(InMemoryVaultStore())
    await vault.connect("google", world.expired())
    yield
    await vault.get("google")


@leaves("VAULT_REFRESH_FAILED")
async def a_refresh_that_fails(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    world = World()
    vault = world.vault(InMemoryVaultStore())
    await vault.connect("google", world.expired())
    world.provider.trouble = ConnectionError("away")
    yield
    await _refused(vault.get("google"))


@leaves("VAULT_KEY_MADE", "VAULT_ROTATED")
async def rotating_a_tenants_secrets(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    world, store = World(), InMemoryVaultStore()
    await world.vault(store).put_secret("smtp", Secret("s3cret"))
    keys = KeyRing(LocalMasterKey(new_master_key()), older=[world.master])
    yield
    await VaultRotation(store=store, keys=keys, pause=0).run_current()


@leaves("VAULT_MASTER_RETIRED")
async def retiring_a_master_key(_path: Path, _audit: AuditLog) -> AsyncIterator[None]:
    world = World()
    keys = KeyRing(LocalMasterKey(new_master_key()), older=[world.master])
    yield
    rotation = VaultRotation(store=InMemoryVaultStore(), keys=keys)
    await rotation.retire(world.master.master_id)


@leaves("AUDIT_QUERIED")
async def reading_the_log(_path: Path, audit: AuditLog) -> AsyncIterator[None]:
    app = AsOperator(hosted(audit), tenant=ACME, scopes=["audit:read"])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        yield
        await client.get("/audit/query")


async def _refused(work: Any) -> None:
    try:
        await work
    except GuardError:
        return
    raise LookupError("it was not refused")


def in_context(name: str) -> bool:
    """Tell whether an operation runs for a user, as the vault's do."""
    return OPERATIONS[name][1][0].startswith("VAULT_")


def user() -> Any:
    """Give the block in which the vault's operations run."""
    return use_context(context(ACME))
