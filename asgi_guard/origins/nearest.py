"""Why an origin was refused, with the listed one that it nearly was."""

from __future__ import annotations

from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.origins.origin import Origin
from asgi_guard.origins.pattern import OriginPattern

__all__ = ["explain_refusal"]

_SENTENCES: Final = {
    "no_origin": "No Origin was sent: not a cross-origin request of a browser.",
    "null": "'null' is denied: it is shared by every sandboxed frame, local file and data: page.",
}


def explain_refusal(
    origin: str | None,
    reason: str,
    origins: tuple[Origin, ...],
    patterns: tuple[OriginPattern, ...],
) -> str:
    """Return one sentence: the refusal, and the nearest configured entry if there is one."""
    if reason in _SENTENCES or origin is None:
        return _SENTENCES.get(reason, f"Denied: {reason}.")
    try:
        parsed = Origin.parse(origin.removesuffix("/"))
    except ConfigError as invalid:
        return f"{origin!r} is denied as malformed: {invalid.problem}."
    if parsed.serialize() != origin:
        return f"{origin!r} is denied as malformed: a browser sends {parsed.serialize()!r}."
    hint = _nearest(parsed, origins) or _nearest_pattern(parsed, patterns)
    return f"{origin} is denied: {reason}{hint}."


def _nearest(origin: Origin, origins: tuple[Origin, ...]) -> str:
    for listed in origins:
        if listed.host == origin.host:
            differs = "scheme" if listed.scheme != origin.scheme else "port"
            return f"; {listed} is listed, and the {differs} differs"
    for listed in origins:
        if listed.host.removeprefix("www.") == origin.host.removeprefix("www."):
            return f"; {listed} is listed, and 'www.' makes it another origin"
    return ""


def _nearest_pattern(origin: Origin, patterns: tuple[OriginPattern, ...]) -> str:
    for pattern in patterns:
        base = pattern.base
        if origin.host == base.host:
            return f"; {pattern} does not cover the name itself"
        if origin.host.endswith(f".{base.host}"):
            depth = origin.host.removesuffix(f".{base.host}").count(".")
            differs = "covers one label only" if depth else "has another scheme or port"
            return f"; {pattern} {differs}"
    return ""
