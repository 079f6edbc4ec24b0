"""Every check of the catalog, in the order in which their remedies can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from asgi_guard.rls.catalog import policies, roles, tables, views
from asgi_guard.rls.catalog.finding import Finding
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Snapshot
from asgi_guard.rls.inventory import Inventory

__all__ = ["CHECKS", "judge"]

Check: TypeAlias = Callable[[AuditScope], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    roles.names,
    roles.attributes,
    roles.memberships,
    roles.presets,
    tables.helper,  # policies and defaults name it
    tables.owners,
    tables.columns,  # policies name it
    tables.switches,
    policies.policies,
    tables.partitions,
    tables.parents,
    tables.grants,
    views.views,
)


def judge(snapshot: Snapshot, inventory: Inventory) -> list[Finding]:
    """Run every check over one state of the catalog; all findings at once."""
    scope = AuditScope(snapshot, inventory)
    return [finding for check in CHECKS for finding in check(scope)]
