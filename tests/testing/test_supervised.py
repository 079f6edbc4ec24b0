"""A supervised process: stopped in steps, its words kept, never left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.testing.accounts import ServiceAccount
from asgi_guard.testing.supervised import Supervised

OURSELVES = ServiceAccount("ourselves", os.geteuid(), os.getegid(), switch=False)
STOP = ((signal.SIGINT, 0.3), (signal.SIGKILL, 10.0))


def supervised(tmp_path: Path, script: str, *, remove: Path | None = None) -> Supervised:
    return Supervised(
        ["/bin/sh", "-c", script],
        account=OURSELVES,
        cwd=tmp_path,
        log=tmp_path / "log",
        stop_signals=STOP,
        remove=remove,
        env={"KNOWN": "value"},
    )


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    """The developer reads one line, not a traceback of a helper process."""
    with pytest.raises(ConfigError, match=r"/no/such/program cannot be run: FileNotFoundError"):
        Supervised(
            ["/no/such/program"],
            account=OURSELVES,
            cwd=tmp_path,
            log=tmp_path / "log",
            stop_signals=STOP,
        )


def test_a_process_that_ignores_the_polite_signal_gets_the_next(tmp_path: Path) -> None:
    """A stop that can be ignored is no stop."""
    process = supervised(tmp_path, "trap '' INT; echo ready; read forever </dev/zero")

    process.stop()
    process.stop()

    assert not process.running


def test_a_process_that_ends_by_itself_is_seen_and_its_words_are_kept(tmp_path: Path) -> None:
    """Why it gave up is in its log; its folder stays for a second try."""
    kept = tmp_path / "kept"
    kept.mkdir()
    process = supervised(tmp_path, 'echo "KNOWN=$KNOWN HOME=$HOME" >&2; exit 3', remove=kept)

    process._process.wait(10)

    assert not process.running
    assert process.log_tail().strip() == "KNOWN=value HOME="
    process.stop()
    assert kept.exists()


def test_the_folder_goes_when_the_owner_stops_the_process(tmp_path: Path) -> None:
    """Nothing is left behind."""
    gone = tmp_path / "gone"
    gone.mkdir()
    process = supervised(tmp_path, "exec sleep 600", remove=gone)

    process.stop()

    assert not gone.exists()


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Written by root, it would let another user choose the file."""
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="log"):
        supervised(tmp_path, "exit 0")
    assert not (tmp_path / "elsewhere").exists()
