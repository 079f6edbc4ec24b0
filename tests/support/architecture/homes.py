"""Single homes: what must be done in one place, and which file that is."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.support.architecture.source import Module, docstring_ids

__all__ = ["HOMES", "Home", "home_problems"]


@dataclass(frozen=True)
class Home:
    """A thing, the files that may do it, and how to see it in a syntax tree."""

    what: str
    files: frozenset[str]
    uses: Callable[[Module], Iterator[int]]


def _attributes(owner: str, names: set[str]) -> Callable[[Module], Iterator[int]]:
    """Find ``owner.name`` and ``from owner import name``, and *owner* under another name."""

    def uses(module: Module) -> Iterator[int]:
        aliases = {owner}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                aliases |= {a.asname for a in node.names if a.name == owner and a.asname}
            elif isinstance(node, ast.ImportFrom) and node.module == owner:
                yield from (node.lineno for a in node.names if a.name in names)
        for node in ast.walk(module.tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in names
                and ast.unparse(node.value) in aliases
            ):
                yield node.lineno

    return uses


def _calls(name: str) -> Callable[[Module], Iterator[int]]:
    """Find calls of *name*, plain, as an attribute, or with a type in brackets."""

    def uses(module: Module) -> Iterator[int]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                callee = node.func.value if isinstance(node.func, ast.Subscript) else node.func
                if ast.unparse(callee).rpartition(".")[2] == name:
                    yield node.lineno

    return uses


def _mentions(name: str) -> Callable[[Module], Iterator[int]]:
    def uses(module: Module) -> Iterator[int]:
        for node in ast.walk(module.tree):
            if (isinstance(node, ast.Attribute) and node.attr == name) or (
                isinstance(node, ast.ImportFrom) and any(a.name == name for a in node.names)
            ):
                yield node.lineno

    return uses


def _texts(pattern: str) -> Callable[[Module], Iterator[int]]:
    """Find strings that are values, not docstrings, and match *pattern*."""
    expression = re.compile(pattern, re.IGNORECASE)

    def uses(module: Module) -> Iterator[int]:
        prose = docstring_ids(module.tree)
        for node in ast.walk(module.tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in prose and expression.search(node.value):
                yield node.lineno

    return uses


_CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time", "localtime"}
_CLOCKS |= {f"{name}_ns" for name in _CLOCKS} | {"gmtime", "clock_gettime", "clock_gettime_ns"}
_DATES = {"now", "utcnow", "today"}

HOMES = (
    Home(
        "the environment",
        frozenset({"settings/env.py"}),
        _attributes("os", {"environ", "environb", "getenv", "getenvb"}),
    ),
    Home("a ContextVar", frozenset({"tenancy/current.py"}), _calls("ContextVar")),
    Home("the clock", frozenset({"_internal/clock.py"}), _attributes("time", _CLOCKS)),
    Home("the date", frozenset({"_internal/clock.py"}), _attributes("datetime", _DATES)),
    Home("the date", frozenset({"_internal/clock.py"}), _attributes("datetime.datetime", _DATES)),
    Home("the date", frozenset({"_internal/clock.py"}), _attributes("date", _DATES)),
    Home("the loop's clock", frozenset(), _attributes("asyncio.get_running_loop()", {"time"})),
    Home(
        "a tenant's setting",
        frozenset(
            {
                "rls/binding/clause.py",  # writes the tenant into BEGIN
                "rls/binding/sealed_clause.py",  # writes the signed one
                "rls/probe.py",  # tries, at start-up, what a wrong binding would see
                "rls/adoption/monitoring.py",  # remembers in a transaction that it has told
            }
        ),
        _texts(
            r"\bset_config\s*\((?!'(?:lock_timeout|jit|asgi_guard_listener\.names)')"
            r"|\bSET\s+LOCAL\s+(?!lock_timeout|statement_timeout|row_security)"
        ),
    ),
    Home(
        "a comparison in constant time",
        frozenset({"_internal/constant_time.py"}),
        _mentions("compare_digest"),
    ),
)


def home_problems(modules: Iterable[Module], homes: Iterable[Home] = HOMES) -> list[str]:
    """Report each use outside its home."""
    known = list(modules)
    return [
        f"{module.file}:{line}: {home.what} belongs in {', '.join(sorted(home.files)) or 'no file'}"
        for home in homes
        for module in known
        if module.file not in home.files
        for line in home.uses(module)
    ]
