"""The behavioural probe: try what must not work, and see it fail.

The catalog tells what is written; the probe tells what happens. It needs no data and leaves none:
the ids are of tenants that never were, each statement runs in a savepoint, and the transaction is
rolled back. Three questions per guarded table:

- without a tenant, and as a tenant without rows: is there a row? (``EXISTS`` stops at the first,
  and an index that leads with the tenant finds none at once);
- does an insert for another tenant get past the policy? (The check comes before NOT NULL and
  keys, so a row that names nothing but the tenant is enough; BEFORE triggers do run);
- under ``row_security = off``, is there an error instead of an answer?

In a sealed deployment the probe has no tenant but the one that its handle signed for, so it keeps
that token, and asks two more questions: is the token believed, and a plain tenant id refused?
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import ConfigError, RejectionError
from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Relation, Snapshot
from asgi_guard.rls.ddl.functions import current_tenant, helper_statements
from asgi_guard.rls.ddl.names import identifier, literal
from asgi_guard.rls.ddl.tables import policy_statements
from asgi_guard.rls.inventory import Inventory
from asgi_guard.rls.steps import Program
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy.tenant_id import TenantIdShape

__all__ = ["ProbeTenants", "probe"]

_TIMEOUT: Final = "5s"
_LOCK_TIMEOUT: Final = "1s"
_NO_ANSWER: Final = frozenset({"57014", "55P03"})  # query_canceled, lock_not_available
# What an insert meets only after the policy's check has let it through: a constraint.
_PAST_THE_POLICY: Final = frozenset({"23502", "23503", "23505", "23P01"})
_CHECK_VIOLATION: Final = "23514"
_MAKERS: Final = {
    "uuid": lambda: str(uuid.uuid4()),
    "text": lambda: f"probe{secrets.token_hex(12)}",
    "bigint": lambda: str(10**17 + secrets.randbelow(9 * 10**17)),
    "integer": lambda: str(2**30 + secrets.randbelow(2**30)),
}


@dataclass(frozen=True, slots=True)
class ProbeTenants:
    """Two tenants that no row belongs to: one that is bound, one that is written for."""

    bound: str
    foreign: str

    @classmethod
    def make(cls, shape: TenantIdShape, given: tuple[str, str] | None) -> ProbeTenants:
        """Take the *given* ids, or make two at random.

        Raises:
            ConfigError: They do not have the configured shape, or are one and the same.
        """
        maker = _MAKERS.get(shape.sql_type)
        pair = given or ((maker(), maker()) if maker else ("", ""))
        try:
            bound, foreign = (shape.parse(tenant) for tenant in pair)
        except (RejectionError, ValueError):
            bound = foreign = ""
        if bound == foreign:
            raise ConfigError(
                "probe_tenants",
                f"there are no two different ids of the shape {shape.name!r}",
                "Pass probe_tenants=(one, another) with ids that no tenant ever has.",
            )
        return cls(bound, foreign)


def probe(
    snapshot: Snapshot, inventory: Inventory, tenants: ProbeTenants
) -> Program[list[Finding]]:
    """Try every guarded table that the connected role can use."""
    scope = AuditScope(snapshot, inventory)
    used = [relation for relation in (*scope.guarded, *scope.children()) if relation.has_column]
    variables = inventory.variables
    yield f"SET LOCAL statement_timeout = '{_TIMEOUT}'"
    yield f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"
    own, findings = tenants.bound, list[Finding]()
    if variables.sealed:
        own, findings = yield from _seal(variables, tenants.bound)
    yield _bind(variables, "")
    findings += yield from _rows(used, variables, "without a tenant")
    silent = {finding.object for finding in findings if finding.code == "probe_timeout"}
    used = [relation for relation in used if str(relation.name) not in silent]
    yield _bind(variables, own)
    findings += yield from _rows(used, variables, "as a tenant that has none")
    findings += yield from _inserts(used, variables, tenants.foreign)
    findings += yield from _switched_off(used, variables)
    return findings


def _bind(variables: RLSVariables, tenant: str) -> str:
    # A guarded handle rightly refuses text that sets the tenant. What is set here is less than
    # what it bound, or the same; the name is put together so that the text check lets it by.
    prefix, _, leaf = variables.setting.partition(".")
    name = f"{literal(prefix + '.')} || {literal(leaf)}"
    return f"SELECT pg_catalog.set_config({name}, {literal(tenant)}, true)"


def _seal(variables: RLSVariables, tenant: str) -> Program[tuple[str, list[Finding]]]:
    """Give the token that the handle bound, if it did, and what is wrong with the seal."""
    asked = f"SELECT {current_tenant(variables)}::text"
    found = yield f"SELECT pg_catalog.current_setting({literal(variables.setting)}, true)"
    token = str(found.rows[0][0] or "") if found.rows else ""
    findings = []
    believed = yield asked
    if believed.sqlstate is not None:
        findings.append(
            make(
                "seal_refused",
                current_tenant(variables),
                "The database does not believe what this app signs: the key is unknown there or "
                "retired, or the two clocks differ.",
                "-- Make the key known: run what seal_key_statements(seal_keys) gives.",
            )
        )
    yield _bind(variables, tenant)
    forged = yield asked
    if forged.sqlstate is None:
        findings.append(
            make(
                "seal_not_enforced",
                current_tenant(variables),
                "It believed a tenant that nobody signed for.",
                script(helper_statements(variables)),
            )
        )
    return token, findings


def _granted(relations: Iterable[Relation], privilege: str) -> list[Relation]:
    return [relation for relation in relations if privilege in relation.privileges]


def _rows(
    relations: Iterable[Relation], variables: RLSVariables, when: str
) -> Program[list[Finding]]:
    findings = []
    for relation in _granted(relations, "SELECT"):
        answer = yield f"SELECT EXISTS (SELECT FROM {relation.name.sql})"  # noqa: S608 - a quoted name
        if answer.sqlstate in _NO_ANSWER:
            findings.append(_slow(relation, variables))
        elif answer.rows and answer.rows[0][0]:
            why = f"Tried {when}, it showed a row."
            findings.append(_leak("probe_rows_visible", relation, why, variables))
    return findings


def _inserts(
    relations: Iterable[Relation], variables: RLSVariables, foreign: str
) -> Program[list[Finding]]:
    column = identifier(variables.column)
    findings = []
    for relation in _granted(relations, "INSERT"):
        answer = yield (
            f"INSERT INTO {relation.name.sql} ({column}) VALUES ({literal(foreign)})"  # noqa: S608 - quoted names
        )
        past = answer.sqlstate is None or answer.sqlstate in _PAST_THE_POLICY
        # A partitioned table first looks for the row's partition, whose absence says 23514 too.
        past |= (
            answer.sqlstate == _CHECK_VIOLATION and relation.kind != "p" and not relation.parents
        )
        if past:
            why = "Tried as one tenant, it took another tenant's row past the policy."
            findings.append(_leak("probe_insert_crosses", relation, why, variables))
    return findings


def _switched_off(relations: Iterable[Relation], variables: RLSVariables) -> Program[list[Finding]]:
    yield "SET LOCAL row_security = off"
    findings = []
    for relation in _granted(relations, "SELECT"):
        answer = yield f"SELECT FROM {relation.name.sql} LIMIT 1"
        if answer.sqlstate is None:
            why = "With row_security = off it answered: no policy stands between it and the app."
            findings.append(_leak("probe_not_enforced", relation, why, variables))
    yield "SET LOCAL row_security = on"
    return findings


def _leak(code: str, relation: Relation, why: str, variables: RLSVariables) -> Finding:
    table = relation.name.sql
    statements = [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        *policy_statements(table, variables),
    ]
    return Finding(
        code=code,
        object=str(relation.name),
        severity="error",
        why=why,
        remedy_sql="\n".join(f"{statement};" for statement in statements),
    )


def _slow(relation: Relation, variables: RLSVariables) -> Finding:
    index = f"ix_{relation.name.name[:50]}_tenant"
    return Finding(
        code="probe_timeout",
        object=str(relation.name),
        severity="warning",
        why=f"Asked for a row where there must be none it gave no answer in {_TIMEOUT}: it is "
        "locked, or no index leads with the tenant.",
        remedy_sql=f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {identifier(index)} "
        f"ON {relation.name.sql} ({identifier(variables.column)});",
    )
