"""What a reviewer would remark on an origin policy that is valid all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asgi_guard.origins.expression import stranger_let_in
from asgi_guard.origins.finding import Finding
from asgi_guard.origins.origin import Origin
from asgi_guard.origins.pattern import OriginPattern
from asgi_guard.origins.public_suffix import is_public_suffix

__all__ = ["on_policy"]

_ORIGINS = "origins.allow_origins"
_REGEX = "origins.allow_origin_regex"


def on_policy(
    *,
    uniform: bool,
    allow_null: bool,
    origins: tuple[Origin, ...],
    patterns: tuple[OriginPattern, ...],
    expression: re.Pattern[str] | None,
) -> tuple[Finding, ...]:
    """Return the findings on one policy, in order of what they concern."""
    found: list[Finding] = []
    if uniform:
        found.append(_warning("any_origin", _ORIGINS, "'*' lets every page read", "List origins."))
    elif not (origins or patterns or expression or allow_null):
        found.append(
            Finding(
                level="note",
                code="no_origin",
                setting=_ORIGINS,
                problem="nothing is listed, so no other origin is let in",
                remedy="List the origins of your pages, if they are not this one.",
            )
        )
    if allow_null:
        found.append(
            _warning(
                "null_origin",
                "origins.allow_null",
                "every sandboxed frame and local file may call",
                "Serve the page from an origin of its own.",
            )
        )
    found.extend(_on_each(origins, patterns))
    if expression is not None:
        found.append(_on_expression(expression))
    return tuple(found)


def _on_each(origins: tuple[Origin, ...], patterns: tuple[OriginPattern, ...]) -> Iterator[Finding]:
    for pattern in patterns:
        if is_public_suffix(pattern.base.host):
            problem = f"anybody can register under the public suffix of {pattern}"
            yield _warning("public_suffix", _ORIGINS, problem, "Name the full origin.")
    for origin, shown in (
        *((origin, str(origin)) for origin in origins),
        *((pattern.base, str(pattern)) for pattern in patterns),
    ):
        if origin.scheme == "http" and not origin.is_local:
            problem = f"{shown} is not encrypted: whoever is on the network can be this origin"
            yield _warning("insecure_scheme", _ORIGINS, problem, "Use https.")
        if origin.is_local:
            problem = f"{shown} is the visitor's own machine"
            yield _warning("local_origin", _ORIGINS, problem, "Keep it out of production.")


def _on_expression(expression: re.Pattern[str]) -> Finding:
    stranger = stranger_let_in(expression)
    if stranger is not None:
        problem = f"{expression.pattern!r} lets in {stranger}"
        return _warning("loose_expression", _REGEX, problem, "Write a pattern by label.")
    return Finding(
        level="note",
        code="expression",
        setting=_REGEX,
        problem="a regular expression is easily wrong",
        remedy="Write a pattern by label, e.g. 'https://*.example.com'.",
    )


def _warning(code: str, setting: str, problem: str, remedy: str) -> Finding:
    return Finding(level="warning", code=code, setting=setting, problem=problem, remedy=remedy)
