"""One rendered set of headers, and how it meets the headers an app has set itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from asgi_guard._internal.asgi import HeaderList
from asgi_guard.protocols import Scope
from asgi_guard.security_headers.cache_control import NO_STORE, is_authenticated

__all__ = ["LISTS", "Line", "Rule", "Variant"]

Line = tuple[bytes, bytes]
Rule = Literal["keep", "replace", "append"]

_CACHE_CONTROL: Final = NO_STORE[0]
_NOT_MODIFIED: Final = 304

# Fields whose value is a comma list, so that two lines may become one (RFC 9110 section 5.3).
LISTS: Final = frozenset(
    {
        b"cache-control",
        b"content-security-policy",
        b"content-security-policy-report-only",
        b"permissions-policy",
        b"referrer-policy",
        b"reporting-endpoints",
    }
)


class Variant:
    """The headers of one policy for one kind of connection.

    Args:
        fixed: Lines that are the same on each response.
        around_nonce: Names with values cut where the nonce goes.
        without_nonce: The same names for a page that asked for none.
        cache_control: Value for a response that sets none, or None.
        no_store: Whether a personal response that sets none gets ``no-store``.
        remove: Names to take out.
        rules: What to do where the app has set the header; ``"keep"`` when not named.
    """

    __slots__ = (
        "_around_nonce",
        "_bare",
        "_cache_control",
        "_cache_rule",
        "_fixed",
        "_managed",
        "_no_store",
        "_removed",
        "_rules",
    )

    def __init__(
        self,
        *,
        fixed: tuple[Line, ...],
        around_nonce: tuple[tuple[bytes, tuple[bytes, ...]], ...],
        without_nonce: tuple[Line, ...],
        cache_control: bytes | None,
        no_store: bool,
        remove: frozenset[bytes],
        rules: Mapping[bytes, Rule],
    ) -> None:
        self._fixed = fixed
        self._around_nonce = around_nonce
        self._bare = (*fixed, *without_nonce)
        self._cache_control = None if cache_control is None else (_CACHE_CONTROL, cache_control)
        # What is no-store for everybody needs no look at who is asking.
        self._no_store = no_store and self._cache_control != NO_STORE
        self._removed = remove
        self._rules = dict(rules)
        self._cache_rule = self._rules.get(_CACHE_CONTROL, "keep")
        self._managed = remove.union((_CACHE_CONTROL,), (name for name, _ in self._bare))

    def dress(
        self, own: Iterable[tuple[bytes, bytes]], *, scope: Scope, status: int, nonce: str | None
    ) -> HeaderList:
        """Return the headers to send in place of the app's *own*, which stay as they are.

        Args:
            own: What the app sends; read once.
            scope: The request's.
            status: Of the response.
            nonce: The response's nonce, None if the page never asked.
        """
        kept: HeaderList = []
        met: dict[bytes, list[bytes]] | None = None
        sets_cookie = False
        managed = self._managed
        for name, value in own:
            lower = name.lower()
            if lower in managed:
                if met is None:
                    met = {}
                met.setdefault(lower, []).append(value)
            else:
                if lower == b"set-cookie":
                    sets_cookie = True
                kept.append((lower, value))
        lines = self._lines(status, nonce) if self._around_nonce else self._bare
        if met is None or _CACHE_CONTROL not in met or self._cache_rule != "keep":
            cache = self._cache_control
            if self._no_store and (sets_cookie or nonce is not None or is_authenticated(scope)):
                cache = NO_STORE
            if cache is not None:
                lines = (*lines, cache)
        if met is None:
            kept.extend(lines)
        else:
            self._settle(kept, met, lines)
        return kept

    def _lines(self, status: int, nonce: str | None) -> tuple[Line, ...]:
        if status == _NOT_MODIFIED:
            # The browser takes this answer's headers for its stored page (RFC 9111 section 3.2);
            # another nonce, or none, would switch off every script that page has.
            return self._fixed
        if nonce is None:
            return self._bare
        value = nonce.encode()
        return (*self._fixed, *((name, value.join(cut)) for name, cut in self._around_nonce))

    def _settle(
        self, kept: HeaderList, met: dict[bytes, list[bytes]], lines: tuple[Line, ...]
    ) -> None:
        for name, value in lines:
            theirs = met.pop(name, None)
            kept.append((name, value if theirs is None else self._one(name, theirs, value)))
        for name, values in met.items():
            if name not in self._removed:
                kept.extend((name, value) for value in values)

    def _one(self, name: bytes, theirs: list[bytes], ours: bytes) -> bytes:
        rule = self._rules.get(name, "keep")
        if rule == "replace":
            return ours
        if rule == "append":
            return b", ".join((*theirs, ours))
        if name in LISTS:
            return b", ".join(theirs)
        # Two values that disagree: browsers take the first, the last, or none at all.
        return theirs[0] if len(set(theirs)) == 1 else ours
