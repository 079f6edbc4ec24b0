"""PathResolver: the tenant in a path prefix, which the app need not know of."""

from __future__ import annotations

import re
from typing import Final

from asgi_guard._internal.canonical_path import path_below_root
from asgi_guard.errors import ConfigError, TenantInvalidError
from asgi_guard.protocols import Principal, Scope

__all__ = ["PathResolver"]

_TEMPLATE: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/\{tenant\}(?:/[A-Za-z0-9._~-]+)*")


class PathResolver:
    """Take the tenant from the start of the path, and move that start into ``root_path``.

    In ASGI ``path`` includes ``root_path``, so ``path`` and ``raw_path`` stay as they are and
    agree: with ``/t/{tenant}``, the app sees ``root_path="/t/acme"`` and routes ``/notes``, and
    the links it builds lead back to the same tenant.

    A path with an empty or dot segment, or whose prefix is percent-encoded, is refused: a proxy
    or router that normalises it would see another tenant than this one did.

    Args:
        prefix: Path with one whole segment ``{tenant}``.

    Raises:
        ConfigError: *prefix* has another form.
    """

    def __init__(self, prefix: str = "/t/{tenant}") -> None:
        if not _TEMPLATE.fullmatch(prefix):
            raise ConfigError(
                "PathResolver.prefix",
                f"{prefix!r} is not a path with one segment {{tenant}}",
                "Use e.g. /t/{tenant}.",
            )
        self.prefix = prefix
        before, _, after = prefix.partition("{tenant}")
        self._pattern = re.compile(rf"{re.escape(before)}([^/]*){re.escape(after)}(?=/|\Z)")

    async def resolve(self, scope: Scope, _principal: Principal) -> str | None:
        """Return the segment at ``{tenant}``; None if the path does not begin like *prefix*.

        Raises:
            TenantInvalidError: The path could be read in two ways.
        """
        below = path_below_root(scope)
        segments = below.split("/")[1:]
        if "" in segments[:-1] or "." in segments or ".." in segments:
            raise TenantInvalidError("path_not_canonical")
        found = self._pattern.match(below)
        if found is None:
            return None
        if not _written_plainly(scope, below, found.end()):
            raise TenantInvalidError("path_not_canonical")
        return found[1]

    def inner_root_path(self, scope: Scope) -> str:
        """Return ``root_path``, with the tenant's prefix at its end if the path has one."""
        root: str = scope.get("root_path", "")
        found = self._pattern.match(path_below_root(scope))
        return root if found is None else root + found[0]


def _written_plainly(scope: Scope, below: str, prefix_length: int) -> bool:
    """Tell whether everything up to the prefix's end was sent without percent-encoding."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:  # an optional key: then only the decoded path exists
        return True
    length = len(scope["path"]) - len(below) + prefix_length
    plain = scope["path"][:length].encode()
    return raw.startswith(plain) and raw[len(plain) : len(plain) + 1] in {b"", b"/", b"?"}
