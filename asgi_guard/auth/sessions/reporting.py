"""Events about sessions: whose it is, who did it, and never a sid."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from asgi_guard._internal.events import emit
from asgi_guard._internal.principal import session_hash
from asgi_guard.auth.sessions.session import AUTH_METHOD, Session
from asgi_guard.errors import GuardError, RejectionError, UnavailableError
from asgi_guard.tenancy.current import entered_context

__all__ = ["Details", "Step", "reported", "tell"]

Details = Mapping[str, str | int | float | bool | None]


def tell(
    name: str,
    *,
    outcome: str = "allowed",
    reason: str = "",
    session: Session | None = None,
    session_id: str | None = None,
    user_id: str | None = None,
    tenant_id: str | None = None,
    client: str | None = None,
    request_id: str | None = None,
    details: Details | None = None,
) -> None:
    """Emit one event about a session, or about all of a user or tenant.

    The event is about whose session it is. If somebody else did it, ``details`` say who.
    """
    context = entered_context()
    owner = session.user_id if session else user_id
    known = dict(details or {})
    if context is not None and context.user_id != owner:
        known["by_user"] = context.user_id
    emit(
        name,
        outcome=outcome,
        reason=reason,
        details=known,
        session_id=session_hash(session.session_id if session else session_id),
        user_id=owner,
        tenant_id=session.tenant_id if session else tenant_id,
        auth_method=AUTH_METHOD,
        client=client or (context.client if context else None),
        request_id=request_id or (context.request_id if context else None),
        trace_id=context.trace_id if context else None,
    )


@dataclass(slots=True)
class Step:
    """One step of a session's life; whoever takes it fills in whose it turned out to be."""

    session: Session | None = None
    session_id: str | None = None
    user_id: str | None = None
    tenant_id: str | None = None
    client: str | None = None
    request_id: str | None = None
    details: dict[str, str | int | float | bool | None] = field(default_factory=dict)

    def told(self, name: str, outcome: str = "allowed", reason: str = "") -> None:
        """Leave the event of this step."""
        tell(
            name,
            outcome=outcome,
            reason=reason,
            session=self.session,
            session_id=self.session_id,
            user_id=self.user_id,
            tenant_id=self.tenant_id,
            client=self.client,
            request_id=self.request_id,
            details=self.details,
        )


@contextmanager
def reported(name: str, *, quiet: bool = False, **who: str | None) -> Iterator[Step]:
    """Leave one event *name* about a block, however it ends.

    Args:
        name: In the catalogue.
        quiet: Leave none if it ends well: it has happened often enough without mattering.
        **who: Fields of `Step` that are known before.

    Raises:
        UnavailableError: The block raised something that is none of our errors.

    A caller that hangs up in the middle leaves the event with the reason ``interrupted``.
    """
    step = Step(session_id=who.get("session_id"), user_id=who.get("user_id"))
    step.tenant_id = who.get("tenant_id")
    try:
        yield step
    except RejectionError as refusal:
        step.details.update(refusal.details)
        step.told(name, "denied", refusal.reason)
        refusal.reported = True
        raise
    except UnavailableError as failure:
        step.told(name, "error", failure.reason)
        failure.reported = True
        raise
    except GuardError:
        raise  # the developer's to mend
    except asyncio.CancelledError:  # the caller hung up; how far it came is in the store
        if not quiet:
            step.told(name, "error", "interrupted")
        raise
    except Exception as failure:
        step.told(name, "error", "sessions_unreachable")
        unavailable = UnavailableError("sessions_unreachable")
        unavailable.reported = True
        raise unavailable from failure
    if not quiet:
        step.told(name)
