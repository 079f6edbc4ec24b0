"""SecurityHeaders: the set of headers that a response gets, checked when it is written down."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from asgi_guard.security_headers import presets
from asgi_guard.security_headers.content_security_policy import ContentSecurityPolicy, Directives
from asgi_guard.security_headers.rendering import Rendered, Rule, render
from asgi_guard.security_headers.strict_transport_security import StrictTransportSecurity

__all__ = ["SecurityHeaders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityHeaders:
    """Which security headers a response gets; None leaves a header out.

    Begin with a preset and change what differs: ``SecurityHeaders.html().replace(...)``.

    Args:
        content_security_policy: The enforced policy.
        content_security_policy_report_only: One that only reports, beside it.
        strict_transport_security: Sent over https, by default in production only.
        x_content_type_options: ``"nosniff"``.
        x_frame_options: ``"DENY"`` or ``"SAMEORIGIN"``.
        referrer_policy: One policy, or a list of which browsers take the last they know.
        permissions_policy: Who may use a feature, e.g. ``{"camera": []}``.
        cross_origin_opener_policy: E.g. ``"same-origin"``.
        cross_origin_resource_policy: E.g. ``"same-origin"``.
        cross_origin_embedder_policy: E.g. ``"require-corp"``; opt-in.
        reporting_endpoints: URL by name, for ``report-to``.
        xss_protection: ``"0"``, or ``"legacy-block"`` for a checklist that asks for it.
        cache_control: A value for responses that set none.
        no_store_when_personal: Send ``no-store`` on a response that sets no Cache-Control and
            sets a cookie, answers an authenticated request, or carries a nonce.
        origin_agent_cluster: Ask for a process of this origin's own.
        x_permitted_cross_domain_policies: ``"none"`` for a checklist that asks for it.
        remove: Names of headers to take out of every response. A server that adds ``Server``
            itself is told to stop by its own setting (uvicorn: ``--no-server-header``).
        rules: What happens, by header name, where the app has set a header itself: ``"keep"``
            (the default) the app's, ``"replace"`` it, or ``"append"`` to it, for headers whose
            value is a list.

    Raises:
        ConfigError: A value is unknown, malformed or without effect.
    """

    content_security_policy: ContentSecurityPolicy | None = None
    content_security_policy_report_only: ContentSecurityPolicy | None = None
    strict_transport_security: StrictTransportSecurity | None = None
    x_content_type_options: str | None = "nosniff"
    x_frame_options: str | None = None
    referrer_policy: str | Sequence[str] | None = None
    permissions_policy: Mapping[str, Sequence[str]] | None = None
    cross_origin_opener_policy: str | None = None
    cross_origin_resource_policy: str | None = None
    cross_origin_embedder_policy: str | None = None
    reporting_endpoints: Mapping[str, str] | None = None
    xss_protection: Literal["0", "legacy-block"] | None = "0"
    cache_control: str | None = None
    no_store_when_personal: bool = True
    origin_agent_cluster: Literal[True] | None = None
    x_permitted_cross_domain_policies: str | None = None
    remove: Collection[str] = frozenset({"server", "x-powered-by"})
    rules: Mapping[str, Rule] = field(default_factory=dict)
    rendered: Rendered = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once, here: a bad policy fails where it is written, and a request only looks it up.
        object.__setattr__(self, "rendered", render(self))

    @classmethod
    def html(cls, *, report_to: str | None = None, trusted_types: bool = False) -> SecurityHeaders:
        """Return the strict set for pages: scripts by nonce only, no framing.

        Args:
            report_to: Path or https URL of the report collector.
            trusted_types: Also forbid strings in script sinks such as ``innerHTML``; breaks most
                scripts that were not written for it.
        """
        return cls(**presets.html(report_to=report_to, trusted_types=trusted_types))

    @classmethod
    def api(cls) -> SecurityHeaders:
        """Return the set for JSON and files: nothing loads, nothing is stored or framed."""
        return cls(**presets.api())

    @classmethod
    def docs(cls, *, pages: Sequence[str] = ()) -> SecurityHeaders:
        """Return the set under which FastAPI's Swagger UI and ReDoc pages work.

        Give it to those routes alone: it trusts a public content network.

        Args:
            pages: HTML of the documentation pages. Their inline scripts are then allowed by hash
                and no others; without, inline scripts run.
        """
        return cls(**presets.docs(pages=pages))

    @classmethod
    def report_only(cls, *, report_to: str | None = None) -> SecurityHeaders:
        """Return the set for a first roll-out: what `html` would block is reported, not blocked.

        Args:
            report_to: Path or https URL of the report collector; without, browsers write to
                their own consoles alone.
        """
        return cls(**presets.report_only(report_to=report_to))

    def replace(self, **changes: Any) -> SecurityHeaders:
        """Return a copy with other values for the named arguments.

        Raises:
            ConfigError: As the constructor.
            TypeError: There is no such argument.
        """
        return replace(self, **changes)

    def allowing(self, directives: Directives) -> SecurityHeaders:
        """Return a copy whose Content-Security-Policies have these sources in addition.

        ``SecurityHeaders.html().allowing({"img-src": ["https://cdn.example"]})``.
        """
        enforced, reported = (
            policy and policy.extended(directives)
            for policy in (self.content_security_policy, self.content_security_policy_report_only)
        )
        return self.replace(
            content_security_policy=enforced, content_security_policy_report_only=reported
        )
