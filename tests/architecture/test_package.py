"""The package as a whole: light to import, one version, readable letters, sound pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import asgi_guard
from scripts.check_docs import check_page, check_pages
from tests.support.architecture.letters import letter_problems
from tests.support.architecture.source import ROOT, source_files

HEAVY = ("sqlalchemy", "asyncpg", "cryptography", "typer")


def loaded_by(statement: str) -> set[str]:
    """Give the top-level modules that *statement* loads in a fresh interpreter."""
    program = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(told.stdout.split())


def newest_heading(changelog: str) -> str | None:
    """Give the version of the newest released heading (Keep a Changelog 1.1)."""
    headings = re.findall(r"^## \[?([^\]\s]+)", changelog, re.MULTILINE)
    return next((found for found in headings if found.lower() != "unreleased"), None)


def test_importing_the_package_loads_no_heavy_third_party() -> None:
    """An app that only sets headers must not pay for a database driver."""
    assert loaded_by("import asgi_guard").isdisjoint(HEAVY)


def test_server_side_sessions_load_no_heavy_third_party() -> None:
    """They sign nothing: a hash and a store are all they need."""
    loaded = loaded_by("import asgi_guard.auth.sessions")

    assert loaded.isdisjoint({*HEAVY, "jwt"})


@pytest.mark.parametrize("heavy", HEAVY)
def test_a_heavy_import_would_be_seen(heavy: str) -> None:
    """Negative control."""
    assert heavy in loaded_by(f"import {heavy}")


def test_the_version_is_the_newest_heading_of_the_changelog() -> None:
    """Health endpoint, metrics and OpenAPI show what the changelog describes."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert newest_heading(changelog) == asgi_guard.__version__


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("# C\n## [Unreleased]\n## [1.2.0] - 2026-01-01\n## [1.1.0]\n", "1.2.0"),
        ("## 0.1.0\n", "0.1.0"),
        ("# C\n", None),
    ],
)
def test_the_newest_heading_is_found(text: str, version: str | None) -> None:
    """Control of the reading itself."""
    assert newest_heading(text) == version


def test_no_source_file_holds_letters_in_disguise() -> None:
    """What a reviewer reads must be what runs ("Trojan Source", CVE-2021-42574)."""
    assert letter_problems(source_files()) == []


@pytest.mark.parametrize(
    "char",
    [
        "\u0430",  # Cyrillic a
        "\u03bf",  # Greek o
        "\u202e",  # turns the direction of what follows
        "\u200b",  # invisible
        "\u00a0",  # a space that is none
        "\uff41",  # full-width a
        "\u0131",  # i without its dot
    ],
)
def test_a_letter_in_disguise_is_reported(char: str) -> None:
    """Negative control."""
    problems = letter_problems([("x.py", f"ok = 1\nn{char}me = 2\n")])

    assert len(problems) == 1
    assert problems[0].startswith("x.py:2: ")


def test_readable_text_is_not_reported() -> None:
    """Names of people and arrows are no attack."""
    assert (
        letter_problems([("x.py", "# B\u00fccher \u2192 \u2026 \u2014 caf\u00e9 \u65e5\n")]) == []
    )


def test_the_pages_have_sound_links_and_code() -> None:
    """A newcomer's first try is the code in the README."""
    assert check_pages(ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "[a](missing.md)",
        "[a](#no-such-heading)",
        "[a](other.md#nothing)",
        "![a](missing.png)",
        "```python\ndef f(:\n```",
        "```python\n>>> f(\n```",
    ],
)
def test_a_broken_page_is_reported(tmp_path: Path, text: str) -> None:
    """Negative control."""
    (tmp_path / "other.md").write_text("# Other\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{text}\n")

    assert check_page(page, tmp_path)


def test_a_sound_page_is_not_reported(tmp_path: Path) -> None:
    """A check that always fails proves nothing either."""
    (tmp_path / "other.md").write_text("# The `other` one\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Title\n[a](other.md#the-other-one) [b](#title) [c](https://example.com) `[d](no)`\n"
        "```python\nasync with x:\n    await y()\nawait z\n```\n```\n[e](no)\n```\n"
    )

    assert check_page(page, tmp_path) == []
