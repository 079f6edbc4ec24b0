"""Checks on a regular expression over origins: the mistakes that let strangers in.

Prefer patterns by label. An expression is matched against the whole origin, so that a missing
``$`` opens nothing; what remains are unescaped dots, a missing dot before the domain, and ``.*``.
They are found by trying origins that nobody could have meant, with random names.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

from asgi_guard.errors import ConfigError

__all__ = ["compile_expression", "stranger_let_in"]

_NAME_IN_SOURCE = re.compile(r"[a-z0-9-]+(?:\\?\.[a-z0-9-]+)+", re.IGNORECASE)
_ENDINGS = ("", ".com", ".io", ".co.uk", ".github.io", ".example")
_MAX_SOURCE = 1000
# (a+)+ and its kin take exponential time on a crafted origin of a few dozen characters; each
# repetition beside another multiplies the time by the origin's length.
_ESCAPE_OR_CLASS = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_REPEAT = re.compile(r"[*+{]")
_MOST_REPEATS = 2


def compile_expression(source: str, *, setting: str) -> re.Pattern[str]:
    """Compile *source*, to be used with ``fullmatch`` on an origin.

    Raises:
        ConfigError: It is not a regular expression, too long, repeats a group, or repeats more
            than twice: a caller could use it to burn processor time.
    """
    if not isinstance(source, str) or len(source) > _MAX_SOURCE:
        raise ConfigError(setting, "is not a string of at most 1000 characters", "Use patterns.")
    bare = _ESCAPE_OR_CLASS.sub("x", source)
    if _REPEATED_GROUP.search(bare) or len(_REPEAT.findall(bare)) > _MOST_REPEATS:
        raise ConfigError(
            setting,
            f"{source!r} repeats a group, or more than twice, and could be made to hang",
            "Write a pattern by label, e.g. 'https://*.example.com'.",
        )
    try:
        return re.compile(source)
    except re.error as invalid:
        raise ConfigError(
            setting, f"{source!r} is not a regular expression: {invalid}", "Mend it."
        ) from invalid


def stranger_let_in(expression: re.Pattern[str]) -> str | None:
    """Return an origin that nobody could have meant and *expression* matches, or None.

    Does not prove that there is none: it tries the classic mistakes, with random names.
    """
    return next(
        (probe for probe in _probes(expression.pattern) if expression.fullmatch(probe)), None
    )


def _probes(source: str) -> Iterator[str]:
    name = f"x{secrets.token_hex(8)}"
    schemes = [found for found in ("https", "http") if found in source] or ["https", "http"]
    for scheme in {*schemes, "https", "http"}:
        for ending in _ENDINGS:
            yield f"{scheme}://{name}{ending}"
            yield f"{scheme}://{name}{ending}:8443"
            yield f"{scheme}://{name}.{name}{ending}"
        for found in _NAME_IN_SOURCE.findall(source):
            host = found.replace("\\", "")
            yield f"{scheme}://{name}{host}"  # no dot before the domain
            yield f"{scheme}://{host}.{name}.com"  # no end
            yield f"{scheme}://{host}{name}.com"
            for position, letter in enumerate(host):
                if letter == ".":  # an unescaped dot takes any letter
                    yield f"{scheme}://{host[:position]}x{host[position + 1 :]}"
                    yield f"{scheme}://{name}.{host[:position]}x{host[position + 1 :]}"
