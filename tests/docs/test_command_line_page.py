"""The command-line page runs, and its exit codes are those of the programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.sessions import FileSessionStore
from asgi_guard.auth.sessions.file_required import EXIT_CODES, EXIT_REFUSED
from asgi_guard.cli import login
from tests.support.pages import Page


def test_the_page_of_the_command_line_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a session its command runs, and without one it does not."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    upload = Page("command-line.md").run()["upload"]

    with pytest.raises(SystemExit) as left:
        upload(Path("a"))
    FileSessionStore().save(
        issuer="https://id.example",
        client_id="notes-cli",
        secrets={"access_token": b"opaque"},
        scopes=frozenset({"notes:read"}),
        ends_at=SYSTEM_CLOCK.now() + 60,
    )

    assert left.value.code == 3
    assert upload(Path("a")) == "Bearer opaque"


def test_the_page_lists_every_exit_code() -> None:
    """Scripts branch on them."""
    listed = re.findall(r"^\| (\d) \|", Page("command-line.md").text, re.MULTILINE)

    assert {int(each) for each in listed} == {
        0,
        1,
        2,
        EXIT_REFUSED,
        login._UNREVOKED,
        *EXIT_CODES.values(),
    }
