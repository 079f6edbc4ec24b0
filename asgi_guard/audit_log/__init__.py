"""An audit log that cannot be quietly altered.

Protects the record of what happened, against whoever would rather it had not: each tenant's
events form a hash chain, signed checkpoints say where the chains stand, and `verify` names the
first record that was dropped, altered, moved, repeated, forged or brought from elsewhere.
"""

from __future__ import annotations

from asgi_guard.audit_log.app import audit_app
from asgi_guard.audit_log.errors import (
    AuditLockedError,
    AuditTamperedError,
    AuditUnavailableError,
)
from asgi_guard.audit_log.findings import Finding, VerifyReport
from asgi_guard.audit_log.jsonl import JSONLinesAuditSink
from asgi_guard.audit_log.log import AuditLog, AuditMode
from asgi_guard.audit_log.postgres import AuditTables, PostgresAuditSink
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint
from asgi_guard.audit_log.signing import AuditSigningKey, AuditVerifyKeys
from asgi_guard.audit_log.sinks import AuditSink
from asgi_guard.audit_log.verify import Verifier

__all__ = [
    "AuditLockedError",
    "AuditLog",
    "AuditMode",
    "AuditQuery",
    "AuditRecord",
    "AuditSigningKey",
    "AuditSink",
    "AuditTables",
    "AuditTamperedError",
    "AuditUnavailableError",
    "AuditVerifyKeys",
    "Checkpoint",
    "Finding",
    "JSONLinesAuditSink",
    "PostgresAuditSink",
    "Verifier",
    "VerifyReport",
    "audit_app",
]
