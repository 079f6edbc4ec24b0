"""The values of the four presets, as arguments of `SecurityHeaders`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asgi_guard.security_headers.content_security_policy import ContentSecurityPolicy
from asgi_guard.security_headers.csp_directives import UPGRADE
from asgi_guard.security_headers.csp_hashes import inline_script_hashes
from asgi_guard.security_headers.csp_sources import NONCE
from asgi_guard.security_headers.strict_transport_security import StrictTransportSecurity

__all__ = ["api", "docs", "html", "report_only"]

_NONE: Final = ("'none'",)
_SELF: Final = ("'self'",)
_GROUP: Final = "csp"

_PAGE: Final[dict[str, Sequence[str]]] = {
    "default-src": _NONE,
    "script-src": (NONCE, "'strict-dynamic'"),
    "style-src": ("'self'", NONCE),
    "img-src": ("'self'", "data:"),
    "font-src": _SELF,
    "connect-src": _SELF,
    "manifest-src": _SELF,
    "frame-ancestors": _NONE,
    "base-uri": _NONE,
    "form-action": _SELF,
    UPGRADE: (),
}

_CDN: Final = "https://cdn.jsdelivr.net/npm/"
_SCRIPTS: Final = (f"{_CDN}swagger-ui-dist@5/", f"{_CDN}redoc@2/")


def api() -> dict[str, Any]:
    """Return the values for answers that no browser renders."""
    return {
        "content_security_policy": ContentSecurityPolicy(
            {
                "default-src": _NONE,
                "frame-ancestors": _NONE,
                "base-uri": _NONE,
                "form-action": _NONE,
            }
        ),
        "strict_transport_security": StrictTransportSecurity(),
        "x_frame_options": "DENY",
        "referrer_policy": "no-referrer",
        "cross_origin_resource_policy": "same-origin",
        "cache_control": "no-store",
    }


def html(*, report_to: str | None, trusted_types: bool) -> dict[str, Any]:
    """Return the values for pages."""
    directives = dict(_PAGE)
    if trusted_types:
        directives["require-trusted-types-for"] = ("'script'",)
    return {
        "content_security_policy": ContentSecurityPolicy({**directives, **_reporting(report_to)}),
        "strict_transport_security": StrictTransportSecurity(),
        "x_frame_options": "DENY",
        "referrer_policy": "strict-origin-when-cross-origin",
        "permissions_policy": dict.fromkeys(
            ("camera", "geolocation", "microphone", "payment", "usb", "browsing-topics"), ()
        ),
        "cross_origin_opener_policy": "same-origin",
        "cross_origin_resource_policy": "same-origin",
        "reporting_endpoints": _endpoints(report_to),
    }


def docs(*, pages: Sequence[str]) -> dict[str, Any]:
    """Return the values for Swagger UI and ReDoc as FastAPI serves them.

    Both draw their styles at run time, so 'unsafe-inline' stays in ``style-src``; ReDoc runs its
    search in a worker made from a blob.
    """
    hashes = [source for page in pages for source in inline_script_hashes(page)]
    policy = ContentSecurityPolicy(
        {
            "default-src": _NONE,
            "script-src": (*_SCRIPTS, *(hashes or ["'unsafe-inline'"])),
            "style-src": ("'unsafe-inline'", *_SCRIPTS, "https://fonts.googleapis.com"),
            "img-src": (
                *("'self'", "data:", "https://fastapi.tiangolo.com", "https://cdn.redoc.ly"),
            ),
            "font-src": ("data:", "https://fonts.gstatic.com"),
            "connect-src": _SELF,
            "worker-src": ("blob:",),
            "frame-ancestors": _NONE,
            "base-uri": _NONE,
            "form-action": _SELF,
            UPGRADE: (),
        }
    )
    return {
        **html(report_to=None, trusted_types=False),
        "content_security_policy": policy,
        # Signing in from Swagger UI opens the identity provider in a popup, which comes back to
        # a page here that hands the code to its opener; any value but the default parts the two.
        "cross_origin_opener_policy": None,
    }


def report_only(*, report_to: str | None) -> dict[str, Any]:
    """Return the values for a first roll-out, none of which can stop a page from working.

    X-Frame-Options, CORP and COOP have no way to report to a collector and are left out; HSTS
    promises five minutes for this host alone, so that a mistake is over before lunch.
    """
    return {
        "content_security_policy_report_only": ContentSecurityPolicy(
            {**_PAGE, **_reporting(report_to)}
        ),
        "strict_transport_security": StrictTransportSecurity(max_age=300, include_subdomains=False),
        "referrer_policy": "strict-origin-when-cross-origin",
        "reporting_endpoints": _endpoints(report_to),
    }


def _reporting(url: str | None) -> dict[str, Sequence[str]]:
    """Return both directives: browsers that know ``report-to`` ignore ``report-uri``."""
    return {} if url is None else {"report-uri": (url,), "report-to": (_GROUP,)}


def _endpoints(url: str | None) -> dict[str, str] | None:
    return None if url is None else {_GROUP: url}
