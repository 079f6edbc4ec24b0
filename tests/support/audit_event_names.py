"""Which event names the package emits, read from its syntax trees.

A name of several words (``TENANT_MISMATCH``) counts wherever it is passed to a call; one of a
single word (``THROTTLED``) only where the call is called a report or the like.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.support.architecture.source import Module

__all__ = ["emitted_names"]

_NAME = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
_WORDS = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_TELLS = re.compile(r"report|emit|violation|SecurityEvent", re.IGNORECASE)


def emitted_names(modules: Iterable[Module]) -> dict[str, str]:
    """Give each name with the file and line of a call that it is passed to.

    Names are strings, conditional strings, constants of a module (also of another one), and the
    ``code`` of an error class.
    """
    known = list(modules)
    constants = _constants(known)
    found = {}
    for module in known:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            for name in _names(_subject(node), constants):
                if _WORDS.fullmatch(name) or _tells(node.func):
                    found[name] = f"{module.file}:{node.lineno}"
    return found


def _tells(callee: ast.expr) -> bool:
    return bool(_TELLS.search(ast.unparse(callee).rpartition(".")[2]))


def _subject(call: ast.Call) -> list[ast.expr]:
    named = [word.value for word in call.keywords if word.arg == "name"]
    return [*call.args[:2], *named]


def _names(subjects: list[ast.expr], constants: dict[str, str]) -> Iterator[str]:
    for subject in subjects:
        for node in ast.walk(subject):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            elif isinstance(node, ast.Name | ast.Attribute):
                text = constants.get(ast.unparse(node), "")
            else:
                continue
            if _NAME.fullmatch(text):
                yield text


def _constants(modules: list[Module]) -> dict[str, str]:
    found: dict[str, str] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{k}": v for k, v in _assigned(node.body)}
        found |= dict(_assigned(module.tree.body))
    return found


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        text = value.value if isinstance(value, ast.Constant) else None
        if isinstance(target, ast.Name) and isinstance(text, str):
            yield target.id, text
