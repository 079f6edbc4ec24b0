"""Every check of the catalog, in the order in which their remedies can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, TypeAlias

from asgi_guard.rls.catalog import (
    around,
    columns,
    functions,
    grants,
    helper,
    keys,
    policies,
    roles,
    sessions,
    tables,
    views,
)
from asgi_guard.rls.catalog.finding import Finding
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Snapshot
from asgi_guard.rls.inventory import Inventory

__all__ = ["CHECKS", "judge"]

Check: TypeAlias = Callable[[AuditScope], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    roles.names,
    roles.attributes,
    roles.companions,
    roles.memberships,
    sessions.presets,
    sessions.settings,
    helper.schema_owner,
    helper.helpers,  # policies and defaults name them
    tables.owners,
    sessions.owned,
    columns.missing,  # policies and keys name the column
    columns.columns,
    columns.shared,
    keys.unique_keys,
    keys.foreign_keys,  # stand on unique keys
    keys.leading_indexes,
    tables.switches,
    policies.policies,
    policies.system_tables,
    tables.partitions,
    tables.parents,
    tables.undeclared,
    grants.tables,
    grants.creation,
    grants.defaults,
    grants.sequences,
    grants.system,
    views.views,
    views.rules,
    functions.functions,
    functions.leakproof,
    functions.tampered,
    around.foreign,
    around.publications,
    around.large_objects,
)


def judge(snapshot: Snapshot, inventory: Inventory) -> list[Finding]:
    """Run every check over one state of the catalog; all findings at once."""
    scope = AuditScope(snapshot, inventory)
    found = [finding for check in CHECKS for finding in check(scope)]
    return [_accepted(finding, inventory) for finding in found]


def _accepted(finding: Finding, inventory: Inventory) -> Finding:
    """Tell an accepted finding as a warning, with the reason that was given."""
    reason = inventory.accepted.get((finding.code, finding.object))
    if reason is None:
        return finding
    return replace(finding, severity="warning", why=f"{finding.why} Accepted: {reason}")
