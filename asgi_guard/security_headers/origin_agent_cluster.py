"""Origin-Agent-Cluster: ask for a process or thread of this origin's own.

Stops scripts of a sibling subdomain, another tenant's perhaps, from reaching this origin by
setting ``document.domain``. Source: HTML Standard section 7.1.2.

A hint: a browser may lack the resources, and it holds only if all pages of the origin send it.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["NAME", "build"]

NAME: Final = "origin-agent-cluster"


def build(value: object = True) -> str:  # noqa: FBT002 - the one argument every builder has
    """Return the header's value, the boolean true of RFC 9651 section 3.3.6.

    Raises:
        ConfigError: *value* is not True.
    """
    if value is not True:
        raise ConfigError("security_headers.origin_agent_cluster", f"{value!r}", "Write True.")
    return "?1"
