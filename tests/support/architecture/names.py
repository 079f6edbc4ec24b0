"""What a module gives out and says about itself: ``__all__``, docstrings, named errors."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from tests.support.architecture.source import PACKAGE, Module

__all__ = ["docstring_problems", "export_problems", "raise_problems"]

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_UNNAMED = {"NotImplementedError", "StopIteration", "StopAsyncIteration", "AssertionError"}


def export_problems(modules: Iterable[Module]) -> list[str]:
    """Report a missing ``__all__``, names in it that are not there, and names left out of it.

    Left out may be constants of a module, which are then its own business, and what a package's
    ``__init__`` takes from elsewhere.
    """
    return [problem for module in modules for problem in _export_problems(module)]


def _export_problems(module: Module) -> Iterator[str]:
    listed = _listed(module.tree)
    defined, constants, imported = _bindings(module)
    if listed is None:
        if defined:
            yield f"{module.file}: no __all__, but defines {', '.join(sorted(defined))}"
        return
    there = defined | constants | imported
    registered = {n.name for n in module.tree.body if _is_registered(n)}
    lazy = any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in module.tree.body)
    expected = (defined - registered) | (imported if module.is_package else set())
    if len(listed) != len(set(listed)):
        yield f"{module.file}: __all__ names something twice"
    if not lazy:
        yield from (f"{module.file}: __all__ names {n}, not there" for n in set(listed) - there)
    yield from (f"{module.file}: {n} is missing in __all__" for n in expected - set(listed))


def _is_registered(node: ast.stmt) -> bool:
    """Tell whether a decorator such as ``@app.command()`` hands the function to something else."""
    return isinstance(node, Function) and any(
        isinstance(d, ast.Call) and isinstance(d.func, ast.Attribute) for d in node.decorator_list
    )


def _listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def _bindings(module: Module) -> tuple[set[str], set[str], set[str]]:
    """Give public classes and functions, other assigned names, and names of the package."""
    defined: set[str] = set()
    constants: set[str] = set()
    imported: set[str] = set()
    for node in _top_statements(module.tree):
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            constants |= {t.id for t in targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            own = node.level > 0 or (node.module or "").split(".")[0] == PACKAGE
            names = {alias.asname or alias.name for alias in node.names}
            (imported if own else constants).update(names)
    return (
        defined,
        constants,
        {name for name in imported if not name.startswith("_")}
        | {name for name in imported if name.startswith("__")},
    )


def _top_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        if isinstance(node, ast.If):
            yield from (inner for inner in node.body if not isinstance(inner, ast.If))
        elif isinstance(node, ast.Try):
            yield from node.body
        else:
            yield node


def docstring_problems(modules: Iterable[Module]) -> list[str]:
    """Report public modules, classes, functions and methods that say nothing of themselves."""
    problems = []
    for module in modules:
        if not ast.get_docstring(module.tree):
            problems.append(f"{module.file}: the module has no docstring")
        problems += [
            f"{module.file}:{node.lineno}: {name} has no docstring"
            for name, node, _ in _public(module.tree)
            if not ast.get_docstring(node)
        ]
    return problems


def raise_problems(modules: Iterable[Module]) -> list[str]:
    """Report public functions that raise an error which their docstring does not name.

    What a constructor raises is named by its class. A section "Raises" may name a base class.
    """
    problems = []
    for module in modules:
        for name, node, owner in _public(module.tree, dunders=True):
            if isinstance(node, ast.ClassDef):
                continue
            is_constructor = owner is not None and node.name in {"__init__", "__post_init__"}
            if node.name.startswith("__") and not is_constructor:
                continue
            text = ast.get_docstring(owner if is_constructor and owner else node) or ""
            problems += [
                f"{module.file}:{node.lineno}: {name} raises {error}, which its docstring omits"
                for error in sorted(_raised(node))
                if error not in text and "Raises:" not in text
            ]
    return problems


def _public(
    tree: ast.AST, owner: ast.ClassDef | None = None, *, dunders: bool = False
) -> Iterator[tuple[str, ast.ClassDef | Function, ast.ClassDef | None]]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.ClassDef | Function):
            continue
        is_dunder = node.name.startswith("__") and dunders
        if (node.name.startswith("_") and not is_dunder) or _is_overload(node):
            continue
        yield (f"{owner.name}.{node.name}" if owner else node.name), node, owner
        if isinstance(node, ast.ClassDef):
            yield from _public(node, node, dunders=dunders)


def _is_overload(node: ast.ClassDef | Function) -> bool:
    return any(ast.unparse(d).endswith(("overload", ".setter")) for d in node.decorator_list)


def _raised(function: ast.AST) -> set[str]:
    """Give the error classes that the function's own statements raise."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.ClassDef | Function | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            if name.endswith("Error") and name[0].isupper() and name not in _UNNAMED:
                found.add(name)
        found |= _raised(node)
    return found
