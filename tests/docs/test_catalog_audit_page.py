"""The page of the audit is made from the table of codes, and the table is what the code emits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asgi_guard.rls import guarded_engine
from asgi_guard.rls.catalog.codes import CODES
from asgi_guard.testing import PostgresDatabase
from scripts.catalog_audit_page import PAGE, catalog_audit_page
from tests.support.pages import Page, as_role, prepare, tutorial_models

RLS = Path(__file__).resolve().parents[2] / "asgi_guard" / "rls"
DOCUMENTED_ELSEWHERE = {"catalog_unreadable", "rls_not_real"}


def test_the_page_is_what_the_table_says() -> None:
    """An operator looks a code up where it was written down once."""
    written = PAGE.read_text(encoding="utf-8")

    assert written == catalog_audit_page(), "run: python -m scripts.catalog_audit_page"


def test_every_code_is_emitted_and_none_is_unknown() -> None:
    """A code that nothing emits is a promise that nobody keeps."""
    files = [*(RLS / "catalog").glob("*.py"), RLS / "probe.py"]
    code = "".join(file.read_text() for file in files if file.name != "codes.py")
    quoted = set(re.findall(r'"(\w+)"', code))
    asked = set(re.findall(r'make\(\s*"(\w+)"|_leak\(\s*"(\w+)"', code))

    assert [name for name in CODES if name not in quoted] == []
    assert {name for pair in asked for name in pair if name} <= set(CODES)


@pytest.mark.postgres
async def test_the_page_runs(postgres_database: PostgresDatabase) -> None:
    """Its blocks are copied by people in a hurry."""
    models = tutorial_models()
    await prepare(postgres_database, models)
    names = Page("catalog-audit.md", **models).run()
    engine = guarded_engine(as_role(postgres_database, "app_runtime"))

    try:
        await names["look"](engine, names["policies"])
        assert await names["lint"](engine) == ["text ~~ text"]
    finally:
        await engine.dispose()
