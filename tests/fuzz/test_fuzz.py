"""A short run of the fuzzer over every parser, and proof that it would find something."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asgi_guard.errors import AuthenticationError
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS, BrokenPromise, everything, held
from tests.support.architecture.source import ROOT
from tests.support.availability import unavailable


def fuzz(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzzer in a process of its own: it ends the one that it runs in."""
    if importlib.util.find_spec("atheris") is None:
        unavailable("atheris", "it has no wheel for this Python, or is not installed")
    command = [sys.executable, "-m", "tests.fuzz", name, *options, "--findings", str(folder)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_parser_holds_for_its_good_inputs_and_their_damaged_kin(name: str) -> None:
    """Also where no fuzzer is installed: each seed, cut, doubled, and with each byte turned."""
    for seed in seeds(name):
        for end in range(0, len(seed), max(1, len(seed) // 50)):
            turned = seed[:end] + bytes([seed[end] ^ 0x81]) + seed[end + 1 :]
            for data in (seed, seed[:end], turned, seed + seed, seed[end:] + seed[:end]):
                held(TARGETS[name], data)


def test_a_short_run_of_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """Whatever the bytes, a stranger gets our error, and no memory or time of ours."""
    done = fuzz("all", tmp_path, "5", "--runs", "15000")

    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.iterdir()) == []


def test_a_bug_that_was_planted_is_found(tmp_path: Path) -> None:
    """Negative control: a fuzzer that does not see into the package finds nothing, ever."""
    done = fuzz("planted", tmp_path, "90")

    assert done.returncode != 0
    assert "IndexError" in done.stdout + done.stderr
    assert list(tmp_path.iterdir())


def _foreign(_data: bytes) -> object:
    raise UnicodeDecodeError("ascii", b"x", 0, 1, "no")


def _large(_data: bytes) -> object:
    return "x" * 1_000_000


def _ours(_data: bytes) -> object:
    raise AuthenticationError("token_malformed")


@pytest.mark.parametrize(
    ("target", "caught"),
    [(_foreign, UnicodeDecodeError), (_large, BrokenPromise)],
    ids=["foreign error", "large result"],
)
def test_the_judge_sees_foreign_errors_and_large_results(
    target: Callable[[bytes], object], caught: type[Exception]
) -> None:
    """Negative control: `held` can fail, for each of its reasons."""
    held(_ours, b"x")
    with pytest.raises(caught):
        held(target, b"x")


def test_the_short_run_reaches_every_target() -> None:
    """The first byte chooses; a parser without its byte would never be fuzzed in CI."""
    for seed in seeds("all"):
        everything(seed)
    assert {seed[0] for seed in seeds("all")} == set(range(len(TARGETS)))
