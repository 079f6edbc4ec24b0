"""The page on the vault: its first example runs, and it names every event and code."""

from __future__ import annotations

import re

from asgi_guard.errors import VaultOpenError
from asgi_guard.observability.catalogue import CATALOGUE
from tests.support.architecture.source import ROOT

PAGE = (ROOT / "docs" / "vault.md").read_text(encoding="utf-8")


def test_the_first_example_runs() -> None:
    """It is what a newcomer pastes."""
    example = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]

    exec(compile(example, "docs/vault.md", "exec"), {"__name__": "example"})  # noqa: S102 - our own page


def test_every_code_of_a_refusal_is_explained() -> None:
    """An operator searches for what the event says."""
    assert [code for code in VaultOpenError.CODES if f"`{code}`" not in PAGE] == []


def test_every_event_that_is_reported_is_in_the_catalogue() -> None:
    """Dashboards are built from the list of names."""
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "asgi_guard" / "vault").glob("*.py")
    )
    reported = set(re.findall(r'"(VAULT_[A-Z_]+)"', source))

    assert reported == {kind.name for kind in CATALOGUE if kind.room == "vault"}
