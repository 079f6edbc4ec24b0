"""A policy made ready for the wire, once: what is left to a request is a look-up and one pass.

Three variants of each policy exist, because what may be said over plain HTTP, over https, and over
https in production differs (RFC 6797 section 7.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, get_args

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers import (
    content_security_policy as csp,
)
from asgi_guard.security_headers import (
    cross_origin_embedder_policy,
    cross_origin_opener_policy,
    cross_origin_resource_policy,
    origin_agent_cluster,
    permissions_policy,
    referrer_policy,
    reporting_endpoints,
    strict_transport_security,
    x_content_type_options,
    x_frame_options,
    x_permitted_cross_domain_policies,
    x_xss_protection,
)
from asgi_guard.security_headers.cache_control import cache_control
from asgi_guard.security_headers.variant import LISTS, Line, Rule, Variant

if TYPE_CHECKING:
    from asgi_guard.security_headers.policy import SecurityHeaders

__all__ = ["HTTP", "HTTPS", "PRODUCTION", "Rendered", "Rule", "render"]

HTTP: Final = 0
HTTPS: Final = 1
PRODUCTION: Final = 2

_TOKEN = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")


class _HeaderFile(Protocol):
    """A header's own module."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """Lower-case name of the header."""

    def build(self, value: Any, /) -> str:
        """Return the header's value."""


_HEADER_FILES: Final[dict[str, _HeaderFile]] = {
    "x_content_type_options": x_content_type_options,
    "x_frame_options": x_frame_options,
    "referrer_policy": referrer_policy,
    "permissions_policy": permissions_policy,
    "cross_origin_opener_policy": cross_origin_opener_policy,
    "cross_origin_resource_policy": cross_origin_resource_policy,
    "cross_origin_embedder_policy": cross_origin_embedder_policy,
    "reporting_endpoints": reporting_endpoints,
    "xss_protection": x_xss_protection,
    "x_permitted_cross_domain_policies": x_permitted_cross_domain_policies,
    "origin_agent_cluster": origin_agent_cluster,
}


class Rendered(NamedTuple):
    """The variants of one policy, in the order of `HTTP`, `HTTPS` and `PRODUCTION`."""

    http: Variant
    https: Variant
    production: Variant


def render(policy: SecurityHeaders) -> Rendered:
    """Build every header of *policy*.

    Raises:
        ConfigError: A value is unknown, malformed or without effect.
    """
    _check_policies(policy)
    fixed = tuple(_fixed_lines(policy))
    rules = {_name("rules", name): _rule(name, rule) for name, rule in policy.rules.items()}
    if isinstance(policy.remove, str):
        raise ConfigError("security_headers.remove", "is one string", "Write a set of names.")
    shared = {
        "cache_control": None
        if policy.cache_control is None
        else cache_control(policy.cache_control).encode(),
        "no_store": policy.no_store_when_personal,
        "remove": frozenset(_name("remove", name) for name in policy.remove),
        "rules": rules,
    }
    hsts = _hsts_line(policy)
    everywhere = hsts if hsts and not _production_only(policy) else ()
    return Rendered(
        _variant(policy, fixed, shared, https=False),
        _variant(policy, (*fixed, *everywhere), shared, https=True),
        _variant(policy, (*fixed, *hsts), shared, https=True),
    )


def _fixed_lines(policy: SecurityHeaders) -> Iterator[Line]:
    for argument, header in _HEADER_FILES.items():
        value = getattr(policy, argument)
        if value is not None:
            yield header.NAME.encode(), header.build(value).encode()


def _hsts_line(policy: SecurityHeaders) -> tuple[Line, ...]:
    hsts = policy.strict_transport_security
    if hsts is None:
        return ()
    return ((strict_transport_security.NAME.encode(), hsts.value().encode()),)


def _production_only(policy: SecurityHeaders) -> bool:
    hsts = policy.strict_transport_security
    return hsts is None or hsts.production_only


def _variant(
    policy: SecurityHeaders, fixed: tuple[Line, ...], shared: dict[str, Any], *, https: bool
) -> Variant:
    around: list[tuple[bytes, tuple[bytes, ...]]] = []
    without: list[Line] = []
    for name, each in _policies(policy):
        cut, bare = each.render(https=https, report_only=name == csp.REPORT_ONLY_NAME)
        if len(cut) > 1:
            around.append((name.encode(), cut))
            without.append((name.encode(), bare))
        elif bare:
            fixed = (*fixed, (name.encode(), bare))
    return Variant(fixed=fixed, around_nonce=tuple(around), without_nonce=tuple(without), **shared)


def _policies(policy: SecurityHeaders) -> Iterator[tuple[str, csp.ContentSecurityPolicy]]:
    if policy.content_security_policy is not None:
        yield csp.NAME, policy.content_security_policy
    if policy.content_security_policy_report_only is not None:
        yield csp.REPORT_ONLY_NAME, policy.content_security_policy_report_only


def _check_policies(policy: SecurityHeaders) -> None:
    for name, each in _policies(policy):
        setting = f"security_headers.{name.replace('-', '_')}"
        if not isinstance(each, csp.ContentSecurityPolicy):
            raise ConfigError(
                setting, f"is a {type(each).__name__}", "Write ContentSecurityPolicy({...})."
            )
        for group in each.directives.get("report-to", ()):
            if group not in (policy.reporting_endpoints or {}):
                raise ConfigError(
                    setting,
                    f"report-to names {group!r}, which is no endpoint",
                    f"Add it to reporting_endpoints: {{{group!r}: '/csp-reports'}}.",
                )
    hsts = policy.strict_transport_security
    if hsts is not None and not isinstance(hsts, strict_transport_security.StrictTransportSecurity):
        raise ConfigError(
            "security_headers.strict_transport_security",
            f"is a {type(hsts).__name__}",
            "Write StrictTransportSecurity(...).",
        )


def _name(argument: str, name: str) -> bytes:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name.lower()):
        raise ConfigError(
            f"security_headers.{argument}", f"{name!r} is no header name", "Write e.g. 'server'."
        )
    if name.lower() == "set-cookie":
        raise ConfigError(
            f"security_headers.{argument}", "cookies are the app's own", "Leave 'set-cookie' out."
        )
    return name.lower().encode()


def _rule(name: str, rule: Rule) -> Rule:
    if rule not in get_args(Rule):
        raise ConfigError(
            "security_headers.rules",
            f"{rule!r} is no rule",
            "Write 'keep', 'replace' or 'append'.",
        )
    if rule == "append" and name.lower().encode() not in LISTS:
        raise ConfigError(
            "security_headers.rules",
            f"{name!r} holds one value, so nothing can be appended",
            "Write 'keep' or 'replace'.",
        )
    return rule
