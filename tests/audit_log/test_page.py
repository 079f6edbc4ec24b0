"""The page docs/audit-log.md says only what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from asgi_guard.audit_log import AuditLog, AuditQuery
from tests.support.audit_logs import ACME, audit_log, event

PAGE = (Path(__file__).parents[2] / "docs" / "audit-log.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(example: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(example, "docs/audit-log.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own page
    return names


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_runs_as_it_is_printed(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thing a reader does is paste it."""
    monkeypatch.chdir(tmp_path)

    assert len(EXAMPLES) == 4
    run(example)


async def test_the_first_example_is_a_log_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what the rest of the page builds on."""
    monkeypatch.chdir(tmp_path)
    audit: AuditLog = run(EXAMPLES[0])["audit"]

    async with audit:
        assert await audit.record(event(1))
        assert [record.chain async for record in audit.read(AuditQuery())] == [ACME]


async def test_the_query_of_the_page_answers(tmp_path: Path) -> None:
    """As printed."""
    refusals_of = run(EXAMPLES[3])["refusals_of"]
    async with audit_log(tmp_path / "log") as audit:
        await audit.record(event(1))

        assert await refusals_of(audit, ACME) == ["TENANT_MISMATCH"]
