"""Records as rows: the columns that an operator's SQL reads, and the body that is hashed.

The body is what counts. That the columns say the same is checked when a log is verified: whoever
alters a column alone would else deceive everyone who reads the table and nobody who verifies it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from asgi_guard.audit_log.canonical import canonical, parse_time
from asgi_guard.audit_log.record import AuditRecord
from asgi_guard.audit_log.signing import AuditSigningKey

__all__ = ["COLUMNS", "columns_agree", "lock_of", "record_of", "row_of", "signed", "storable"]

_EVENT: Final = (
    ("security_event", "name"),
    ("outcome", "outcome"),
    ("reason", "reason"),
    ("user_id", "user_id"),
    ("session_id", "session_id"),
    ("request_id", "request_id"),
    ("auth_method", "auth_method"),
    ("operation", "operation"),
    ("client", "client"),
    ("trace_id", "trace_id"),
)
_CHAIN: Final = ("chain", "seq", "log", "prev", "hash", "key_id", "signature")
COLUMNS: Final = (
    "tenant_id",
    "timestamp",
    *(column for column, _ in _EVENT),
    "details",
    *_CHAIN,
    "body",
)
"""In the order of `row_of`."""


def signed(record: AuditRecord, key: AuditSigningKey) -> AuditRecord:
    """Return *record* with a signature of its own.

    Each row has one, because the app's role may append rows: injected SQL can, too.
    """
    return replace(record, key_id=key.key_id, signature=key.sign(record.signed_bytes()))


def row_of(record: AuditRecord) -> tuple[Any, ...]:
    """Return the values of a row."""
    fields = record.fields
    return (
        fields["tenant_id"],
        parse_time(fields["time"]),
        *(fields[name] for _, name in _EVENT),
        canonical(fields["details"]).decode(),
        *(getattr(record, name) for name in _CHAIN),
        canonical(fields).decode(),
    )


def record_of(row: Mapping[str, Any]) -> AuditRecord:
    """Return the record that a row's body holds.

    Raises:
        ValueError: The body is not JSON in its one spelling.
    """
    fields = json.loads(row["body"])
    if not isinstance(fields, dict) or canonical(fields).decode() != row["body"]:
        raise ValueError("the body is not in its one spelling")
    values = {name: row[name] for name in _CHAIN}
    return AuditRecord(fields=fields, cursor=str(row["position"]), **values)


def columns_agree(row: Mapping[str, Any], record: AuditRecord) -> bool:
    """Tell whether the columns say what the body says."""
    fields = record.fields
    try:
        tenant = None if row["tenant_id"] is None else str(row["tenant_id"])
        return (
            tenant == fields["tenant_id"]
            and row["timestamp"] == parse_time(fields["time"])
            and json.loads(row["details"]) == fields["details"]
            and all(row[column] == fields[name] for column, name in _EVENT)
        )
    except (KeyError, TypeError, ValueError):
        return False


def storable(fields: Mapping[str, Any], tenant_type: str) -> Mapping[str, Any]:
    """Return *fields*, with a tenant that the column cannot hold moved into the details.

    An event must not be lost, nor hold up those behind it, because of a strange tenant id.
    """
    tenant = fields["tenant_id"]
    if tenant is None or _fits(tenant, tenant_type):
        return fields
    return {**fields, "tenant_id": None, "details": {**fields["details"], "tenant_named": tenant}}


def lock_of(log: str, chain: str) -> int:
    """Return the number of the advisory lock under which one chain grows."""
    digest = sha256(b"asgi-guard audit lock\x00" + canonical({"chain": chain, "log": log})).digest()
    return int.from_bytes(digest[:8], signed=True)


def _fits(tenant: str, tenant_type: str) -> bool:
    if tenant_type == "text":
        return tenant != ""
    try:
        if tenant_type == "uuid":
            return str(UUID(tenant)) == tenant
        bits = 63 if tenant_type == "bigint" else 31
        return str(int(tenant)) == tenant and -(2**bits) <= int(tenant) < 2**bits
    except ValueError:
        return False
