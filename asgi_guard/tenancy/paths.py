"""Paths as routers will read them, and the ones that need no tenant.

A path has one canonical spelling here. Everything that some router, proxy or file system might
fold into another path (``//``, dot segments, percent-encoding, backslashes) is not canonical and
is therefore never public: a doubt ends at the locked door.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from asgi_guard._internal.canonical_path import path_below_root
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Scope

__all__ = ["PublicPaths"]

# pchar without percent-encoding and ";" (RFC 3986 section 3.3); some routers cut at ";".
_CANONICAL: Final = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,=:@-]+)*/?")
_TENANT: Final = "{tenant}"
_SEGMENT: Final = "[A-Za-z0-9._~-]+"
_DOT_SEGMENT: Final = re.compile(r"/\.\.?(?=/|\Z)")


class PublicPaths:
    """The paths that are served to anyone, with no tenant.

    Args:
        patterns: ``"/health"`` for that path alone, ``"/static/*"`` for all below it; a whole
            segment ``{tenant}`` stands for any one segment: ``"/t/{tenant}/auth/login/*"``.

    Raises:
        ConfigError: A pattern is not a canonical path, or has ``*`` anywhere but as its last
            whole segment; or it is ``"/*"``, which would make everything public.
    """

    __slots__ = ("_exact", "_prefixes", "_shapes")

    def __init__(self, patterns: Iterable[str]) -> None:
        if isinstance(patterns, str):
            raise ConfigError("public_paths", "is one string", f"Pass ({patterns!r},).")
        exact: set[str] = set()
        prefixes: list[str] = []
        shapes: list[str] = []
        for pattern in patterns:
            below = pattern.endswith("/*")
            stem = pattern[:-1] if below else pattern
            if not _is_sound(pattern, stem):
                raise ConfigError(
                    "public_paths",
                    f"{pattern!r} is not a canonical path",
                    "Use /health for one path, /static/* for all below one.",
                )
            if _TENANT in stem:
                shape = re.escape(stem).replace(re.escape(_TENANT), _SEGMENT)
                shapes.append(shape + ".*" if below else shape)
            elif below:
                prefixes.append(stem)
            else:
                exact.add(stem)
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._shapes = re.compile("|".join(shapes)) if shapes else None

    def cover(self, scope: Scope) -> bool:
        """Tell whether *scope* may be served without a tenant."""
        path = path_below_root(scope)
        known = path in self._exact or path.startswith(self._prefixes)
        if not known and (self._shapes is None or not self._shapes.fullmatch(path)):
            return False
        return _is_canonical(path) and _sent_as_read(scope)


def _is_sound(pattern: str, stem: str) -> bool:
    if pattern == "/*" or "*" in stem or not _is_canonical(stem.replace(_TENANT, "t")):
        return False
    segments = stem.split("/")
    whole = segments.count(_TENANT) == stem.count(_TENANT) <= 1
    # "/{tenant}/*" would make everything public, and "/{tenant}" every first segment.
    return whole and (_TENANT not in stem or any(each not in {"", _TENANT} for each in segments))


def _is_canonical(path: str) -> bool:
    return (
        path.startswith("/")
        and _CANONICAL.fullmatch(path) is not None
        and _DOT_SEGMENT.search(path) is None
    )


def _sent_as_read(scope: Scope) -> bool:
    # raw_path is optional in ASGI, and some clients leave the query in it.
    raw: bytes | None = scope.get("raw_path")
    return raw is None or raw.partition(b"?")[0] == scope["path"].encode()
