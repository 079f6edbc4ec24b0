"""SessionLinks: which sessions here hang on which session or user of a provider.

A logout token names a ``sid`` or a ``sub``, never a session of this app; and a logout here must
name to the provider whom it is about. Both are kept in the store that all processes share, under
hashes, and end with the session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore
from asgi_guard.secret import Secret

__all__ = ["SessionLink", "SessionLinks"]

_MOST: Final = 128  # sessions of one user at a time; the entry stays below the store's 64 KiB
_ATTEMPTS: Final = 32
_GONE_FOR: Final = 900.0  # longer than a login takes and a logout token lives


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLink:
    """What a session here came from.

    Args:
        reference: Of the session.
        seconds: Longest that it may live.
        tenant_id: At which tenant.
        provider: Name of the provider.
        subject: Its user.
        sid: Its session, if it names one.
        issued_at: ``iat`` of the ID token.
        id_token: For the provider's logout (``id_token_hint``).
    """

    reference: str
    seconds: float
    tenant_id: str | None
    provider: str
    subject: str
    sid: str | None
    issued_at: float
    id_token: Secret = field(repr=False)


class _Entry(NamedTuple):
    reference: str
    ends_at: float
    has_sid: bool


class SessionLinks:
    """Keep links, and find them again.

    Args:
        store: Shared by all processes.
        clock: Where "now" comes from.
    """

    def __init__(self, store: KeyValueStore, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def add(self, provider: OIDCProvider, link: SessionLink) -> list[str]:
        """Keep *link*.

        Returns:
            References of sessions that must end to make room: of a user who has too many.

        Raises:
            UnavailableError: It could not be kept; the session must not go on without it.
        """
        kept = {
            "tenant": link.tenant_id,
            "provider": link.provider,
            "sub": link.subject,
            "sid": link.sid,
            "id_token": link.id_token.reveal(),
        }
        await self._store.put(
            _hashed("link", link.reference), json.dumps(kept).encode(), ttl=link.seconds
        )
        entry = _Entry(
            link.reference, self._clock.now() + link.seconds, has_sid=link.sid is not None
        )
        keys = [_of(provider, "sub", link.subject)]
        if link.sid is not None:
            keys.append(_of(provider, "sid", link.sid))
        return [old for key in keys for old in await self._append(key, entry, link.seconds)]

    async def take(self, reference: str) -> Mapping[str, Any] | None:
        """Forget the link of a session that ends here, and return what it held."""
        found = await self._store.take(_hashed("link", reference))
        return None if found is None else strict_object(found)

    async def sessions_of(
        self, provider: OIDCProvider, *, subject: str | None, sid: str | None
    ) -> list[str]:
        """Return the references of what a logout token names.

        With a ``sid`` these are the sessions of that one, and those of the user at whose login
        the provider named none; with a ``sub`` alone, all of the user's.
        """
        found: list[_Entry] = []
        if sid is not None:
            found += self._read(await self._store.get(_of(provider, "sid", sid)))
        if subject is not None:
            entries = self._read(await self._store.get(_of(provider, "sub", subject)))
            found += [each for each in entries if sid is None or not each.has_sid]
        return list(dict.fromkeys(each.reference for each in found))

    async def mark_gone(
        self, provider: OIDCProvider, *, subject: str | None, sid: str | None, issued_at: float
    ) -> None:
        """Remember a logout, for a login that is under way in another process meanwhile."""
        named = {"gone-sid": sid, "gone-sidless": subject}
        kinds = {"gone-sub": subject} if sid is None else named
        for kind, name in kinds.items():
            if name is not None:
                key = _of(provider, kind, name)
                await self._store.put(key, repr(issued_at).encode(), ttl=_GONE_FOR)

    async def is_gone(self, provider: OIDCProvider, link: SessionLink) -> bool:
        """Tell whether the provider ended, meanwhile, what *link* came from."""
        one = ("gone-sidless", link.subject) if link.sid is None else ("gone-sid", link.sid)
        keys = [_of(provider, "gone-sub", link.subject), _of(provider, *one)]
        marks = await self._store.get_many(keys)
        # A login that the provider granted after its logout is a new one, also under an old sid.
        return any(each is not None and link.issued_at <= float(each) for each in marks)

    async def _append(self, key: str, entry: _Entry, seconds: float) -> list[str]:
        for _ in range(_ATTEMPTS):
            old = await self._store.get(key)
            kept = [each for each in self._read(old) if each.reference != entry.reference]
            dropped = kept[: max(0, len(kept) - _MOST + 1)]
            entries = [*kept[len(dropped) :], entry]
            new = json.dumps(entries, separators=(",", ":")).encode()
            ttl = max(seconds, *(each.ends_at - self._clock.now() for each in entries))
            if old is None:
                wrote = await self._store.put_if_absent(key, new, ttl=ttl)
            else:
                wrote = await self._store.replace(key, old, new, ttl=ttl)
            if wrote:
                return [each.reference for each in dropped]
        raise UnavailableError("session_links_contended")

    def _read(self, value: bytes | None) -> list[_Entry]:
        if value is None:
            return []
        now = self._clock.now()
        entries = (_Entry(*each) for each in json.loads(value))  # written by this class alone
        return [each for each in entries if now < each.ends_at]


def _of(provider: OIDCProvider, kind: str, name: str) -> str:
    return _hashed(kind, provider.issuer, provider.client_id, name)


def _hashed(kind: str, *parts: str) -> str:
    # As JSON: two lists of parts never make one text.
    return f"oidc:{kind}:{sha256(json.dumps(parts).encode()).hexdigest()}"
