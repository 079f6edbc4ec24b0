"""Reporting-Endpoints: where a browser sends its reports.

Names the endpoints that ``report-to`` in a Content-Security-Policy refers to. Source: W3C
Reporting API section 3.3. Endpoints get addresses of pages and whatever an attacker makes a
browser say: keep them on a host of your own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from asgi_guard.errors import ConfigError

__all__ = ["NAME", "build", "endpoint_url"]

NAME: Final = "reporting-endpoints"

_SETTING: Final = "security_headers.reporting_endpoints"
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")  # RFC 9651 section 3.1.2
_URL = re.compile(r"[A-Za-z0-9._~:/?@!$&()*+=%\[\]-]+")  # no quotes, ';' or ',': they end a value


def build(endpoints: Mapping[str, str]) -> str:
    """Return the header's value.

    Args:
        endpoints: URL by name: an absolute https URL, or a path on the page's own origin.

    Raises:
        ConfigError: A name or a URL is malformed, or a URL is not https.
    """
    if not isinstance(endpoints, Mapping) or not endpoints:
        raise ConfigError(
            _SETTING, f"{endpoints!r} names no endpoint", "Write {'csp': '/csp-reports'}."
        )
    for name in endpoints:
        if not isinstance(name, str) or not _KEY.fullmatch(name):
            raise ConfigError(
                _SETTING, f"{name!r} is no endpoint name", "Use lower-case letters, e.g. 'csp'."
            )
    return ", ".join(f'{name}="{endpoint_url(_SETTING, url)}"' for name, url in endpoints.items())


def endpoint_url(setting: str, url: str) -> str:
    """Return *url* when a browser would send reports there.

    Raises:
        ConfigError: It is neither a path nor an https URL; browsers drop reports to others.
    """
    if isinstance(url, str) and _URL.fullmatch(url):
        if url.startswith("/") and not url.startswith("//"):
            return url
        if _is_https(url):
            return url
    raise ConfigError(
        setting,
        f"{url!r} is no place for reports",
        "Write a path such as '/csp-reports', or an https URL.",
    )


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # unbalanced brackets
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc
