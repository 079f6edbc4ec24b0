"""The floors: a room imports only what is below it, and nothing in a room goes round in circles."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

from tests.support.architecture.source import PACKAGE, Module

__all__ = ["FLOORS", "cycles", "floor_problems", "imported_modules"]

TOP = 7
FLOORS = {
    "errors": 0,
    "protocols": 0,
    "secret": 0,
    "_version": 0,
    "_internal": 1,
    "tenancy": 2,
    "origins": 2,
    "stores": 2,
    "rollout": 2,
    "cors": 3,
    "cross_origin": 3,
    "security_headers": 3,
    "auth": 3,
    "rls": 3,
    "audit_log": 3,
    "vault": 3,
    "observability": 3,
    "integrations": 4,
    "settings": 4,
    "stack": 5,
    "doctor": 5,
    "testing": 6,
    "cli": 6,
    "__init__": TOP,
    "__main__": TOP,
}


def floor_problems(modules: Iterable[Module]) -> list[str]:
    """Report each import of a room on the same floor or above, and rooms without a floor."""
    known = list(modules)
    names = {module.name for module in known}
    problems = []
    for module in known:
        here = FLOORS.get(module.room)
        if here is None:
            problems.append(f"{module.file}: room {module.room!r} has no floor")
            continue
        for node, target in imported_modules(module, names, module.tree):
            room = Module(target, "").room
            if room != module.room and FLOORS.get(room, TOP) >= here:
                problems.append(
                    f"{module.file}:{node.lineno}: floor {here} imports {target} "
                    f"of floor {FLOORS.get(room, 'unknown')}"
                )
    return problems


def cycles(modules: Iterable[Module]) -> list[str]:
    """Report circles among the imports that run when a module is loaded."""
    known = {module.name: module for module in modules}
    graph = {
        name: {
            target
            for _, target in imported_modules(module, set(known), *_run_at_import(module.tree))
            if target != name
        }
        for name, module in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def imported_modules(
    module: Module, known: set[str], *roots: ast.AST
) -> Iterator[tuple[ast.stmt, str]]:
    """Give each import of the package below *roots*, with the module that it names."""
    for root in roots:
        for node in ast.walk(root):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(module, node)
                targets = [
                    inner if (inner := f"{base}.{alias.name}") in known else base
                    for alias in node.names
                ]
            else:
                continue
            for target in targets:
                if target == PACKAGE or target.startswith(f"{PACKAGE}."):
                    yield node, target


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.name.split(".")
    kept = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*kept, node.module] if node.module else kept)


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Give the import statements outside functions and outside ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not _runs_later(node):
            yield from _run_at_import(node)


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
