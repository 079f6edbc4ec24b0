"""notify: NOTIFY for one tenant, sent when its transaction commits."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.identity import require_tenant
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.shared.asking import ask, ask_sync
from asgi_guard.rls.shared.channel_seal import MAX_PAYLOAD, ChannelSeal, Topic

__all__ = ["notify", "notify_sync"]

_OPERATION: Final = "notify"
# As parameters: the text of a statement can be read by the same role (pg_stat_activity).
_SQL: Final = "SELECT pg_catalog.pg_notify(CAST($1 AS text), CAST($2 AS text))"
_IDS: Final = 512


async def notify(
    db: Any, channel: str, payload: str, *, keys: SealKeys, max_payload: int = _IDS
) -> None:
    """Tell this tenant's listeners something, when the transaction of *db* commits.

    A transaction that is rolled back tells nothing. Send an id and let the receiver read the row
    under its own policies: a payload is held by no policy, and lies in clear in a queue that the
    whole server shares.

    Args:
        db: A guarded ``AsyncSession``, ``AsyncConnection`` or asyncpg connection: the one that
            the tenant's transaction is on.
        channel: As the app calls it, e.g. ``"notes"``. The server sees another name.
        payload: Text, e.g. ``str(note.id)``. It is signed together with tenant and channel.
        keys: The first names the channel and signs.
        max_payload: Bytes of UTF-8; more is refused, as it is data rather than an id. PostgreSQL
            sets a limit of its own: 7,908 beside the signature.

    Raises:
        ConfigError: A name, payload, limit or handle cannot be used. Nothing was sent.
        RLSViolationError: No tenant, an unguarded handle (``RLS_NOT_ENFORCED``), or one of
            another tenant (``TENANT_MISMATCH``). Nothing was sent.
    """
    name, sealed = _prepared(channel, payload, keys, max_payload)
    await ask(db, _OPERATION, _SQL, name, sealed)


def notify_sync(
    db: Any, channel: str, payload: str, *, keys: SealKeys, max_payload: int = _IDS
) -> None:
    """Do what `notify` does, on a guarded sync ``Session`` or ``Connection``."""
    name, sealed = _prepared(channel, payload, keys, max_payload)
    ask_sync(db, _OPERATION, _SQL, name, sealed)


def _prepared(channel: str, payload: str, keys: SealKeys, max_payload: int) -> tuple[str, str]:
    if type(max_payload) is not int or not 1 <= max_payload <= MAX_PAYLOAD:
        raise ConfigError(
            "notify(max_payload)", f"is {max_payload!r}", f"Pass 1 to {MAX_PAYLOAD}, in bytes."
        )
    topic = Topic(require_tenant(_OPERATION).tenant_id, channel).checked()
    seal = _seal(keys) if isinstance(keys, SealKeys) else ChannelSeal(keys)
    sealed = seal.seal(topic, payload)
    size = len(payload.encode())
    if size > max_payload:
        raise ConfigError(
            "notify(payload)",
            f"is {size} bytes long",
            f"Send an id of at most {max_payload} bytes, or raise max_payload.",
        )
    return seal.name(topic), sealed


@lru_cache(maxsize=8)
def _seal(keys: SealKeys) -> ChannelSeal:
    return ChannelSeal(keys)
