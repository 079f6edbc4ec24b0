"""The event catalogue as a page: ``docs/events.md`` is what `events_page` returns."""

from __future__ import annotations

from asgi_guard._internal.event_catalogue import CATALOGUE, EVENTS, EventKind, Severity

__all__ = ["CATALOGUE", "EVENTS", "EventKind", "Severity", "events_page"]

_HEAD = """\
# Events

Every refusal, violation, crossing of tenants and administrative act leaves one `SecurityEvent`.
All readers get the same ones: the [audit log](audit-log.md), metrics, the structured log.

This page is generated: `asgi_guard.observability.catalogue.events_page()` returns it from the table
`CATALOGUE`. Names are stable; match your alerts on them.

Each event carries `name`, `outcome` (`allowed`, `denied`, `error`), `reason`, `time` (UTC,
microseconds), `request_id`, `tenant_id` and `user_id` (proven, never merely claimed), `session_id`
(a hash), `auth_method`, `operation`, `client`, `trace_id` and `details`. Details hold no secret:
values under keys such as `password`, and texts that look like tokens, keys, cards or mail
addresses, are replaced before any reader sees them.

*Severity*: **critical** means that somebody should look now; **warning**: watch the rate;
**notice**: an administrative act, for the record; **info**: everyday.
"""


def events_page() -> str:
    """Return the page, in Markdown: one table for each part of the package."""
    parts = [_HEAD]
    for room in dict.fromkeys(kind.room for kind in CATALOGUE):
        parts.append(
            f"\n## {room}\n\n| Event | Severity | Outcomes | Meaning |\n|---|---|---|---|\n"
        )
        parts += [_row(kind) for kind in CATALOGUE if kind.room == room]
    return "".join(parts)


def _row(kind: EventKind) -> str:
    reasons = (
        f" Reasons: {', '.join(f'`{code}`' for code in kind.reasons)}." if kind.reasons else ""
    )
    outcomes = ", ".join(kind.outcomes)
    return f"| `{kind.name}` | {kind.severity} | {outcomes} | {kind.meaning}{reasons} |\n"
