"""What another service may put on record: checked field by field, identity never taken from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from asgi_guard._internal.clock import utc
from asgi_guard._internal.event_catalogue import EVENTS
from asgi_guard.errors import RequestInvalidError
from asgi_guard.protocols import Clock, SecurityEvent
from asgi_guard.tenancy import UserExecutionContext

__all__ = ["DETAILS_MOST", "NAME_PATTERN", "OUTCOMES", "REASON_PATTERN", "submitted_event"]

NAME_PATTERN: Final = "^[A-Z][A-Z0-9_]{2,63}$"
REASON_PATTERN: Final = "^([a-z][a-z0-9_]{0,63})?$"
OUTCOMES: Final = ("allowed", "denied", "error")
DETAILS_MOST: Final = 50
_LONGEST: Final = 256
_KNOWN: Final = frozenset({"name", "outcome", "reason", "operation", "details"})


def submitted_event(body: bytes, *, context: UserExecutionContext, clock: Clock) -> SecurityEvent:
    """Return the event that *body* describes, with the identity of *context*.

    A name of this package's own is refused: whoever may add records may not speak in its voice.

    Raises:
        RequestInvalidError: It is not what the OpenAPI description asks for.
    """
    sent = _parsed(body)
    name, outcome = sent.get("name"), sent.get("outcome")
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN[1:-1], name):
        raise RequestInvalidError("audit_name_invalid")
    if name in EVENTS:
        raise RequestInvalidError("audit_name_reserved")
    if outcome not in OUTCOMES:
        raise RequestInvalidError("audit_outcome_invalid")
    return SecurityEvent(
        name=name,
        outcome=str(outcome),
        reason=_reason(sent.get("reason", "")),
        operation=_short("operation", sent.get("operation", "")) or context.operation or None,
        details={**_details(sent.get("details", {})), "source": "http"},
        time=utc(clock.now()),
        request_id=context.request_id,
        tenant_id=context.tenant_id,
        user_id=context.user_id,
        session_id=context.session_id,
        auth_method=context.auth_method,
        client=context.client,
        trace_id=context.trace_id,
    )


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestInvalidError("audit_body_not_json") from None
    if not isinstance(sent, dict) or not set(sent) <= _KNOWN:
        raise RequestInvalidError("audit_body_unknown_field")
    return sent


def _reason(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(REASON_PATTERN[1:-1], value):
        raise RequestInvalidError("audit_reason_invalid")
    return value


def _short(field: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise RequestInvalidError(f"audit_{field}_invalid")
    return value


def _details(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict) or len(value) > DETAILS_MOST:
        raise RequestInvalidError("audit_details_invalid")
    for key, inner in value.items():
        _short("details", key)
        if isinstance(inner, str):
            _short("details", inner)
        elif inner is not None and not isinstance(inner, bool | int | float):
            raise RequestInvalidError("audit_details_invalid")
    return value
