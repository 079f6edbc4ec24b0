"""Names under which strangers register: ``com``, ``co.uk``, ``github.io`` (publicsuffix.org).

A pattern directly over one lets in whoever buys a domain or opens a project there. The list is
the ``publicsuffixlist`` package's bundled copy: nothing is fetched, and it is parsed (90 ms) only
when a pattern is to be used with credentials. A name missing from the installed copy cannot be
known; keep the package current.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from asgi_guard.errors import ConfigError

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

__all__ = ["is_public_suffix", "load_public_suffixes"]


def is_public_suffix(host: str) -> bool:
    """Tell whether anybody may register a name directly under *host* (ASCII, lower case).

    A single label is always taken for one: ``*.internal`` or a top-level domain newer than the
    list is not a zone that one application owns. ``localhost`` is the exception (RFC 6761).

    Raises:
        ConfigError: The list is not installed, so that nothing can be said.
    """
    if host == "localhost":
        return False
    return "." not in host or load_public_suffixes().is_public(host)


@cache
def load_public_suffixes() -> PublicSuffixList:
    """Parse the bundled list, once per process.

    Raises:
        ConfigError: ``publicsuffixlist`` was removed from the environment.
    """
    try:
        from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - loaded when needed only
    except ImportError as missing:
        raise ConfigError(
            "origins.allow_origins",
            "a pattern cannot be checked: the package publicsuffixlist is missing",
            "Run: pip install publicsuffixlist, or name each origin.",
        ) from missing
    return PublicSuffixList(accept_unknown=False)
