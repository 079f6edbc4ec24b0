"""``asgi-guard audit``: what an operator types during an incident."""

from __future__ import annotations

import csv
import io
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from asgi_guard.audit_log import AuditSigningKey
from asgi_guard.cli.app import app
from tests.support.audit_logs import KEY, audit_log, event, lines, put, written
from tests.support.audit_postgres import PASSWORD, TABLES, install, open_log
from tests.support.rls_schema import ALICE, RLSDatabase


def run(*words: str | Path) -> Result:
    """Type a command; in a thread, because it runs a loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(CliRunner().invoke, app, ["audit", *map(str, words)]).result()


def verify(path: Path, *more: str | Path) -> Result:
    return run("verify", path, "--public-key", KEY.public_key, *more)


async def test_a_whole_log_is_whole_and_exits_with_zero(tmp_path: Path) -> None:
    """For a nightly job, the exit code is the message."""
    path = await written(tmp_path / "log")

    done = verify(path)

    assert (done.exit_code, done.stdout) == (
        0,
        "whole: 12 records in 3 chains, 13 checkpoints\n",
    )


async def test_the_first_bad_record_is_named_and_exits_with_one(tmp_path: Path) -> None:
    """An auditor begins to read where it begins to be wrong."""
    path = await written(tmp_path / "log", batches=1)
    entries = lines(path)
    entries[1]["event"]["user_id"] = "somebody-else"
    put(path, entries)

    done = verify(path)

    assert done.exit_code == 1
    assert done.stdout.startswith("first: altered at audit-00000001.jsonl:2 (chain acme, record 1)")


@pytest.mark.parametrize(
    "key", ["00", AuditSigningKey.generate().public_key], ids=["short", "other"]
)
async def test_a_wrong_key_never_says_whole(tmp_path: Path, key: str) -> None:
    """A typing error must not pass for a proof."""
    path = await written(tmp_path / "log", batches=1)

    done = run("verify", path, "--public-key", key)

    assert done.exit_code in {1, 2}
    assert not done.stdout.startswith("whole")


async def test_what_cannot_be_looked_at_exits_with_two(tmp_path: Path) -> None:
    """Not found is not the same as tampered with."""
    assert verify(tmp_path / "missing").exit_code == 2
    path = await written(tmp_path / "log", batches=1)
    assert verify(path, "--anchor", tmp_path / "missing").exit_code == 2


async def test_a_saved_checkpoint_finds_a_log_that_was_set_back(tmp_path: Path) -> None:
    """What yesterday's run saved elsewhere is today's proof."""
    path = await written(tmp_path / "log")
    saved = tmp_path / "elsewhere"
    assert verify(path, "--save", saved).exit_code == 0
    for file in path.iterdir():
        file.unlink()
    await written(path, batches=1)

    assert verify(path).exit_code == 0  # negative control
    done = verify(path, "--anchor", saved)

    assert done.exit_code == 1
    assert "truncated" in done.stdout


@pytest.mark.parametrize("form", ["json", "csv", "table"])
async def test_records_are_printed_in_every_form(tmp_path: Path, form: str) -> None:
    """For a program, a spreadsheet, a person."""
    path = await written(tmp_path / "log")

    done = run("query", path, "--tenant", "acme", "--format", form, "--since", "2026-03-01")

    assert done.exit_code == 0
    rows = done.stdout.splitlines()
    assert len(rows) == 4 + (form != "json")
    if form == "json":
        assert json.loads(rows[0])["event"]["name"] == "TENANT_MISMATCH"
    elif form == "csv":
        assert next(csv.DictReader(io.StringIO(done.stdout)))["name"] == "TENANT_MISMATCH"
    else:
        assert rows[1].split()[1] == "TENANT_MISMATCH"


async def test_conditions_are_those_of_the_query(tmp_path: Path) -> None:
    """Each option asks for what it says."""
    path = await written(tmp_path / "log")

    def count(*options: str) -> int:
        return len(run("query", path, "--format", "json", *options).stdout.splitlines())

    assert count() == 12
    assert count("--user", "user-2") == 3
    assert count("--event", "TENANT_MISMATCH", "--outcome", "denied", "--limit", "5") == 5
    assert count("--tenant", "") == 4
    assert count("--until", "2026-03-01") == 0


async def test_a_record_does_not_speak_to_the_terminal_or_the_spreadsheet(tmp_path: Path) -> None:
    """A user's name is an attacker's text."""
    async with audit_log(tmp_path / "log") as audit:
        await audit.record(event(1, user_id='=cmd|"/c calc"!A1', operation="\x1b[2Jgone\n"))

    for form in ("table", "csv"):
        printed = run("query", tmp_path / "log", "--format", form).stdout
        assert "\x1b" not in printed
        assert len(printed.splitlines()) == 2
    assert "'=cmd" in printed


def test_a_key_is_made_privately_and_never_over_another(tmp_path: Path) -> None:
    """To lose the key of a log is to lose its proof."""
    file = tmp_path / "audit.key"

    done = run("keygen", file)

    assert done.exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert done.stdout.strip() == AuditSigningKey.from_file(file).public_key
    assert file.read_text().strip() not in done.output
    assert run("keygen", file).exit_code == 2


@pytest.mark.postgres
async def test_a_log_in_postgresql_is_asked_and_verified_alike(rls_database: RLSDatabase) -> None:
    """One command for both places."""
    install(rls_database)
    async with open_log(rls_database) as audit:
        await audit.record(event(1, tenant=ALICE))
    dsn = rls_database.database.dsn(TABLES.writer_role, PASSWORD)

    whole = run("verify", dsn, "--public-key", KEY.public_key)
    asked = run("query", dsn, "--format", "json", "--tenant", ALICE)
    wrong = run("query", dsn.replace(PASSWORD, "hunter2"))

    assert whole.stdout == "whole: 1 records in 1 chains, 2 checkpoints\n"
    assert json.loads(asked.stdout)["event"]["tenant_id"] == ALICE
    assert wrong.exit_code == 2
    assert "hunter2" not in wrong.output
