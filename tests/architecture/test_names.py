"""What a module gives out is listed, there, and described."""

from __future__ import annotations

import importlib

import pytest

from tests.support.architecture.names import docstring_problems, export_problems, raise_problems
from tests.support.architecture.source import Module, package_modules

BARE = "asgi_guard.cors.policy"
DOC = '"""Doc."""\n'


def test_every_module_lists_what_it_gives_out() -> None:
    """What is not listed is nobody's promise, and may change without notice."""
    assert export_problems(package_modules()) == []


@pytest.mark.parametrize("name", [m.name for m in package_modules() if "__main__" not in m.name])
def test_every_listed_name_can_be_had(name: str) -> None:
    """A name that is listed and missing breaks ``import *`` and every documentation page."""
    module = importlib.import_module(name)

    assert [n for n in getattr(module, "__all__", ()) if not hasattr(module, n)] == []


def test_everything_public_has_a_docstring() -> None:
    """A reader's first question is answered where it comes up."""
    assert docstring_problems(package_modules()) == []


def test_functions_name_the_errors_they_raise() -> None:
    """A caller can only catch what it has been told of."""
    assert raise_problems(package_modules()) == []


@pytest.mark.parametrize(
    ("text", "is_package"),
    [
        ("def f(): ...", False),
        ("__all__ = ['gone']", False),
        ("__all__ = ['f', 'f']\ndef f(): ...", False),
        ("__all__ = []\nclass Left: ...", False),
        ("from asgi_guard.errors import GuardError\n__all__ = []", True),
        ("if True:\n    def f(): ...\n__all__ = []", False),
    ],
)
def test_a_wrong_list_is_reported(text: str, *, is_package: bool) -> None:
    """Negative control."""
    assert export_problems([Module(BARE, text, is_package)])


def test_a_right_list_is_not_reported() -> None:
    """Constants need not be listed; nor what a module imports or hands to a registry."""
    text = (
        "from asgi_guard.errors import GuardError\nA = 1\n__all__ = ['f']\ndef f(): ...\n"
        "@app.command()\ndef command(): ..."
    )

    assert export_problems([Module(BARE, text)]) == []


@pytest.mark.parametrize(
    "text",
    [
        "x = 1",
        DOC + "def f(): ...",
        DOC + "class A:\n  'Doc.'\n  def m(self): ...",
        DOC + "class A: ...",
    ],
)
def test_missing_docstrings_are_reported(text: str) -> None:
    """Negative control."""
    assert docstring_problems([Module(BARE, text)])


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n  'Doc.'\n  raise ValueError('x')",
        "def f():\n  'Doc.'\n  if x:\n    raise errors.ConfigError('x')",
        "class A:\n  'Doc.'\n  def __init__(self):\n    raise ValueError('x')",
        "class A:\n  'Doc.'\n  async def m(self):\n    'Doc.'\n    raise ValueError('x')",
    ],
)
def test_errors_that_are_not_named_are_reported(text: str) -> None:
    """Negative control."""
    assert raise_problems([Module(BARE, text)])


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n  'Raises ValueError.'\n  raise ValueError('x')",
        "def _f():\n  raise ValueError('x')",
        "def f():\n  'Doc.'\n  def g():\n    raise ValueError('x')",
        "class A:\n  'Raises: ValueError.'\n  def __init__(self):\n    raise ValueError('x')",
    ],
)
def test_errors_that_are_named_or_private_are_not_reported(text: str) -> None:
    """A check that always fails proves nothing either."""
    assert raise_problems([Module(BARE, text)]) == []
