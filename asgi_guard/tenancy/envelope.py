"""ContextEnvelope: who a job runs for, signed by its sender and proven again by its worker.

A queue keeps what it is given, and hands it to whoever asks: a tenant id among a job's arguments
is a tenant that was named. In an envelope it is one that was proven when the job was sent, and is
proven anew before the job runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.entropy import new_request_id
from asgi_guard.errors import ConfigError, ContextMissingError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore, Principal
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import require_context, use_context
from asgi_guard.tenancy.envelope_claims import MAX_LENGTH, Claims, write_text
from asgi_guard.tenancy.envelope_deliveries import Deliveries
from asgi_guard.tenancy.envelope_keys import EnvelopeKeys
from asgi_guard.tenancy.envelope_lifetime import Lifetimes
from asgi_guard.tenancy.envelope_proof import (
    Delivery,
    job_context,
    left_open,
    look_up,
    proven,
    refuse,
    tell,
)
from asgi_guard.tenancy.membership import Memberships
from asgi_guard.tenancy.policy import access_refusal
from asgi_guard.tenancy.reporting import report

__all__ = ["ContextEnvelope", "OpenedEnvelope"]


@dataclass(frozen=True, slots=True)
class OpenedEnvelope:
    """An envelope that held.

    Args:
        context: What the job runs under; it ends with the envelope.
        claims: What was signed.
        job_id: The delivery it was opened for.
    """

    context: UserExecutionContext
    claims: Claims
    job_id: str


class ContextEnvelope:
    """Seals the current context for one job, and opens it again in the worker.

    ::

        text = envelope.seal("reports.build", job_id=job_id, arguments=b'["42"]')
        opened = await envelope.open(text, "reports.build", job_id=job_id, arguments=b'["42"]')
        with use_context(opened.context):
            ...
        await envelope.finish(opened)

    Args:
        keys: The first signs, all of them open.
        memberships: Asked again whenever an envelope is opened; None in processes that only send.
        store: Where deliveries are counted, shared by all workers; None in processes that only
            send.
        lifetime: Seconds from when a job is due until it must have ended, retries included.
        max_delay: Seconds for which a job may be put off when it is sent.
        max_deliveries: How often one job may be delivered, retries included.
        clock: Unix seconds. Those of senders and workers may differ by a minute.

    Raises:
        ConfigError: A setting is of the wrong kind or out of range.

    It shows ids, roles and scopes to whoever reads the queue; no credential, session id, address.
    """

    def __init__(
        self,
        keys: EnvelopeKeys,
        *,
        memberships: Memberships | None = None,
        store: KeyValueStore | None = None,
        lifetime: float = 3600.0,
        max_delay: float = 86400.0,
        max_deliveries: int = 25,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(keys, EnvelopeKeys):
            raise ConfigError(
                "ContextEnvelope.keys", f"is a {type(keys).__name__}", "Pass EnvelopeKeys([...])."
            )
        _check("memberships", memberships, Memberships)
        _check("store", store, KeyValueStore)
        if not 1 <= max_deliveries <= 1000:  # noqa: PLR2004 - stated in the message
            raise ConfigError(
                "ContextEnvelope.max_deliveries", f"is {max_deliveries}", "Pass 1 to 1000."
            )
        self._keys = keys
        self._memberships = memberships
        self._deliveries = None if store is None else Deliveries(store, most=max_deliveries)
        self._lifetimes = Lifetimes(lifetime, max_delay)
        self._clock = clock

    def seal(
        self,
        job: str,
        *,
        job_id: str = "",
        arguments: bytes | None = None,
        context: UserExecutionContext | None = None,
        roles: Iterable[str] | None = None,
        scopes: Iterable[str] | None = None,
        delay: float = 0.0,
        lifetime: float | None = None,
    ) -> str:
        """Return the current context, signed for one job.

        Args:
            job: Name of the job.
            job_id: What the queue will call this one job; empty if that is not known yet. The
                first delivery then decides.
            arguments: Canonical bytes of the job's arguments, so that the envelope fits no
                others.
            context: Whose, instead of the current one.
            roles: Roles to keep; None keeps all.
            scopes: Scopes to keep; None keeps all.
            delay: Seconds until the job is due.
            lifetime: Instead of the general one.

        Returns:
            ASCII text of at most 8192 characters.

        Raises:
            ContextMissingError: There is no context to send, or it has expired.
            ExpansionError: *roles* or *scopes* has more than the context.
            ConfigError: *job* is empty, *delay* or *lifetime* is out of range, the text would be
                too long, or a job sent from inside a job would be due after that one's end.
        """
        if not job or not isinstance(job, str):
            raise ConfigError("ContextEnvelope.seal(job)", "is no name", "Name the job.")
        context = self._sender(job, context)
        # Checked by the context's own rule: never more than the sender has.
        narrowed = context.child(job, roles=roles, scopes=scopes)
        now = self._clock.now()
        text = write_text(
            Claims(
                id=new_request_id(),
                job=job,
                job_id=job_id,
                arguments="" if arguments is None else sha256(arguments).hexdigest(),
                issued_at=math.floor(now),
                expires_at=self._lifetimes.end(context, now, delay, lifetime),
                tenant_id=context.tenant_id,
                user_id=context.user_id,
                roles=sorted(narrowed.roles),
                scopes=sorted(narrowed.scopes),
                sender=context.operation,
                request_id=context.request_id,
                trace_id=context.trace_id,
            ),
            self._keys,
        )
        if len(text) > MAX_LENGTH:
            raise ConfigError(
                "ContextEnvelope.seal",
                f"would write more than {MAX_LENGTH} characters",
                "Send fewer roles and scopes: seal(..., roles=...).",
            )
        return text

    async def open(
        self, text: object, job: str, *, job_id: str, arguments: bytes | None = None
    ) -> OpenedEnvelope:
        """Prove an envelope again, and return the context that its job may run under.

        Args:
            text: What came with the job; None if nothing did.
            job: Name of the job that is about to run.
            job_id: What the queue calls it; the same in each delivery of it.
            arguments: Canonical bytes of the arguments that it is about to run with; None if it
                was sealed without.

        Raises:
            EnvelopeRefusedError: It does not hold; the event ``ENVELOPE_REFUSED`` says why.
            UnavailableError: Memberships or deliveries cannot be looked up now. Try again later.
            ConfigError: There are no ``memberships`` or no ``store`` to open with.
        """
        if self._memberships is None or self._deliveries is None:
            raise ConfigError(
                "ContextEnvelope.open",
                "needs memberships and a store, and was built without",
                "Pass memberships= and store= where jobs are run.",
            )
        delivery = Delivery(text, job, job_id, arguments)
        claims = proven(delivery, self._keys, now=self._clock.now())
        try:
            membership = await look_up(self._memberships, claims)
            user = Principal(user_id=claims.user_id)
            reason = access_refusal(user, claims.tenant_id, membership)
            if membership is not None and reason is None:
                reason = await self._deliveries.begin(claims.id, job_id, ttl=self._left(claims))
        except UnavailableError as failure:
            tell(delivery, failure.reason, claims, outcome="error")
            raise
        if membership is None or reason is not None:
            refuse(delivery, reason or "not_a_member", claims)
        context = job_context(claims, membership)
        tell(delivery, "", claims, outcome="allowed")
        return OpenedEnvelope(context, claims, job_id)

    async def finish(self, opened: OpenedEnvelope) -> None:
        """Note that the job has ended well, so that none of its deliveries runs again.

        Raises nothing when the store is away: the job's work is done, and failing now would have
        it done twice. The event ``ENVELOPE_LEFT_OPEN`` tells.
        """
        claims = opened.claims
        left = self._left(claims)
        if self._deliveries is None or left <= 0:
            return
        try:
            await self._deliveries.finish(claims.id, opened.job_id, ttl=left)
        except UnavailableError as failure:
            left_open(opened.job_id, failure.reason, claims)

    def _sender(self, job: str, given: UserExecutionContext | None) -> UserExecutionContext:
        try:
            if given is None:
                return require_context(job, clock=self._clock)
            with use_context(given):  # its end is looked at in one place
                return require_context(job, clock=self._clock)
        except ContextMissingError as missing:
            report("ENVELOPE_REFUSED", reason=missing.code, operation=job)
            raise

    def _left(self, claims: Claims) -> float:
        return claims.expires_at - self._clock.now()


def _check(name: str, value: object, protocol: type) -> None:
    if value is not None and (isinstance(value, type) or not isinstance(value, protocol)):
        raise ConfigError(
            f"ContextEnvelope.{name}", f"{value!r} is none", f"Pass a {protocol.__name__}."
        )
