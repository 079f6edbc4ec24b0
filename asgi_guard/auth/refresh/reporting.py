"""The one event of each operation on refresh tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from asgi_guard._internal.events import emit
from asgi_guard.auth.refresh.family import Family
from asgi_guard.errors import (
    AuthenticationError,
    GuardError,
    RefreshRefusedError,
    UnavailableError,
)
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.current import entered_context

__all__ = ["Case", "hashed", "reported"]


@dataclass(slots=True, kw_only=True)
class Case:
    """What is known so far of the operation under way.

    Args:
        event: Its name if it ends well.
        refused: Its name if it does not.
        family: Whose identity it is about, once proven.
        client: Address that the request came from.
        request_id: Of the request.
        details: Further plain values for the event.
    """

    event: str
    refused: str
    family: Family | None = None
    client: str | None = None
    request_id: str | None = None
    details: dict[str, str | int | float | bool | None] = field(default_factory=dict)

    def refuse_as(self, event: str) -> None:
        """Give a refusal another name."""
        self.refused = event


@contextmanager
def reported(event: str, *, clock: Clock) -> Iterator[Case]:
    """Leave one event about a block, however it ends.

    Args:
        event: Its name.
        clock: Of the event's time.

    Raises:
        RefreshRefusedError: The block raised it, or a token did not verify.
        UnavailableError: The block raised it, or something that is none of our errors.
    """
    case = Case(event=event, refused=event)
    reason = ""
    try:
        yield case
    except AuthenticationError as refusal:
        case.details |= refusal.details
        reason = refusal.reason
    except RefreshRefusedError as refusal:
        _tell(case, clock, "denied", refusal)
        raise
    except UnavailableError as failure:
        _tell(case, clock, "error", failure)
        raise
    except GuardError:  # a mistake in the call, for the developer
        raise
    except asyncio.CancelledError:  # the caller hung up; how far it came is in the store
        _emit(case.refused, case, clock, "error", "interrupted")
        raise
    except Exception as failure:
        fault = UnavailableError("refresh_store_failed")
        _tell(case, clock, "error", fault)
        raise fault from failure
    else:
        _emit(case.event, case, clock, "allowed", "")
        return
    refused_token = RefreshRefusedError(reason)
    _tell(case, clock, "denied", refused_token)
    raise refused_token


def hashed(name: str) -> str:
    """Return by what a family, session or token is named in events."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _tell(
    case: Case, clock: Clock, outcome: str, error: RefreshRefusedError | UnavailableError
) -> None:
    error.reported = True
    _emit(case.refused, case, clock, outcome, error.reason)


def _emit(name: str, case: Case, clock: Clock, outcome: str, reason: str) -> None:
    # A refresh comes before there is a context; the identity is the one of the family.
    family, context = case.family, entered_context()
    session = None if family is None else family.session_id
    emit(
        name,
        outcome=outcome,
        reason=reason,
        clock=clock,
        details=case.details,
        request_id=case.request_id or (None if context is None else context.request_id),
        client=case.client or (None if context is None else context.client),
        tenant_id=None if family is None else family.tenant_id,
        user_id=None if family is None else family.subject,
        session_id=None if session is None else hashed(session),
    )
