"""Logs to attack: written by the real sink, then edited line by line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asgi_guard.audit_log import AuditLog, AuditSigningKey, JSONLinesAuditSink, VerifyReport
from asgi_guard.audit_log.jsonl.reader import verify_directory
from asgi_guard.protocols import SecurityEvent
from tests.support.headers_clock import MovedClock

__all__ = [
    "ACME",
    "GLOBEX",
    "KEY",
    "audit_log",
    "event",
    "lines",
    "of_chain",
    "put",
    "segment",
    "verified",
    "written",
]

KEY = AuditSigningKey.generate()
ACME, GLOBEX = "acme", "globex"


def event(number: int = 0, *, tenant: str | None = ACME, **fields: Any) -> SecurityEvent:
    """Make one event."""
    known: dict[str, Any] = {
        "name": "TENANT_MISMATCH",
        "outcome": "denied",
        "reason": "two_tenants",
        "time": datetime(2026, 3, 1, 12, 0, 0, number, tzinfo=UTC),
        "tenant_id": tenant,
        "user_id": f"user-{number}",
        "details": {"number": number},
    }
    return SecurityEvent(**(known | fields))


def audit_log(path: Path, *, key: AuditSigningKey = KEY, **options: Any) -> AuditLog:
    """Make a log of one directory; options of the sink by their names."""
    of_sink = {name: options.pop(name) for name in _SINK if name in options}
    sink = JSONLinesAuditSink(path, **of_sink)
    options.setdefault("clock", MovedClock())
    return AuditLog(sinks=[sink], signing_key=key, **options)


_SINK = ("max_bytes", "daily", "keep_days", "compress")


async def written(path: Path, *, batches: int = 4, **options: Any) -> Path:
    """Write a log: in each batch one event of each tenant and one of none."""
    async with audit_log(path, **options) as audit:
        for number in range(batches):
            for tenant in (ACME, GLOBEX, None):
                await audit.record(event(number, tenant=tenant))
    return path


def verified(path: Path, *, key: AuditSigningKey = KEY, **options: Any) -> VerifyReport:
    """Verify a directory."""
    return verify_directory(path, key.verify_keys, **options)


def segment(path: Path, number: int = 1) -> Path:
    """Give the path of one plain segment."""
    return path / f"audit-{number:08d}.jsonl"


def lines(path: Path, number: int = 1) -> list[dict[str, Any]]:
    """Read one segment."""
    plain = segment(path, number)
    packed = plain.with_name(plain.name + ".gz")
    text = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    return [json.loads(line) for line in text.splitlines()]


def put(path: Path, entries: Iterable[dict[str, Any]], number: int = 1) -> None:
    """Write one segment over, in the one spelling."""
    dumped = [json.dumps(each, sort_keys=True, separators=(",", ":")) for each in entries]
    segment(path, number).write_text("".join(f"{line}\n" for line in dumped))


def of_chain(entries: list[dict[str, Any]], chain: str) -> list[int]:
    """Give the places of a chain's records."""
    return [
        place
        for place, each in enumerate(entries)
        if each["kind"] == "record" and each["chain"] == chain
    ]
