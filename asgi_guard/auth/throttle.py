"""Throttle: refused credentials are counted per address, tenant and account; too many is a 429.

Counted is the attempt, before it is checked, and given back if it turns out well: a hundred
attempts sent at once would all pass a counter that only failures raise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.extras import require_extra
from asgi_guard.auth.throttle_names import counter_name
from asgi_guard.errors import ConfigError, ThrottledError, UnavailableError
from asgi_guard.protocols import Clock

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.storage import Storage

__all__ = ["Attempt", "Throttle", "ThrottleLimits"]

# The address first: once it is over, its attempts no longer count against anybody's account.
_ORDER: Final = ("address", "tenant", "account")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleLimits:
    """How many refused attempts are too many, in the notation of `limits`; ``""`` for no limit.

    Args:
        account: For one account, from anywhere (NIST SP 800-63B-4 section 3.2.2 allows 100 in a
            row). Whoever knows the name can use them up: keep it well above typing errors.
        address: From one IPv4 address or one IPv6 /64.
        tenant: Within one tenant, over all accounts: a brake on trying one password everywhere.
    """

    account: str = "10 per 5 minutes"
    address: str = "50 per 5 minutes"
    tenant: str = "1000 per 5 minutes"


class Throttle:
    """Count refused attempts, and refuse further ones for a while.

    Args:
        limits: How many.
        storage: An asynchronous storage of `limits`, shared by all processes, e.g.
            ``storage_from_string("async+redis://...")``. By default each process counts for
            itself.
        max_counters: How many counters the default storage keeps.
        name: Tells several throttles in one storage apart.
        clock: Unix seconds; that of the default storage.

    Raises:
        ConfigError: A limit does not parse, or there is none.
        MissingExtraError: The ``throttle`` extra is not installed.

    Windows are fixed: around the end of one, up to twice the limit may pass.
    """

    def __init__(
        self,
        *,
        limits: ThrottleLimits | None = None,
        storage: Storage | None = None,
        max_counters: int = 100_000,
        name: str = "login",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        library = require_extra("limits", feature="Throttle", extra="throttle")
        from asgi_guard.auth.throttle_storage import BoundedCounters  # noqa: PLC0415 - an extra

        if max_counters < 1:
            raise ConfigError("Throttle.max_counters", f"is {max_counters}", "Pass 1 or more.")
        self._storage = storage or BoundedCounters(size=max_counters, clock=clock)
        self._items = _parsed(limits or ThrottleLimits(), library)
        self._name = name
        self._clock = clock

    def attempt(
        self,
        *,
        address: str | None = None,
        account: str | None = None,
        tenant: str | None = None,
        request_id: str | None = None,
    ) -> Attempt:
        """Return an attempt to enter: ``async with throttle.attempt(...) as attempt:``.

        Args:
            address: Where it comes from; None, unknown, is one more name with a counter.
            account: Who it claims to be, as typed; case and width do not matter.
            tenant: Which tenant it names.
            request_id: For the event.

        Entering raises `ThrottledError` (and leaves the event ``THROTTLED``) or
        `UnavailableError`. Call ``attempt.succeeded()`` inside if the credential was good.
        """
        names = {"address": address or "unknown", "tenant": tenant, "account": account}
        counters = [
            (dimension, item, counter_name(self._name, dimension, str(names[dimension])))
            for dimension in _ORDER
            if names[dimension] is not None
            for item in self._items[dimension]
        ]
        return Attempt(self, counters, client=address, request_id=request_id)

    async def ensure_open(self, attempt: Attempt) -> None:
        """Refuse *attempt* if a limit was reached, without counting it.

        For credentials that come with every request, most of them good; count those that are
        refused with `count`.

        Raises:
            ThrottledError: A limit was reached.
            UnavailableError: The storage does not answer.
        """
        for dimension, item, key in attempt.counters:
            if await self._ask(self._storage.get(item.key_for(key))) >= item.amount:
                await self._refuse(dimension, item, key, attempt)

    async def count(self, attempt: Attempt, *, amount: int = 1) -> None:
        """Add *amount* to the counters of *attempt*, and refuse nothing.

        Raises:
            UnavailableError: The storage does not answer.
        """
        for _, item, key in attempt.counters:
            await self._add(item, key, amount)

    async def enter(self, attempt: Attempt) -> None:
        """Count *attempt*, and refuse it if that is too many.

        Raises:
            ThrottledError: It is.
            UnavailableError: The storage does not answer.
        """
        for dimension, item, key in attempt.counters:
            if await self._add(item, key, 1) > item.amount:
                await self._refuse(dimension, item, key, attempt)

    async def _add(self, item: RateLimitItem, key: str, amount: int) -> int:
        name, expiry = item.key_for(key), item.get_expiry()
        return int(await self._ask(self._storage.incr(name, expiry, amount=amount)))

    async def _refuse(
        self, dimension: str, item: RateLimitItem, key: str, attempt: Attempt
    ) -> None:
        until = await self._ask(self._storage.get_expiry(item.key_for(key)))
        wait = min(max(1, math.ceil(until - self._clock.now())), item.get_expiry())
        reason = f"throttled_by_{dimension}"
        emit(
            "THROTTLED",
            outcome="denied",
            reason=reason,
            details={"throttle": self._name, "retry_after": wait},
            client=attempt.client,
            request_id=attempt.request_id,
        )
        refusal = ThrottledError(reason, retry_after=wait)
        refusal.reported = True
        raise refusal

    async def _ask(self, answer: Any) -> Any:
        try:
            return await answer
        except Exception as failure:
            raise UnavailableError("throttle_unreachable") from failure


class Attempt:
    """One attempt, an asynchronous context manager; see `Throttle.attempt`."""

    __slots__ = ("_good", "_throttle", "client", "counters", "request_id")

    def __init__(
        self,
        throttle: Throttle,
        counters: Sequence[tuple[str, RateLimitItem, str]],
        *,
        client: str | None,
        request_id: str | None,
    ) -> None:
        self._throttle = throttle
        self._good = False
        self.counters = counters
        self.client = client
        self.request_id = request_id

    def succeeded(self) -> None:
        """Give the attempt back when the block ends: the credential was good."""
        self._good = True

    async def __aenter__(self) -> Self:
        await self._throttle.enter(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Given back as well if nothing was learnt; not if the caller hung up, which it chose.
        if self._good or isinstance(error, UnavailableError):
            await self._throttle.count(self, amount=-1)


def _parsed(limits: ThrottleLimits, library: Any) -> dict[str, list[RateLimitItem]]:
    items: dict[str, list[RateLimitItem]] = {}
    for field in fields(limits):
        text = getattr(limits, field.name)
        try:
            items[field.name] = library.parse_many(text) if text else []
        except ValueError:
            raise ConfigError(
                f"ThrottleLimits.{field.name}", f"{text!r} is no limit", "Write '10 per minute'."
            ) from None
    if not any(items.values()):
        raise ConfigError("ThrottleLimits", "limits nothing", "Set at least one.")
    return items
