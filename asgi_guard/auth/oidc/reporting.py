"""The events of logins and logouts: who, where and why, and nothing that anybody sent."""

from __future__ import annotations

from collections.abc import Mapping

from asgi_guard._internal.asgi import client_of
from asgi_guard._internal.events import emit
from asgi_guard._internal.principal import session_hash
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.errors import GuardError, RejectionError, UnavailableError
from asgi_guard.protocols import Clock, Scope

__all__ = ["report_done", "report_refused"]

Details = Mapping[str, str | int | float | bool | None]


def report_done(
    name: str,
    scope: Scope,
    *,
    clock: Clock,
    tenant_id: str | None = None,
    user_id: str | None = None,
    session: str | None = None,
    details: Details | None = None,
    routine: bool = False,
) -> None:
    """Leave the event of something that was done.

    Args:
        name: Of the event.
        scope: Of the request.
        clock: Where its time comes from.
        tenant_id: At which the login happened.
        user_id: The provider's name of the user.
        session: Id of the session; the event holds its hash.
        details: Further plain values.
        routine: Whether it is for readers of routine events alone.
    """
    emit(
        name,
        outcome="allowed",
        routine=routine,
        clock=clock,
        details=details,
        request_id=request_id_of(scope),
        client=client_of(scope),
        tenant_id=tenant_id,
        user_id=user_id,
        session_id=session_hash(session),
        auth_method="oidc",
    )


def report_refused(
    name: str, scope: Scope, error: Exception, *, clock: Clock, details: Details | None = None
) -> None:
    """Leave the one event of a refusal.

    Args:
        name: Of the event.
        scope: Of the request.
        error: Why; of an error that is not ours its class alone is named.
        clock: Where its time comes from.
        details: Further plain values.
    """
    if getattr(error, "reported", False):
        return  # by the throttle, with which limit it was
    known = error.reason if isinstance(error, RejectionError | UnavailableError) else None
    emit(
        name,
        outcome="denied" if isinstance(error, RejectionError) else "error",
        reason=known or "hook_failed",
        clock=clock,
        details={
            "code": error.code if isinstance(error, GuardError) else "internal_error",
            **({} if known else {"error": type(error).__name__}),
            **(details or {}),
        },
        request_id=request_id_of(scope),
        client=client_of(scope),
        auth_method="oidc",
    )
