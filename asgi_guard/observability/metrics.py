"""What can be counted: every metric in one table, and the plain numbers behind them.

No metrics library is needed here: `asgi_guard.integrations.prometheus` shows these to Prometheus,
and any other library can read `GuardMetrics.samples`. Every label has a closed set of values
(names and reasons of the catalogue, or what the app's own code names), so that no caller can make
one more series by what it sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol

from asgi_guard._internal import events
from asgi_guard._internal.event_catalogue import CATALOGUE, EVENTS
from asgi_guard._version import __version__
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import SecurityEvent

__all__ = [
    "EVENT_LABELS",
    "METRICS",
    "Audited",
    "GuardMetrics",
    "Metric",
    "Sample",
    "event_series",
    "labels_of",
]


class Metric(NamedTuple):
    """One metric.

    Args:
        name: As dashboards write it; a counter's ends in ``_total``.
        kind: ``"counter"`` only grows while the process lives; ``"gauge"`` goes up and down.
        meaning: One sentence.
        labels: Names of its labels.
    """

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """One number of one metric, with the values of its labels in their order."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


EVENT_LABELS: Final = ("event", "outcome", "reason")
_OTHER: Final = "other"
_OUTCOMES: Final = frozenset({"allowed", "denied", "error"})

METRICS: Final = (
    BUILD := Metric("asgi_guard_build_info", "gauge", "1, with the version.", ("version",)),
    EVENTS_TOTAL := Metric(
        "asgi_guard_events_total",
        "counter",
        "Security events, by name of the catalogue, outcome, and reason where the set is closed.",
        EVENT_LABELS,
    ),
    SINK_FAILURES := Metric(
        "asgi_guard_sink_failures_total", "counter", "Events that a reader of the stream failed on."
    ),
    AUDIT_DROPPED := Metric(
        "asgi_guard_audit_dropped_total", "counter", "Events a sink did not get.", ("event",)
    ),
    AUDIT_WAITING := Metric(
        "asgi_guard_audit_waiting", "gauge", "Events in the longest queue of the audit log."
    ),
    AUDIT_HEALTHY := Metric(
        "asgi_guard_audit_healthy", "gauge", "1 while the log is open and every sink takes events."
    ),
    PASSWORDS_TOTAL := Metric(
        "asgi_guard_passwords_total",
        "counter",
        "Password checks: the kind of hash when right, else refused or unavailable; rehashes.",
        ("result",),
    ),
    ARGON2ID_SHARE := Metric(
        "asgi_guard_argon2id_share", "gauge", "Share of logins that met an Argon2id hash, 0 to 1."
    ),
    TOKENS_TOTAL := Metric(
        "asgi_guard_verified_cache_total",
        "counter",
        "Looks into the cache of verified tokens: hit or miss.",
        ("result",),
    ),
    TOKENS_KEPT := Metric(
        "asgi_guard_verified_cache_entries", "gauge", "Verified tokens that are remembered."
    ),
    POOL_IN_USE := Metric(
        "asgi_guard_pool_in_use", "gauge", "Connections, or jobs, of a pool in use.", ("pool",)
    ),
    POOL_IDLE := Metric("asgi_guard_pool_idle", "gauge", "Idle connections of a pool.", ("pool",)),
)  # fmt: skip
"""Every metric there is; dashboards are made of these."""


class Audited(Protocol):
    """What is read of an `AuditLog`."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Events a sink did not get, by name."""

    @property
    def waiting(self) -> int:
        """Events in the longest queue."""

    @property
    def healthy(self) -> bool:
        """Whether every sink takes events."""


class GuardMetrics:
    """Reads the numbers that parts of the app keep, whenever somebody asks.

    Args:
        audit: The `AuditLog`.
        passwords: Each `PasswordHasher`; their counts are added up.
        verifiers: Each `TokenVerifier`; likewise.
        pools: Engines of SQLAlchemy and pools of asyncpg by a name of yours, and bounded thread
            pools.

    Raises:
        ConfigError: A pool is of no known kind.
    """

    def __init__(
        self,
        *,
        audit: Audited | None = None,
        passwords: Iterable[Any] = (),
        verifiers: Iterable[Any] = (),
        pools: Mapping[str, Any] | None = None,
    ) -> None:
        self._audit = audit
        self._passwords = tuple(passwords)
        self._verifiers = tuple(verifiers)
        self._pools = dict(pools or {})
        for name, pool in self._pools.items():
            _pool_state(name, pool)

    def samples(self) -> Iterator[Sample]:
        """Give every number but the events', which a reader of the stream counts."""
        yield Sample(BUILD, (__version__,), 1)
        yield Sample(SINK_FAILURES, (), events.sink_failures)
        if self._audit is not None:
            yield from _of_audit(self._audit)
        if self._passwords:
            yield from _of_passwords([each.counts() for each in self._passwords])
        if self._verifiers:
            yield from _of_caches([each.cache_counts for each in self._verifiers])
        for name, pool in self._pools.items():
            in_use, idle = _pool_state(name, pool)
            yield Sample(POOL_IN_USE, (name,), in_use)
            if idle is not None:
                yield Sample(POOL_IDLE, (name,), idle)


def labels_of(event: SecurityEvent) -> tuple[str, str, str]:
    """Return the values of `EVENT_LABELS`: of a closed set, whatever the event says."""
    outcome = event.outcome if event.outcome in _OUTCOMES else _OTHER
    kind = EVENTS.get(event.name)
    if kind is None:  # an app's own event, or one that POST /audit/log brought
        return _OTHER, outcome, ""
    return kind.name, outcome, event.reason if event.reason in kind.reasons else ""


def event_series() -> Iterator[tuple[str, str, str]]:
    """Give the labels that exist from the start: a counter must be 0 before it is 1.

    Prometheus sees no increase in a series that begins with 1, so the first contamination after
    a restart would raise no alert.
    """
    for kind in CATALOGUE:
        for outcome in kind.outcomes:
            for reason in ("", *kind.reasons):
                yield kind.name, outcome, reason


def _of_audit(audit: Audited) -> Iterator[Sample]:
    dropped: dict[str, int] = {}
    for name, count in audit.dropped.items():
        known = name if name in EVENTS else _OTHER
        dropped[known] = dropped.get(known, 0) + count
    for name, count in (dropped or {_OTHER: 0}).items():
        yield Sample(AUDIT_DROPPED, (name,), count)
    yield Sample(AUDIT_WAITING, (), audit.waiting)
    yield Sample(AUDIT_HEALTHY, (), float(audit.healthy))


def _of_passwords(counts: list[Any]) -> Iterator[Sample]:
    results = ("argon2id", "argon2_other", "bcrypt", "rehashed", "rehash_failed", "refused")
    total = {name: sum(getattr(each, name) for each in counts) for name in results}
    total["unavailable"] = sum(each.unavailable for each in counts)
    for name, count in total.items():
        yield Sample(PASSWORDS_TOTAL, (name,), count)
    logins = total["argon2id"] + total["argon2_other"] + total["bcrypt"]
    if logins:
        yield Sample(ARGON2ID_SHARE, (), total["argon2id"] / logins)


def _of_caches(counts: list[Any]) -> Iterator[Sample]:
    yield Sample(TOKENS_TOTAL, ("hit",), sum(each.hits for each in counts))
    yield Sample(TOKENS_TOTAL, ("miss",), sum(each.misses for each in counts))
    yield Sample(TOKENS_KEPT, (), sum(each.entries for each in counts))


def _pool_state(name: str, pool: Any) -> tuple[int, int | None]:
    """Return how many are in use, and how many idle; None where that means nothing."""
    inner: Any = getattr(pool, "pool", None)
    if hasattr(inner, "checkedout"):  # an Engine or AsyncEngine of SQLAlchemy
        return inner.checkedout(), inner.checkedin()
    if hasattr(pool, "get_idle_size"):  # a Pool of asyncpg, which need not be open yet
        idle = pool.get_idle_size()
        return pool.get_size() - idle, idle
    if hasattr(pool, "pending"):  # a BoundedPool
        return pool.pending, None
    raise ConfigError(
        f"GuardMetrics.pools[{name!r}]",
        f"a {type(pool).__name__} is no pool",
        "Pass an engine of SQLAlchemy or a pool of asyncpg.",
    )
