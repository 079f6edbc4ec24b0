"""The JSON Lines sink: signed, rotated, gzipped segments in a directory of their own."""

from __future__ import annotations

from asgi_guard.audit_log.jsonl.sink import JSONLinesAuditSink

__all__ = ["JSONLinesAuditSink"]
