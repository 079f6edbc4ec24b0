"""The checks of an envelope in the worker, and the one event that each of their ends leaves."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, NamedTuple, NoReturn

from asgi_guard._internal.events import emit
from asgi_guard.errors import EnvelopeRefusedError, UnavailableError
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.envelope_claims import Claims, EnvelopeTextError, read_text
from asgi_guard.tenancy.envelope_keys import EnvelopeKeys
from asgi_guard.tenancy.membership import Membership, Memberships

__all__ = [
    "AUTH_METHOD",
    "Delivery",
    "job_context",
    "left_open",
    "look_up",
    "proven",
    "refuse",
    "tell",
]

AUTH_METHOD: Final = "envelope"
"""The ``auth_method`` of contexts that came out of an envelope."""

_CLOCKS_DIFFER: Final = 60
_SHOWN: Final = 100  # characters of a job id that nobody has signed


class Delivery(NamedTuple):
    """What a worker was handed.

    Args:
        text: The envelope, or what came in its place.
        job: Name of the job that is about to run.
        job_id: What the queue calls it.
        arguments: Canonical bytes of its arguments, if they are bound.
    """

    text: object
    job: str
    job_id: str
    arguments: bytes | None


def proven(delivery: Delivery, keys: EnvelopeKeys, *, now: float) -> Claims:
    """Return the claims of an envelope that is ours, of this job and of this time.

    Raises:
        EnvelopeRefusedError: It is not; the event says why.
    """
    if delivery.text is None:
        refuse(delivery, "envelope_missing")
    try:
        claims = read_text(delivery.text, keys)
    except EnvelopeTextError as problem:
        refuse(delivery, problem.reason)
    found = _mismatch(delivery, claims, now)
    if found is not None:
        refuse(delivery, found, claims)
    return claims


def _mismatch(delivery: Delivery, claims: Claims, now: float) -> str | None:
    digest = "" if delivery.arguments is None else sha256(delivery.arguments).hexdigest()
    checks = (
        ("envelope_wrong_job", claims.job == delivery.job),
        ("envelope_expired", now < claims.expires_at),
        ("envelope_from_the_future", claims.issued_at <= now + _CLOCKS_DIFFER),
        ("envelope_wrong_job_id", delivery.job_id and claims.job_id in ("", delivery.job_id)),
        ("envelope_wrong_arguments", claims.arguments == digest),
    )
    return next((reason for reason, holds in checks if not holds), None)


async def look_up(memberships: Memberships, claims: Claims) -> Membership | None:
    """Return what the sender is in its tenant now.

    Raises:
        UnavailableError: That cannot be had.
    """
    try:
        found = await memberships.lookup(claims.user_id, claims.tenant_id)
    except UnavailableError:
        raise
    except Exception as failure:
        raise UnavailableError("memberships_unreachable") from failure
    if found is not None and not isinstance(found, Membership):
        raise UnavailableError("membership_malformed")
    return found


def job_context(claims: Claims, membership: Membership) -> UserExecutionContext:
    """Make the job's context: what the sender had, as far as the user still has it."""
    sent = UserExecutionContext(
        tenant_id=claims.tenant_id,
        user_id=claims.user_id,
        request_id=claims.request_id,
        # Roles that the sender's credential gave, and the membership does not, end with it.
        roles=frozenset(claims.roles) & frozenset(membership.roles),
        scopes=frozenset(claims.scopes),
        auth_method=AUTH_METHOD,
        operation=claims.sender,
        trace_id=claims.trace_id,
        issued_at=claims.issued_at,
        expires_at=claims.expires_at,
    )
    return sent.child(claims.job)


def refuse(delivery: Delivery, reason: str, claims: Claims | None = None) -> NoReturn:
    """Report and raise.

    Raises:
        EnvelopeRefusedError: Always.
    """
    tell(delivery, reason, claims)
    raise EnvelopeRefusedError(reason)


def tell(
    delivery: Delivery, reason: str, claims: Claims | None, *, outcome: str = "denied"
) -> None:
    """Leave the event of an opening; it names whom signed claims name, and nobody else."""
    details = {"job": delivery.job, "job_id": str(delivery.job_id)[:_SHOWN]}
    names: dict[str, Any] = {"operation": delivery.job} if claims is None else _who(claims)
    if outcome == "allowed":
        emit("ENVELOPE_OPENED", outcome=outcome, details=details, **names)
    else:
        emit("ENVELOPE_REFUSED", outcome=outcome, reason=reason, details=details, **names)


def left_open(job_id: str, reason: str, claims: Claims) -> None:
    """Leave the event of a job that ended well, which could not be noted."""
    emit(
        "ENVELOPE_LEFT_OPEN",
        outcome="error",
        reason=reason,
        details={"job": claims.job, "job_id": job_id[:_SHOWN]},
        **_who(claims),
    )


def _who(claims: Claims) -> dict[str, Any]:
    return {
        "operation": claims.job,
        "tenant_id": claims.tenant_id,
        "user_id": claims.user_id,
        "request_id": claims.request_id,
        "trace_id": claims.trace_id,
        "auth_method": AUTH_METHOD,
    }
