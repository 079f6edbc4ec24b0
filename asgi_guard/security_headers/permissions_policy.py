"""Permissions-Policy: which browser features this page, and frames in it, may use.

Stops an injected script or an embedded frame from asking for the camera, the location or a
payment in this site's name. Source: W3C Permissions Policy section 5; the syntax is a dictionary
of RFC 9651.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers.fields import did_you_mean

__all__ = ["NAME", "build"]

NAME: Final = "permissions-policy"

_SETTING: Final = "security_headers.permissions_policy"
_FEATURE = re.compile(r"[a-z][a-z0-9-]*")
_ORIGIN = re.compile(r"https?://(?:\*\.)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?")
_TOKENS: Final = frozenset({"self", "src"})
_KNOWN: Final = (
    *("accelerometer", "ambient-light-sensor", "attribution-reporting", "autoplay", "bluetooth"),
    *("browsing-topics", "camera", "captured-surface-control", "clipboard-read"),
    *("clipboard-write", "compute-pressure", "cross-origin-isolated", "deferred-fetch"),
    *("display-capture", "encrypted-media", "fullscreen", "gamepad", "geolocation", "gyroscope"),
    *("hid", "identity-credentials-get", "idle-detection", "interest-cohort", "keyboard-map"),
    *("language-detector", "local-fonts", "local-network-access", "magnetometer", "microphone"),
    *("midi", "otp-credentials", "payment", "picture-in-picture", "private-state-token-issuance"),
    *("publickey-credentials-create", "publickey-credentials-get", "screen-wake-lock", "serial"),
    *("speaker-selection", "storage-access", "summarizer", "sync-xhr", "translator", "unload"),
    *("usb", "web-share", "window-management", "xr-spatial-tracking"),
)


def build(features: Mapping[str, Sequence[str]]) -> str:
    """Return the header's value.

    Args:
        features: For each feature who may use it: ``[]`` nobody, ``["self"]`` this origin,
            ``["self", "https://maps.example"]`` an origin too, ``["*"]`` everybody.

    Raises:
        ConfigError: A feature or a member is malformed, or a feature is a near miss of a known
            one. Features that browsers will learn later are let through.
    """
    if not isinstance(features, Mapping) or not features:
        raise ConfigError(_SETTING, f"{features!r} names no feature", "Write {'camera': []}.")
    return ", ".join(f"{_feature(name)}={_members(name, who)}" for name, who in features.items())


def _feature(name: str) -> str:
    hint = did_you_mean(name, _KNOWN, cutoff=0.85) if name not in _KNOWN else ""
    if not isinstance(name, str) or not _FEATURE.fullmatch(name) or hint:
        raise ConfigError(
            _SETTING,
            f"{name!r} is no feature",
            f"{hint}Features are lower-case words with hyphens.",
        )
    return name


def _members(name: str, who: Sequence[str]) -> str:
    if isinstance(who, str):
        raise ConfigError(f"{_SETTING}[{name!r}]", f"{who!r} is one string", f"Write [{who!r}].")
    if list(who) == ["*"]:
        return "*"
    return f"({' '.join(_member(name, each) for each in who)})"


def _member(name: str, member: str) -> str:
    if member in _TOKENS:
        return member
    if isinstance(member, str) and _ORIGIN.fullmatch(member):
        return f'"{member}"'
    plain = member.strip("'\"") if isinstance(member, str) else member
    remedy = f"Write {plain!r}." if plain in _TOKENS else "Write 'self', or scheme://host[:port]."
    raise ConfigError(
        f"{_SETTING}[{name!r}]", f"{member!r} is neither 'self' nor an origin", remedy
    )
