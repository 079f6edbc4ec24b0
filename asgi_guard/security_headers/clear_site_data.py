"""Clear-Site-Data: make the browser forget this origin, at logout.

Stops the next person at the same computer from finding cached pages and stored tokens. Source: W3C
Clear Site Data section 3.1. Never sent by the middleware: it costs the user everything the origin
stored, so it is called for by name.

Browsers obey it over https only; ``"cookies"`` clears the whole registrable domain's.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final, Protocol

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers.fields import one_of

__all__ = ["NAME", "ResponseWithHeaders", "clear_site_data", "clear_site_data_value"]

NAME: Final = "clear-site-data"

_SETTING: Final = "clear_site_data"
_TYPES: Final = (
    "cache",
    "cookies",
    "storage",
    "clientHints",
    "executionContexts",
    "prefetchCache",
    "prerenderCache",
    "*",
)


class ResponseWithHeaders(Protocol):
    """A response object as Starlette, Litestar, Quart and Django have it."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """Its headers, by name."""


def clear_site_data(response: ResponseWithHeaders, *types: str) -> None:
    """Tell the browser that receives *response* to clear what it keeps of this origin.

    Args:
        response: Changed in place; an earlier value is replaced.
        *types: What to clear; without any, cache, cookies and storage.

    Raises:
        ConfigError: A type is unknown.
    """
    response.headers[NAME] = clear_site_data_value(*types)


def clear_site_data_value(*types: str) -> str:
    """Return the header's value, for responses that are not objects with headers.

    Raises:
        ConfigError: A type is unknown, or ``"*"`` stands beside others.
    """
    wanted = [one_of(_SETTING, each, _TYPES) for each in types or ("cache", "cookies", "storage")]
    if "*" in wanted and len(wanted) > 1:
        raise ConfigError(_SETTING, "'*' stands beside others", "Write '*' alone.")
    return ", ".join(f'"{each}"' for each in dict.fromkeys(wanted))
