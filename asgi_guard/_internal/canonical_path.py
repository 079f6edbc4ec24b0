"""The one reading of a request's path by which a rule may be chosen.

A rule that loosens a policy for ``/hooks`` is a door. Whoever can write one path that this layer
reads as ``/hooks`` and the router behind it as ``/admin`` walks through it (CWE-22, CWE-180:
validate before canonicalize). So a path either has one reading, or it has none: nothing is
repaired, decoded a second time or resolved, because each repair is a guess at what the next layer
will do. A path without one reading never gets a rule of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar

from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Scope

__all__ = ["INNER_ROOT_PATH", "PathRules", "canonical_path", "path_below_root", "path_set"]

INNER_ROOT_PATH: Final = "asgi_guard.inner_root_path"
"""Scope key: the ``root_path`` that a layer further in will set, with the tenant's prefix."""

_T = TypeVar("_T")

# What some layer, somewhere, resolves, cuts or decodes: an empty segment; a segment that begins
# with a space or ends with a space or dot (this includes "." and ".."; file systems drop them);
# controls; a backslash; a percent sign, for the server has already decoded once; the matrix
# parameters of RFC 3986 section 3.3; the marks of query and fragment.
_AMBIGUOUS: Final = re.compile(r"//|/ |[ .](?:/|\Z)|[\x00-\x1f\x7f\\%;?#]")

_BELOW: Final = "/*"


def canonical_path(scope: Scope) -> str | None:
    """Return the path of *scope* as rules are written, or None when it has no single reading.

    The path is decoded (ASGI servers do that once), relative to ``root_path`` as Starlette's
    router takes it, and without a trailing slash; the root is ``"/"``. Letters keep their case
    and ``+`` is a plus sign: a path has no form encoding.

    None is returned for ``//``, ``.`` and ``..`` segments in any encoding, an encoded slash, a
    second layer of percent-encoding, ``;``, a backslash, control and invisible characters, bytes
    that are not UTF-8, characters that Unicode normalisation (NFKC) would change into others, and
    a request target that is not a path (RFC 9112 section 3.2.2 to 3.2.4).
    """
    path: str = scope["path"]
    if not path.startswith("/") or not _is_plain(path):
        return None
    if b"%2f" in (scope.get("raw_path") or b"").lower():
        return None
    return _trimmed(path_below_root(scope))


def path_below_root(scope: Scope) -> str:
    """Return the path that the app's router sees: without ``root_path`` (ASGI, HTTP scope)."""
    return _below(scope["path"], scope.get("root_path") or "")


def _trimmed(path: str) -> str:
    return path.rstrip("/") or "/"


def _below(path: str, root: str) -> str:
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def _is_plain(path: str) -> bool:
    if _AMBIGUOUS.search(path):
        return False
    if path.isascii():
        return True
    # Replacement characters stand for bytes that were not UTF-8; isprintable() leaves out
    # surrogates, joiners and bidi marks. To normalise instead of asking would sort runs of
    # accents by insertion: a second for one path of 200 kB.
    return "\ufffd" not in path and path.isprintable() and unicodedata.is_normalized("NFKC", path)


def _folded(path: str) -> str:
    # By way of upper case, where a dotless i meets the i that a case-blind layer takes it for.
    return path.lower() if path.isascii() else path.upper().casefold()


class PathRules(Generic[_T]):
    """Which of several values holds for a request's path.

    A rule ``"/hooks/stripe"`` covers that path alone, with or without a trailing slash;
    ``"/hooks/*"`` covers ``/hooks`` and everything below it. The longest rule wins, an exact one
    before a ``*`` of the same length.

    Args:
        rules: Value by rule.
        default: Value for a path that no rule covers.
        ambiguous: Value for a path without a single reading, and for one that would meet another
            rule if its letters had another case, or behind the tenant's prefix. Give the
            strictest value there is, or one that makes the caller refuse; *default* is not it
            when a rule is stricter than *default*.
        setting: Dotted name of the setting, for error messages.

    Raises:
        ConfigError: A rule could never match, or two rules are one.
    """

    __slots__ = ("_ambiguous", "_default", "_exact", "_exact_folded", "_trees", "_trees_folded")

    def __init__(
        self, rules: Mapping[str, _T], *, default: _T, ambiguous: _T, setting: str
    ) -> None:
        self._default = default
        self._ambiguous = ambiguous
        self._exact: dict[str, tuple[str, _T]] = {}
        trees: list[tuple[str, tuple[str, _T]]] = []
        for rule, value in rules.items():
            path = _parse_rule(rule, setting)
            if rule.endswith(_BELOW):
                trees.append((path, (rule, value)))
            else:
                self._exact[path] = (rule, value)
        trees.sort(key=lambda tree: -len(tree[0]))
        self._trees = tuple(trees)
        self._exact_folded = {_folded(path): found for path, found in self._exact.items()}
        self._trees_folded = tuple((_folded(path), found) for path, found in self._trees)
        _refuse_twins(rules, setting)

    def __bool__(self) -> bool:
        """Tell whether there is any rule."""
        return bool(self._exact or self._trees)

    def of(self, scope: Scope) -> _T:
        """Return the value for the path of *scope*."""
        if not self:
            return self._default
        path = canonical_path(scope)
        if path is None:
            return self._ambiguous
        found = self._rule_for(path)
        if (root := scope.get(INNER_ROOT_PATH)) is not None:
            behind = self._rule_for(_trimmed(_below(scope["path"], root)))
            if behind is not None and behind is not found:
                return self._ambiguous
        return self._default if found is None else found[1]

    def _rule_for(self, path: str) -> tuple[str, _T] | None:
        found = _look_up(path, self._exact, self._trees)
        # Routers tell case apart, but file systems, proxies and mounted apps may not.
        if found is not _look_up(_folded(path), self._exact_folded, self._trees_folded):
            return ("", self._ambiguous)
        return found


def path_set(paths: Iterable[str], *, setting: str) -> PathRules[bool]:
    """Return rules that say True for *paths* and False for all others, ambiguous ones included.

    For lists that open something: exempt or public paths.

    Raises:
        ConfigError: One string was given for the list, or a rule is malformed.
    """
    if isinstance(paths, str):
        raise ConfigError(setting, f"{paths!r} is one string", f"Write a list: [{paths!r}].")
    return PathRules(dict.fromkeys(paths, True), default=False, ambiguous=False, setting=setting)


def _look_up(
    path: str, exact: Mapping[str, tuple[str, _T]], trees: tuple[tuple[str, tuple[str, _T]], ...]
) -> tuple[str, _T] | None:
    if path in exact:
        return exact[path]
    for top, found in trees:
        if not top or path == top or path.startswith(top + "/"):
            return found
    return None


def _parse_rule(rule: object, setting: str) -> str:
    if not isinstance(rule, str) or not rule.startswith("/"):
        raise ConfigError(setting, f"{rule!r} is not a path", "Begin it with a slash.")
    path = rule.removesuffix(_BELOW)
    if "*" in path:
        raise ConfigError(setting, f"{rule!r} has a * inside", "Only a last segment may be /*.")
    if path != "/" and path.endswith("/"):
        raise ConfigError(
            setting,
            f"{rule!r} ends with a slash",
            f"Write {path.rstrip('/')!r} for that path alone, or {path.rstrip('/') + _BELOW!r} "
            "for it and everything below.",
        )
    if not _is_plain(path):
        raise ConfigError(
            setting,
            f"{rule!r} would never match a request",
            "Write the decoded path, without //, dot segments, '%', ';', '?' or '#'.",
        )
    return path


def _refuse_twins(rules: Mapping[str, object], setting: str) -> None:
    seen: dict[str, str] = {}
    for rule in rules:
        twin = seen.setdefault(_folded(rule), rule)
        if twin != rule:
            raise ConfigError(
                setting, f"{twin!r} and {rule!r} differ in case only", "Keep one of them."
            )
