"""Modules as the checkers see them: a dotted name, the text and its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["PACKAGE", "ROOT", "Module", "docstring_ids", "package_modules", "source_files"]

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "asgi_guard"


@dataclass(frozen=True)
class Module:
    """One source file.

    ``name`` is dotted, e.g. ``"asgi_guard.rls.binding"``, for a package that of its folder.
    """

    name: str
    text: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        """The part of the package it belongs to, e.g. ``"rls"``; ``"__init__"`` at the top."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"

    @property
    def file(self) -> str:
        """Path below the package, e.g. ``"rls/binding/clause.py"``."""
        inner = "/".join(self.name.split(".")[1:])
        if self.is_package:
            return f"{inner}/__init__.py".removeprefix("/")
        return f"{inner}.py"


def package_modules() -> list[Module]:
    """Read every module of the package."""
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name, path.read_text(encoding="utf-8"), is_package))
    return found


def source_files() -> Iterator[tuple[str, str]]:
    """Give the path and text of every Python file of the project."""
    for folder in (PACKAGE, "tests", "examples", "benchmarks", "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def docstring_ids(tree: ast.Module) -> set[int]:
    """Give the identities of the constants that are docstrings or bare strings, not values."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
