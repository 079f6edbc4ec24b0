"""One event per operation, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from asgi_guard.errors import RejectionError, UnavailableError
from asgi_guard.tenancy.reporting import report

__all__ = ["Details", "reported"]

Details = dict[str, str | int | float | bool | None]


@contextmanager
def reported(event: str, **details: str | float | None) -> Iterator[Details]:
    """Leave one *event* about a block: allowed, denied or error.

    The block adds to the details that it is handed, and sets ``reason`` among them if it ends
    well without having done anything.

    Raises:
        UnavailableError: The block raised something that is none of our errors.
    """
    known: Details = dict(details)
    try:
        yield known
    except RejectionError as refusal:
        report(event, outcome="denied", reason=refusal.reason, details=known)
        raise
    except UnavailableError as failure:
        report(event, outcome="error", reason=failure.reason, details=known)
        raise
    except asyncio.CancelledError:  # the caller hung up; how far it came is in the store
        report(event, outcome="error", reason="interrupted", details=known)
        raise
    except Exception as failure:
        report(event, outcome="error", reason="api_keys_unreachable", details=known)
        raise UnavailableError("api_keys_unreachable") from failure
    reason = str(known.pop("reason", ""))
    report(event, outcome="denied" if reason else "allowed", reason=reason, details=known)
