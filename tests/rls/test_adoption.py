"""Adoption: an existing schema under policies while it is written to, killed anywhere, and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from asgi_guard.errors import ConfigError, NotReadyError
from asgi_guard.rls import audit_catalog
from asgi_guard.rls.adoption import (
    STAGES,
    Adoption,
    Filling,
    Step,
    adoption_status,
    back,
    clear_findings,
    monitor_report,
    plan_adoption,
    run,
)
from asgi_guard.rls.inventory import Inventory
from asgi_guard.rls.policies import TenantPolicies
from asgi_guard.testing import PostgresDatabase, PostgresServer
from asgi_guard.testing.plugin import TemplateFactory
from tests.support.adoption_world import (
    ADOPTION,
    OWNER,
    VARIABLES,
    Writers,
    counted,
    fill,
    fingerprint,
)

pytestmark = pytest.mark.postgres

ROWS = 2000
ONE, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
APP = VARIABLES.runtime_role
TABLES = ("accounts", "notes", "comments", "tags")


@pytest.fixture(scope="module")
def adoption_template(postgres_template_factory: TemplateFactory) -> str:
    """Fill once, copy for each test."""

    def prepare(database: PostgresDatabase) -> None:
        async def work() -> None:
            connection = await asyncpg.connect(database.dsn())
            await fill(connection, ROWS)
            await connection.execute(f"ALTER ROLE {OWNER} PASSWORD 'x'")
            await connection.close()

        from asgi_guard.testing.server import run_apart  # noqa: PLC0415 - only here

        run_apart(work())

    return postgres_template_factory(prepare)


@pytest.fixture
def world(postgres_server: PostgresServer, adoption_template: str) -> Any:
    """A database of the test's own."""
    name = f"{adoption_template}_copy"
    try:
        yield postgres_server.create_database(name, adoption_template)
    finally:
        postgres_server.drop_database(name)


@pytest.fixture
async def admin(world: PostgresDatabase) -> AsyncIterator[Any]:
    """Connect as the administrator."""
    connection = await asyncpg.connect(world.dsn())
    yield connection
    await connection.close()


async def seen(admin: Any, tenant: str | None, table: str, role: str = APP) -> int:
    """Count what a role sees."""
    async with admin.transaction():
        await admin.execute(f"SET LOCAL SESSION AUTHORIZATION {role}")
        if tenant is not None:
            await admin.execute("SELECT set_config($1, $2, true)", VARIABLES.setting, tenant)
        return int(await admin.fetchval(f"SELECT count(*) FROM {table}"))


async def test_the_whole_way_under_live_writes_and_back_loses_nothing(
    world: PostgresDatabase, admin: Any
) -> None:
    """The app of yesterday writes all along; every row it was told about is there afterwards."""
    before = await fingerprint(admin)
    writers = Writers(world.dsn(OWNER, "x"), ROWS)

    async with writers.at_work(tasks=2):
        await run(admin, ADOPTION, until="swap", blocks=4)
        strangers = await admin.fetchval(
            "SELECT count(*) FROM comments c JOIN notes n ON n.id = c.note_id "
            "JOIN accounts a ON a.id = n.account_id "
            "WHERE c.tenant_id IS DISTINCT FROM a.tenant_id OR n.tenant_id <> a.tenant_id"
        )
        await back(admin, VARIABLES, to=None)

    assert writers.failures == []
    assert writers.inserted > 0
    assert strangers == 0
    assert await counted(admin) == writers.books(ROWS)
    assert await fingerprint(admin) == before
    assert await adoption_status(admin, VARIABLES) == []


async def test_what_is_enforced_has_no_finding_and_can_be_taken_back(admin: Any) -> None:
    """The audit is the judge of where the path ends; a stage back the old app works again."""
    await run(admin, ADOPTION, until="monitor")
    watched = await fingerprint(admin)
    await run(admin, ADOPTION, until="enforce")
    tenant = str(await admin.fetchval("SELECT tenant_id FROM accounts WHERE id = 1"))

    assert await seen(admin, tenant, "notes") == ROWS // 100
    assert await seen(admin, None, "comments") == 0
    async with admin.transaction():
        await admin.execute(f"SET LOCAL SESSION AUTHORIZATION {APP}")
        found = await audit_catalog(admin, tables=_policies(), behaviour=True)
        await admin.execute("RESET SESSION AUTHORIZATION")
    assert [str(finding) for finding in found if finding.severity == "error"] == []

    await back(admin, VARIABLES, to="monitor")
    assert await fingerprint(admin) == watched
    assert await seen(admin, None, "notes", OWNER) == ROWS


def _policies() -> TenantPolicies:
    adopted = tuple(ADOPTION.tables)
    return TenantPolicies(Inventory(variables=VARIABLES, guarded=adopted))


async def test_the_monitor_hides_nothing_and_tells_what_would_be_hidden(admin: Any) -> None:
    """Rows of nobody's and of another's, each once a transaction; the bound tenant's own never."""
    await run(admin, ADOPTION, until="monitor")
    await admin.execute(f"GRANT SELECT ON notes TO {APP}")
    tenant = str(await admin.fetchval("SELECT tenant_id FROM accounts WHERE id = 1"))

    assert await seen(admin, tenant, f"notes WHERE tenant_id = '{tenant}'") == ROWS // 100
    assert await monitor_report(admin, VARIABLES) == []
    assert await seen(admin, tenant, "notes") == ROWS
    assert await seen(admin, None, "notes", OWNER) == ROWS

    told = {
        (one["relation"], one["kind"], one["login"], one["times"])
        for one in await monitor_report(admin, VARIABLES)
    }
    assert told == {("public.notes", "foreign", APP, 1), ("public.notes", "unbound", OWNER, 1)}
    with pytest.raises(NotReadyError, match="policies would hide"):
        await run(admin, ADOPTION, until="enforce")
    assert await seen(admin, None, "notes", OWNER) == ROWS
    await clear_findings(admin, VARIABLES)
    await run(admin, ADOPTION, until="enforce")


async def test_the_monitor_never_breaks_a_statement(admin: Any) -> None:
    """Read-only transactions, a table of findings that is gone: the app goes on."""
    await run(admin, ADOPTION, until="monitor")

    async with admin.transaction(readonly=True):
        await admin.execute(f"SET LOCAL SESSION AUTHORIZATION {OWNER}")
        assert await admin.fetchval("SELECT count(*) FROM notes") == ROWS
    await admin.execute("DROP TABLE asgi_guard.monitor_findings")
    assert await seen(admin, None, "notes", OWNER) == ROWS


async def test_findings_are_bounded(admin: Any) -> None:
    """A monitor that is left on must not fill the disk."""
    await run(admin, ADOPTION, until="monitor")
    await admin.execute(
        "INSERT INTO asgi_guard.monitor_findings (relation, kind, login, statement) "
        "SELECT 'tags', 'unbound', 'x', repeat('y', 400) FROM generate_series(1, 20000)"
    )
    before = await admin.fetchval("SELECT count(*) FROM asgi_guard.monitor_findings")

    await seen(admin, None, "notes", OWNER)

    assert await admin.fetchval("SELECT count(*) FROM asgi_guard.monitor_findings") == before


class KilledError(Exception):
    """Stands for the end of the process."""


class Dying:
    """A connection whose process ends at the n-th statement: before it, or just after it.

    The connection is terminated without a word to the server, as the kernel does for kill -9.
    """

    def __init__(self, connection: Any, at: int, *, after: bool) -> None:
        self._connection, self._left, self._after = connection, at, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in {"execute", "fetch", "fetchval", "executemany"}:
            return found

        async def counted_call(*args: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                self._die()
            answer = await found(*args)
            if self._left == 0:
                self._die()
            return answer

        return counted_call

    def _die(self) -> None:
        self._connection.terminate()
        raise KilledError


async def killed_at(world: PostgresDatabase, at: int, *, after: bool, forward: bool) -> bool:
    """Run with an end at the n-th statement; tell whether it came to that."""
    connection = await asyncpg.connect(world.dsn())
    dying = Dying(connection, at, after=after)
    try:
        if forward:
            await run(dying, ADOPTION, until="enforce", blocks=8)
        else:
            await back(dying, VARIABLES, to=None)
    except (KilledError, asyncpg.InterfaceError):
        if not connection.is_closed():
            raise
        return True
    finally:
        if not connection.is_closed():
            await connection.close()
    return False


async def settled(admin: Any) -> None:
    """Wait until the server has noticed that a client is gone; it says so by its lock."""
    for _ in range(10_000):
        if await admin.fetchval("SELECT pg_try_advisory_lock($1)", 0x6173676967756172):
            await admin.fetchval("SELECT pg_advisory_unlock($1)", 0x6173676967756172)
            return
    pytest.fail("the lock of a dead client stays")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_statement_it_goes_on_where_it_was(
    world: PostgresDatabase,
    admin: Any,
    after: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Forward and back; at no point does the app see another tenant's rows under policies."""
    before = await fingerprint(admin)
    tenant = str(await admin.fetchval("SELECT tenant_id FROM accounts WHERE id = 1"))
    for forward in (True, False):
        kills, at = 0, 2
        while await killed_at(world, at, after=after, forward=forward):
            await settled(admin)
            kills += 1
            at += 1  # ever another place, ever a little further
            if kills > 150:
                pytest.fail("it does not get any further")
        assert kills > 10
        if forward:
            assert await seen(admin, tenant, "notes") == ROWS // 100
            assert {one.status for one in await adoption_status(admin, VARIABLES)} == {"done"}

    assert await fingerprint(admin) == before
    assert await counted(admin) == (ROWS, 0, ROWS)


async def test_rows_without_a_tenant_stop_it(admin: Any) -> None:
    """Orphans would be hidden for ever; nobody wants to find out later."""
    await admin.execute("UPDATE accounts SET tenant_id = NULL WHERE id = 7")

    with pytest.raises(NotReadyError, match="have no tenant"):
        await run(admin, ADOPTION, until="enforce")

    await admin.execute("UPDATE accounts SET tenant_id = $1 WHERE id = 7", ONE)
    await run(admin, ADOPTION, until="filled")


async def test_rows_that_refer_to_another_tenants_stop_it(admin: Any) -> None:
    """Filled by hand, and wrongly: a foreign key with the tenant in it would not hold."""
    await run(admin, ADOPTION, until="filled")
    await admin.execute("UPDATE notes SET tenant_id = $1 WHERE id = 5", OTHER)

    with pytest.raises(NotReadyError, match="another tenant's row"):
        await run(admin, ADOPTION, until="keys")


async def test_a_broken_index_of_a_killed_build_is_built_anew(admin: Any) -> None:
    """CREATE INDEX CONCURRENTLY leaves an invalid one behind, which enforces nothing."""
    await run(admin, ADOPTION, until="filled")
    steps = [one.step for one in await adoption_status(admin, VARIABLES)]
    index = next(action.index for step in steps for action in step.forward if action.index)
    await admin.execute(
        f"CREATE UNIQUE INDEX {index.partition('.')[2]} ON accounts (tenant_id, id)"
    )
    await admin.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass", index
    )

    await run(admin, ADOPTION, until="enforce")

    assert await admin.fetchval("SELECT bool_and(indisvalid) FROM pg_index")


async def test_a_second_operator_is_kept_out(world: PostgresDatabase, admin: Any) -> None:
    """Two at once would each undo what the other does."""
    other = await asyncpg.connect(world.dsn())
    held = asyncio.Event()

    async def first() -> None:
        def hold(_step: Step) -> None:
            held.set()

        await run(other, ADOPTION, until="enforce", on_step=hold)

    task = asyncio.create_task(first())
    await held.wait()
    with pytest.raises(NotReadyError, match="Another operator"):
        await run(admin, ADOPTION, until="column")
    await task
    await other.close()


async def test_a_plan_changes_nothing_and_the_stored_one_counts(admin: Any) -> None:
    """What was printed and agreed on is what runs, today and after an upgrade of this package."""
    before = await fingerprint(admin)
    planned = await plan_adoption(admin, ADOPTION)
    assert await fingerprint(admin) == before
    assert await adoption_status(admin, VARIABLES) == []

    await run(admin, ADOPTION, until="column")

    stored = [one.step for one in await adoption_status(admin, VARIABLES)]
    assert stored == planned
    assert [step.stage for step in stored] == sorted(
        (step.stage for step in stored), key=STAGES.index
    )
    assert all(step.script() for step in planned)


async def test_a_plan_that_somebody_else_stored_is_not_run(admin: Any) -> None:
    """It would run with the administrator's rights."""
    await run(admin, ADOPTION, until="column")
    await admin.execute(f"ALTER TABLE asgi_guard.adoption OWNER TO {OWNER}")

    with pytest.raises(ConfigError, match="could have written anything"):
        await run(admin, ADOPTION, until="backfill")
    with pytest.raises(ConfigError, match="could have written anything"):
        await back(admin, VARIABLES, to=None)


async def test_one_tenant_owns_all(admin: Any) -> None:
    """A single-tenant schema: a constant, and a default for whoever comes."""
    single = Adoption.of({"tags": Filling("constant", ONE)}, variables=VARIABLES)

    await run(admin, single, until="enforce")

    assert await seen(admin, ONE, "tags") == ROWS // 10
    assert await seen(admin, OTHER, "tags") == 0


async def test_partitions_are_filled_and_guarded_each(admin: Any) -> None:
    """Their keys are changed by hand, which the plan says."""
    await admin.execute(
        "CREATE TABLE logs (at date, what text) PARTITION BY RANGE (at);"
        "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');"
        "CREATE TABLE logs_2 PARTITION OF logs DEFAULT;"
        "INSERT INTO logs VALUES ('2024-05-05', 'a'), ('2030-01-01', 'b')"
    )
    logs = Adoption.of({"logs": Filling("constant", ONE)}, variables=VARIABLES)

    await run(admin, logs, until="enforce")

    assert await seen(admin, ONE, "logs") == 2
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await seen(admin, ONE, "logs_1")
    await back(admin, VARIABLES, to=None)
    await admin.execute("ALTER TABLE logs ADD PRIMARY KEY (at, what)")
    with pytest.raises(ConfigError, match="by hand"):
        await plan_adoption(admin, logs)


HOSTILE = {
    "no such table": {"nothing": Filling("constant", ONE)},
    "no key to the parent": {
        "accounts": Filling("existing"),
        "tags": Filling("parent", "accounts"),
    },
    "a circle": {"notes": Filling("parent", "comments"), "comments": Filling("parent", "notes")},
    "no column": {"notes": Filling("existing")},
    "a view": {"pg_catalog.pg_tables": Filling("constant", ONE)},
}


@pytest.mark.parametrize("tables", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_cannot_be_adopted_is_said_before_anything_runs(
    admin: Any, tables: dict[str, Filling]
) -> None:
    """A plan that breaks half way is no plan."""
    with pytest.raises(ConfigError):
        await run(admin, Adoption.of(tables, variables=VARIABLES), until="column")

    assert await adoption_status(admin, VARIABLES) == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tables": {}},
        {"tables": {"notes": {}}},
        {"tables": {"notes": {"constant": "no-uuid"}}},
        {"tables": {"notes": {"constant": ONE, "parent": "x"}}},
        {"tables": {"notes": {"expression": " "}}},
        {"tables": {"notes": {"parent": "a(b"}}},
        {"tables": {"notes": "constant"}},
    ],
    ids=["empty", "none", "nothing", "no id", "two", "blank", "brackets", "text"],
)
def test_settings_that_say_nothing_are_refused(settings: dict[str, Any]) -> None:
    """A file of an operator in a hurry."""
    with pytest.raises(ConfigError, match="adoption"):
        Adoption.from_settings(settings, VARIABLES)


async def test_a_stage_that_is_none_is_refused(admin: Any) -> None:
    """`--until enforced` must not mean nothing, nor everything."""
    with pytest.raises(ConfigError, match="enforced"):
        await run(admin, ADOPTION, until="enforced")  # type: ignore[arg-type] # on purpose
    with pytest.raises(ConfigError, match="blocks"):
        await run(admin, ADOPTION, until="column", blocks=0)
