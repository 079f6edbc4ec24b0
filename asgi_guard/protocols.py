"""What a user of the package may supply, as protocols and the plain values they exchange.

Anything with these methods fits; nothing here needs to be inherited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

__all__ = [
    "ASGIApp",
    "Authenticator",
    "Clock",
    "EventSink",
    "Fetch",
    "FetchResponse",
    "KeyValueStore",
    "Principal",
    "Receive",
    "ReplayCache",
    "Scope",
    "SecurityEvent",
    "Send",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Clock(Protocol):
    """Where time comes from; tests move it by hand."""

    def now(self) -> float:
        """Return Unix time in seconds."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards, from an arbitrary start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEvent:
    """One security-relevant fact, as every reader of the event stream receives it.

    Args:
        name: Stable event name, e.g. ``"TENANT_MISMATCH"``.
        outcome: ``"allowed"``, ``"denied"`` or ``"error"``.
        reason: Stable reason code, e.g. ``"membership_suspended"``; empty when allowed.
        time: When, UTC with microseconds.
        request_id: Id of the request, if there was one.
        tenant_id: The proven tenant, never one that was merely claimed.
        user_id: The proven user.
        session_id: Hash of the session id; never the id itself.
        auth_method: How the user was authenticated, e.g. ``"bearer"``.
        operation: What was being done, e.g. ``"notes.list"``.
        client: Client address as the server saw it.
        trace_id: Trace the request belongs to, if traced.
        details: Further plain values; must hold no secret and no personal data.
    """

    name: str
    outcome: str
    reason: str = ""
    time: datetime
    request_id: str | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    auth_method: str | None = None
    operation: str | None = None
    client: str | None = None
    trace_id: str | None = None
    details: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@runtime_checkable
class EventSink(Protocol):
    """A reader of the event stream: audit log, metrics, structured log.

    `emit` is called on the event loop and must not block; queue and return.
    """

    def emit(self, event: SecurityEvent) -> None:
        """Take one event. An exception is counted and logged, and reaches no caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a verified credential speaks for.

    Args:
        user_id: Stable id of the user, the token's ``sub``.
        tenant_id: Tenant that the credential itself is bound to; None if it names none.
        roles: Roles the credential grants, before membership adds the tenant's own.
        scopes: OAuth scopes (RFC 6749 section 3.3).
        auth_method: How, e.g. ``"bearer"``.
        session_id: Server-side session behind the credential, if any.
        issued_at: Unix seconds, if the credential says so.
        expires_at: Unix seconds after which it must not be used.
        claims: The verified claims, for resolvers that need another one.
        details: What an event may say of the credential, e.g. the key that signed it and the
            hash of its id; no secrets.
    """

    user_id: str
    tenant_id: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    auth_method: str = "bearer"
    session_id: str | None = None
    issued_at: float | None = None
    expires_at: float | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    details: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@runtime_checkable
class Authenticator(Protocol):
    """Turns the credential of a connection into a `Principal`."""

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Decide about one HTTP or WebSocket scope.

        Returns:
            The principal, or None when the connection carries no credential of this kind, so
            that the next authenticator may look.

        Raises:
            AuthenticationError: There is such a credential and it is not acceptable.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResponse:
    """What another server answered.

    Args:
        status: HTTP status.
        headers: By lower-case name.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class Fetch(Protocol):
    """One HTTP request to another server, through whichever client the app has."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        max_bytes: int,
    ) -> FetchResponse:
        """Send it and return the answer, whatever its status.

        It does not follow redirects, verifies certificates, and stops reading after *max_bytes*
        with an error. The caller bounds the time and cancels. Any exception means "unreachable".
        """


@runtime_checkable
class KeyValueStore(Protocol):
    """Small state that all processes of an app share: sessions, login state, nonces, revocations.

    Keys are ASCII text of 1 to 250 characters without spaces, values at most 64 KiB. Every
    entry ends *ttl* seconds after it was written and is then as if it had never been there. Each
    method is atomic, among processes too: of any number of callers one wins.

    Every method raises `UnavailableError` when the store does not answer; what a write did is
    then unknown. A store never makes room by dropping an entry that has not ended: it refuses the
    new one.
    """

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, or None."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each of *keys*, in their order, in one round trip."""

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Write, whatever was there."""

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Write if nothing is there; return whether this call wrote."""

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        """Write *new* if *old* is what is there; return whether this call wrote."""

    async def take(self, key: str) -> bytes | None:
        """Remove the entry and return its value: to one caller only, to all others None."""

    async def delete(self, key: str) -> bool:
        """Remove the entry; return whether there was one."""


@runtime_checkable
class ReplayCache(Protocol):
    """Remembers what may be used once: the ``jti`` of proofs, tickets, job envelopes."""

    async def first_use(self, key: str, *, ttl: float) -> bool:
        """Remember *key* for *ttl* seconds; return False if it was remembered already.

        Args:
            key: Any text; it is stored hashed, so its length and alphabet do not matter.
            ttl: Seconds for which a second use must be noticed.

        Raises:
            UnavailableError: It cannot be remembered now, so it must not be accepted.
        """
