"""The directives of Content-Security-Policy and what each may hold (CSP Level 3 section 6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers.csp_sources import (
    check_ancestors,
    check_script_sources,
    check_sources,
    setting_of,
)
from asgi_guard.security_headers.fields import did_you_mean
from asgi_guard.security_headers.reporting_endpoints import endpoint_url

__all__ = ["DIRECTIVES", "NOT_IN_REPORT_ONLY", "UPGRADE", "check_directive"]

Check = Callable[[str, Sequence[str]], None]

UPGRADE: Final = "upgrade-insecure-requests"
NOT_IN_REPORT_ONLY: Final = frozenset({UPGRADE, "sandbox"})  # ignored there, with a console error

_SANDBOX: Final = frozenset(
    "allow-" + what
    for what in (
        *("downloads", "forms", "modals", "orientation-lock", "pointer-lock", "popups"),
        *("popups-to-escape-sandbox", "presentation", "same-origin", "scripts"),
        *("storage-access-by-user-activation", "top-navigation"),
        *("top-navigation-by-user-activation", "top-navigation-to-custom-protocols"),
    )
)
_RETIRED: Final = {
    "block-all-mixed-content": f"Browsers block mixed content by themselves; use {UPGRADE!r}.",
    "plugin-types": "Browsers have dropped plug-ins; use object-src 'none'.",
    "prefetch-src": "Browsers have dropped it; default-src covers prefetching.",
    "navigate-to": "No browser has it; use form-action.",
    "referrer": "Set the referrer_policy of SecurityHeaders.",
    "reflected-xss": "Set xss_protection of SecurityHeaders.",
    "require-sri-for": "Browsers have dropped it; put integrity= on each script.",
}
_TRUSTED_TYPE = re.compile(r"[A-Za-z0-9#=_/@.%-]+|'none'|'allow-duplicates'|\*")
_GROUP = re.compile(r"[a-z*][a-z0-9_.*-]*")


def _check_flag(name: str, values: Sequence[str]) -> None:
    if values:
        raise ConfigError(setting_of(name), f"takes no value, got {values[0]!r}", "Write [].")


def _check_sandbox(name: str, values: Sequence[str]) -> None:
    for value in values:
        if value not in _SANDBOX:
            raise ConfigError(
                setting_of(name), f"{value!r} is no flag", did_you_mean(value, _SANDBOX).strip()
                or "Write [] for the strictest sandbox, or flags such as 'allow-forms'."
            )  # fmt: skip


def _check_group(name: str, values: Sequence[str]) -> None:
    if len(values) != 1 or not _GROUP.fullmatch(values[0]):
        raise ConfigError(
            setting_of(name), f"{list(values)!r} is not one endpoint name", "Write ['csp']."
        )


def _check_uris(name: str, values: Sequence[str]) -> None:
    for value in values or ("",):
        endpoint_url(setting_of(name), value)


def _check_trusted_types(name: str, values: Sequence[str]) -> None:
    for value in values:
        if not _TRUSTED_TYPE.fullmatch(value):
            raise ConfigError(setting_of(name), f"{value!r} is no policy name", "Write 'default'.")
    if "'none'" in values and len(values) > 1:
        raise ConfigError(setting_of(name), "'none' stands beside others", "Write [\"'none'\"].")


def _check_trusted_types_sink(name: str, values: Sequence[str]) -> None:
    if list(values) != ["'script'"]:
        raise ConfigError(setting_of(name), f"{list(values)!r} is no sink", "Write [\"'script'\"].")


_FETCH: Final = (
    *("child-src", "connect-src", "fenced-frame-src", "font-src", "frame-src", "img-src"),
    *("manifest-src", "media-src", "object-src", "worker-src"),
)
_SCRIPT_OR_STYLE: Final = (
    *("default-src", "script-src", "script-src-elem", "script-src-attr"),
    *("style-src", "style-src-elem", "style-src-attr"),
)

DIRECTIVES: Final[dict[str, Check]] = {
    **dict.fromkeys(_FETCH, check_sources),
    **dict.fromkeys(_SCRIPT_OR_STYLE, check_script_sources),
    "base-uri": check_sources,
    "form-action": check_sources,
    "frame-ancestors": check_ancestors,
    "sandbox": _check_sandbox,
    "report-to": _check_group,
    "report-uri": _check_uris,
    "require-trusted-types-for": _check_trusted_types_sink,
    "trusted-types": _check_trusted_types,
    UPGRADE: _check_flag,
}


def check_directive(name: str, values: Sequence[str]) -> None:
    """Refuse a directive that browsers do not know, or a value that it cannot hold.

    Raises:
        ConfigError: With the corrected spelling where there is one. Browsers skip what they do
            not understand in silence, so a typing error is a missing wall.
    """
    if name in _RETIRED:
        raise ConfigError(setting_of(name), "is no longer a directive", _RETIRED[name])
    check = DIRECTIVES.get(name)
    if check is None:
        raise ConfigError(
            "security_headers.csp",
            f"{name!r} is no directive",
            did_you_mean(name, DIRECTIVES) or "Use the names of CSP Level 3, e.g. 'script-src'.",
        )
    check(name, values)
