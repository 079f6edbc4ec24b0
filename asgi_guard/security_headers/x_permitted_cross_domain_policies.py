"""X-Permitted-Cross-Domain-Policies: what old Adobe readers and players may fetch from here.

Stops a PDF on another site from using a ``crossdomain.xml`` that somebody managed to upload.
Source: Adobe Cross Domain Policy File Specification section 3; OWASP Secure Headers Project.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.security_headers.fields import one_of

__all__ = ["NAME", "build"]

NAME: Final = "x-permitted-cross-domain-policies"


def build(value: str = "none") -> str:
    """Return the header's value.

    Raises:
        ConfigError: Not one of the policies that are valid over HTTP.
    """
    return one_of(
        "security_headers.x_permitted_cross_domain_policies",
        value,
        ("none", "master-only", "by-content-type", "all", "none-this-response"),
    )
