"""``asgi-guard keys``: what an operator does to signing keys, from a shell."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from asgi_guard.cli.app import app

PASSPHRASE = "six random words are enough"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Give a folder with a key."""
    assert run("init", str(tmp_path / "keys"), "--algorithm", "ES256").exit_code == 0
    return tmp_path / "keys"


def run(*arguments: str, text: str = "") -> Result:
    """Run one command."""
    return CliRunner().invoke(app, ["keys", *arguments], input=text)


def kids(folder: Path) -> list[str]:
    """Name the published keys."""
    return [jwk["kid"] for jwk in json.loads(run("jwks", str(folder)).stdout)["keys"]]


def test_a_key_is_made_listed_rotated_and_revoked(keys: Path) -> None:
    """The life of a key, by hand."""
    (first,) = kids(keys)
    assert run("rotate", str(keys), "--algorithm", "EdDSA").exit_code == 0
    _, second = kids(keys)
    listed = run("list", str(keys)).output
    assert "signing" in listed
    assert "next" in listed
    assert first in listed

    assert run("revoke", str(keys), first, text="n\n").exit_code == 1
    assert first in kids(keys), "not without a yes"
    assert run("revoke", str(keys), first, "--yes").exit_code == 0
    assert kids(keys) == [second]
    assert run("rotate", str(keys), "--algorithm", "ES256", "--now").exit_code == 0
    assert run("init", str(keys)).exit_code == 0, "changes nothing"
    assert len(kids(keys)) == 2


def test_an_escrow_is_written_for_the_owner_and_read_back(keys: Path, tmp_path: Path) -> None:
    """By file and by prompt; and never over another file."""
    words, file = tmp_path / "words", tmp_path / "escrow"
    words.write_text(PASSPHRASE + "\n")
    written = run("export", str(keys), str(file), "--passphrase-file", str(words))
    assert written.exit_code == 0, written.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    restored = run("restore", str(tmp_path / "new"), str(file), text=PASSPHRASE + "\n")
    assert restored.exit_code == 0, restored.output
    assert kids(tmp_path / "new") == kids(keys)
    assert PASSPHRASE not in written.output + restored.output
    assert run("export", str(keys), str(file), "--passphrase-file", str(words)).exit_code == 2


def test_mistakes_are_one_line_and_status_2(keys: Path, tmp_path: Path) -> None:
    """And a misspelled folder does not become a folder with a key."""
    for arguments in (
        ["list", str(tmp_path / "misspelled")],
        ["rotate", str(tmp_path / "misspelled")],
        ["revoke", str(keys), "no-such-kid", "--yes"],
        ["init", str(tmp_path / "other"), "--algorithm", "HS256"],
        ["restore", str(tmp_path / "new"), str(tmp_path / "nothing"), "--passphrase-file", "/x"],
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
    assert not (tmp_path / "misspelled").exists()
    keys.chmod(0o755)
    assert run("list", str(keys)).exit_code == 2
