"""The writer is killed, again and again, at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from asgi_guard.audit_log import AuditQuery, AuditSigningKey
from asgi_guard.audit_log.jsonl.reader import read_records, verify_directory
from asgi_guard.audit_log.jsonl.segments import list_segments
from asgi_guard.secret import Secret
from tests.support.audit_writer import SEED

ROOT = Path(__file__).parents[2]
WRITER = ROOT / "tests" / "support" / "audit_writer.py"
RUNS = 200


def killed(directory: Path, *, runs: int, seed: int) -> set[int]:
    """Run and kill so many writers of one log; give what they had acknowledged."""
    done = subprocess.run(
        [sys.executable, str(WRITER), str(directory), str(runs), str(seed)],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=150,
    )
    return {int(line) for line in done.stdout.split()}


def recorded(directory: Path) -> set[int]:
    """Give the numbers in a log."""
    query = AuditQuery(name="DEMO_WRITTEN")
    return {record.fields["details"]["number"] for record in read_records(directory, query)}


def test_two_hundred_kills_lose_no_acknowledged_event(tmp_path: Path) -> None:
    """An event that somebody was told is on record must be there, whatever happens next."""
    log = tmp_path / "log"

    acknowledged = killed(log, runs=RUNS, seed=20261122)

    # The last kill may have left a torn end, which the next writer would set aside.
    report = verify_directory(log, AuditSigningKey(Secret(SEED)).verify_keys)
    assert {finding.kind for finding in report.findings} <= {"truncated"}, report.findings
    assert len(acknowledged) > RUNS
    assert acknowledged <= recorded(log)
    assert len(list_segments(log)) > 1
    told = list(read_records(log, AuditQuery(name="AUDIT_LOG_RECOVERED")))
    assert len(told) == len(list(log.glob("torn-*")))


def test_an_acknowledged_event_that_is_gone_is_found_out(tmp_path: Path) -> None:
    """Negative control: the same comparison, with an end that was acknowledged and cut off."""
    log = tmp_path / "log"
    acknowledged = killed(log, runs=1, seed=3)
    last = list_segments(log)[-1].path
    lines = last.read_bytes().splitlines(keepends=True)

    last.write_bytes(b"".join(lines[: len(lines) // 2]))

    assert not acknowledged <= recorded(log)
    report = verify_directory(log, AuditSigningKey(Secret(SEED)).verify_keys)
    assert "truncated" in {finding.kind for finding in report.findings}
