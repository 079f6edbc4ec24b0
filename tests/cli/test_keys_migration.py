"""``asgi-guard keys migrate-hs256``: every step, its obstacle, its dry run and its way back."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from asgi_guard.auth.jose import MigrationState
from asgi_guard.cli.app import app

SECRET = "an old secret that every service has had for years"
HOUR = 3600.0


def run(command: str, *arguments: object) -> Result:
    words = ["keys", "migrate-hs256", command, *(str(each) for each in arguments)]
    return CliRunner().invoke(app, words)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.touch(0o600)
    file.write_text(SECRET + "\n")
    return file


@pytest.fixture
def folder(tmp_path: Path, secret: Path) -> Path:
    """A folder in which the keys are published."""
    assert start(tmp_path / "keys", secret).exit_code == 0
    return tmp_path / "keys"


def start(folder: Path, secret: Path, *further: object) -> Result:
    return run(
        "start", folder, "--secret-file", secret, "--longest-lifetime", HOUR,
        "--algorithm", "ES256", *further,
    )  # fmt: skip


def state(folder: Path) -> dict[str, Any]:
    content = (folder / "migration.json").read_bytes()
    return dict(json.loads(content)) if content else {}


def let_pass(folder: Path, seconds: float) -> None:
    """Move what was written down into the past, as if the time had gone by."""
    found = state(folder)
    for name in ("published_at", "switched_at", "ended_at", "signed_until", "deadline"):
        found[name] = found[name] and found[name] - seconds
    (folder / "migration.json").write_text(json.dumps(found))


def published(folder: Path) -> list[str]:
    words = ["keys", "jwks", str(folder)]
    return [key["kid"] for key in json.loads(CliRunner().invoke(app, words).stdout)["keys"]]


def stored(**changes: Any) -> str:
    claims = {"sub": "alice", "exp": int(time.time()) + 600, **changes}
    return jwt.encode(claims, SECRET, "HS256")


def algorithms(tokens: list[str]) -> list[str]:
    return [jwt.get_unverified_header(each)["alg"] for each in tokens]


def test_the_whole_way_with_the_waits_that_nobody_may_skip(folder: Path) -> None:
    """Publish, verify both, switch, wait out the longest lifetime, end."""
    assert len(published(folder)) == 1
    assert stat.S_IMODE((folder / "migration.json").stat().st_mode) == 0o600
    assert state(folder)["phase"] == "published"

    early = run("switch", folder)
    assert (early.exit_code, state(folder)["phase"]) == (2, "published")
    assert "may not know the keys" in early.output
    let_pass(folder, HOUR)
    assert run("switch", folder).exit_code == 0
    assert "new tokens: ES256" in run("status", folder).output

    early = run("end", folder)
    assert (early.exit_code, state(folder)["phase"]) == (2, "switched")
    assert "may live for" in early.output
    let_pass(folder, HOUR + 300)
    done = run("end", folder)
    assert done.exit_code == 0
    assert "destroy it" in done.output
    assert state(folder)["phase"] == "ended"
    assert run("end", folder).exit_code == 2


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path, secret: Path) -> None:
    """Not even a folder appears."""
    folder = tmp_path / "keys"
    first = start(folder, secret, "--dry-run")
    assert first.exit_code == 0
    assert "would be published" in first.output
    assert not folder.exists()

    assert start(folder, secret).exit_code == 0
    for command, wait in (("switch", HOUR), ("end", 2 * HOUR)):
        let_pass(folder, wait)
        before = (folder / "migration.json").read_bytes()
        assert "would be" in run(command, folder, "--dry-run").output
        assert "would be" in run("back", folder, "--dry-run").output or command == "switch"
        assert (folder / "migration.json").read_bytes() == before
        assert run(command, folder).exit_code == 0


def test_each_step_can_be_taken_back_and_no_token_dies_of_it(folder: Path) -> None:
    """Tokens of the new key stay valid for as long as they live: they keep being verified."""
    kids = published(folder)
    let_pass(folder, HOUR)
    run("switch", folder)
    let_pass(folder, 2 * HOUR)
    run("end", folder)

    assert run("back", folder).exit_code == 0
    assert state(folder)["phase"] == "switched"
    assert run("back", folder).exit_code == 0
    assert "new tokens: HS256" in run("status", folder).output
    too_soon = run("back", folder)
    assert (too_soon.exit_code, state(folder)["phase"]) == (2, "published")
    assert "has signed ES256 tokens" in too_soon.output
    let_pass(folder, 2 * HOUR)
    assert run("back", folder).exit_code == 0
    assert run("status", folder).exit_code == 2
    assert published(folder) == kids, "verifiers may still hold them; unused, they open nothing"


def test_it_begins_once_and_with_a_real_secret(tmp_path: Path, folder: Path, secret: Path) -> None:
    """A short secret, one that others can read, and a public key are none."""
    assert start(folder, secret).exit_code == 2
    fresh = tmp_path / "fresh"
    secret.write_text("short")
    assert start(fresh, secret).exit_code == 2
    secret.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    assert start(fresh, secret).exit_code == 2
    secret.write_text(SECRET)
    secret.chmod(0o644)
    assert start(fresh, secret).exit_code == 2
    assert start(fresh, tmp_path / "missing").exit_code == 2
    secret.chmod(0o600)
    assert start(fresh, secret, "--deadline-days", "0.01").exit_code == 2
    for algorithm in ("HS256", "none", "RS1"):
        assert start(fresh, secret, "--algorithm", algorithm, "--dry-run").exit_code == 2
    assert not fresh.exists()


def test_keys_of_another_algorithm_are_not_taken_for_the_new_ones(
    tmp_path: Path, secret: Path
) -> None:
    """The state would say RS256, and the folder sign with something else."""
    folder = tmp_path / "keys"
    CliRunner().invoke(app, ["keys", "init", str(folder), "--algorithm", "EdDSA"])

    wrong = start(folder, secret)
    assert (wrong.exit_code, (folder / "migration.json").exists()) == (2, False)
    assert start(folder, secret, "--algorithm", "Ed25519").exit_code == 0


@pytest.mark.parametrize("content", ["{}", "[]", "x", '{"format": 1, "phase": "done"}'])
def test_a_damaged_state_decides_nothing(content: str, folder: Path) -> None:
    """Neither a step forward nor one back."""
    (folder / "migration.json").write_text(content)

    for command in ("switch", "end", "back", "status"):
        assert run(command, folder).exit_code == 2
    assert (folder / "migration.json").read_text() == content


def test_the_state_of_a_stranger_is_refused(folder: Path) -> None:
    """Who could write it would decide what is accepted."""
    (folder / "migration.json").chmod(0o646)

    assert run("status", folder).exit_code == 2


def test_stored_tokens_in_a_file_are_signed_anew_and_back(
    folder: Path, secret: Path, tmp_path: Path
) -> None:
    """What is no token of ours stays as it is, line by line."""
    file = tmp_path / "tokens"
    file.touch(0o600)
    lines = [stored(jti="1"), "", "garbage", stored(jti="2"), stored(exp=1)]
    file.write_text("\n".join(lines) + "\n")
    options = ("--secret-file", secret, "--file", file, "--batch", 2)
    assert run("resign", folder, *options).exit_code == 2, "verifiers do not know the keys yet"
    let_pass(folder, HOUR)
    run("switch", folder)

    dry = run("resign", folder, *options, "--dry-run")
    assert "would be: 1 expired, 1 refused, 2 resigned" in dry.output
    assert file.read_text() == "\n".join(lines) + "\n"
    done = run("resign", folder, *options)
    assert "1 expired, 1 refused, 2 resigned" in done.output
    written = file.read_text().split("\n")
    assert algorithms([written[0], written[3]]) == ["ES256", "ES256"]
    assert (written[1], written[2], written[4], written[5]) == ("", "garbage", lines[4], "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "2 done" in run("resign", folder, *options).output

    assert "2 resigned" in run("resign", folder, *options, "--back").output
    assert algorithms([file.read_text().split("\n")[0]]) == ["HS256"]
    assert SECRET not in done.output
    assert written[0] not in done.output


@pytest.fixture
def database(tmp_path: Path) -> tuple[str, sa.Engine]:
    """A table of stored tokens."""
    file = tmp_path / "app.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE refresh_tokens (id INTEGER PRIMARY KEY, token)"))
        for number in range(7):
            connection.execute(
                sa.text("INSERT INTO refresh_tokens VALUES (:id, :token)"),
                {"id": number, "token": None if number == 3 else stored(jti=str(number))},
            )
    return f"sqlite+aiosqlite:///{file}", engine


def tokens_in(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        query = sa.text("SELECT token FROM refresh_tokens WHERE token IS NOT NULL ORDER BY id")
        return [str(row[0]) for row in connection.execute(query)]


def test_stored_tokens_in_a_table_are_signed_anew_in_batches(
    folder: Path, secret: Path, database: tuple[str, sa.Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By compare-and-set, one transaction per batch; the address stays out of the arguments."""
    monkeypatch.setenv("ASGI_GUARD_MIGRATION_DSN", database[0])
    let_pass(folder, HOUR)
    run("switch", folder)
    options = ("--secret-file", secret, "--batch", 2)

    assert "would be: 6 resigned" in run("resign", folder, *options, "--dry-run").output
    assert algorithms(tokens_in(database[1])) == ["HS256"] * 6
    assert run("resign", folder, *options).exit_code == 0
    assert algorithms(tokens_in(database[1])) == ["ES256"] * 6
    assert "6 done" in run("resign", folder, *options).output
    assert "6 resigned" in run("resign", folder, *options, "--back").output
    assert algorithms(tokens_in(database[1])) == ["HS256"] * 6
    missing = run("resign", folder, *options, "--table", "nothing")
    assert missing.exit_code == 2
    assert "stored_tokens_unreachable" in missing.output
    assert run("resign", folder, *options, "--batch", 0).exit_code == 2


def test_killed_at_any_point_it_can_be_run_again(
    folder: Path, secret: Path, tmp_path: Path
) -> None:
    """State and tokens are old or new, never half; the second run comes to the end."""
    let_pass(folder, HOUR)
    out = subprocess.run(
        [sys.executable, "-m", "tests.support.migration_kills", str(tmp_path), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SECRET_FILE": str(secret)},
        timeout=120,
    )

    assert out.returncode == 0, out.stderr[-2000:]
    lines = out.stdout.split("\n")
    assert lines.count("killed whole") >= 6, out.stdout
    assert lines.count("finished whole") == 2
    assert "torn" not in out.stdout


def test_what_an_app_reads_from_the_state() -> None:
    """Which algorithm signs, and until when the old one is accepted."""
    first = MigrationState(
        phase="published", algorithm="RS256", longest_lifetime=HOUR, settle=60, deadline=1e5,
        published_at=0,
    )  # fmt: skip
    second = first.advanced(100)
    third = second.advanced(100 + HOUR + 300)

    assert (first.signs_with, first.legacy_until) == ("HS256", 1e5)
    assert (second.signs_with, second.legacy_until) == ("RS256", 100 + HOUR + 300)
    assert (third.signs_with, third.legacy_until) == ("RS256", third.ended_at)
    assert MigrationState.from_json(third.to_json()) == third
