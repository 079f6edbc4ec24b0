"""Fuzz one target, coverage-guided.

    python -m tests.fuzz NAME [SECONDS] [--runs N]

``NAME`` is a target of `targets.py`, or ``all``, or ``list`` to name them; SECONDS is 60 by
default. The process ends with code 0 if nothing was found. Otherwise the input lies in
``fuzz-findings/`` and is printed; put it into a test. ``planted`` has a bug of its own, to see
that one would be found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import atheris

_FINDINGS = Path("fuzz-findings")
_LONGEST_INPUT = 20_000  # above the 16 KiB at which tokens are refused unread
_SECONDS_PER_INPUT = 5
_MEGABYTES = 1024
_SEEN = [
    "asgi_guard._internal",
    "asgi_guard.auth",
    "asgi_guard.cli.login",
    "asgi_guard.vault",
    "tests.fuzz.login_targets",
    "tests.fuzz.targets",
]


def main() -> None:
    """Fuzz; does not return unless it only lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("seconds", nargs="?", type=int, default=60)
    parser.add_argument("--runs", type=int, help="stop after so many inputs, if that is earlier")
    parser.add_argument("--findings", type=Path, default=_FINDINGS)
    chosen = parser.parse_args()
    run, corpus = _planted() if chosen.name == "planted" else _target(chosen.name)
    if run is None:
        return
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{chosen.name}-"))
    for number, seed in enumerate(corpus):
        (folder / f"seed-{number}").write_bytes(seed)
    chosen.findings.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={chosen.seconds}",
        f"-max_len={_LONGEST_INPUT}",
        f"-timeout={_SECONDS_PER_INPUT}",
        f"-rss_limit_mb={_MEGABYTES}",
        f"-artifact_prefix={chosen.findings}/{chosen.name}-",
        "-print_final_stats=1",
        *([f"-runs={chosen.runs}"] if chosen.runs else []),
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], run)
    atheris.Fuzz()


def _planted() -> tuple[Callable[[bytes], None], list[bytes]]:
    with atheris.instrument_imports(include=["tests.fuzz.planted"]):
        from tests.fuzz.planted import planted  # noqa: PLC0415 - seen by the fuzzer as imported
    return planted, [b"seed"]


def _target(name: str) -> tuple[Callable[[bytes], None] | None, list[bytes]]:
    with atheris.instrument_imports(include=_SEEN):
        from tests.fuzz.seeds import seeds  # noqa: PLC0415 - as above
        from tests.fuzz.targets import TARGETS, everything, held  # noqa: PLC0415 - as above
    if name == "all":
        return everything, seeds(name)
    if name in TARGETS:
        return partial(held, TARGETS[name]), seeds(name)
    sys.stdout.write("\n".join(sorted(TARGETS)) + "\n")
    if name != "list":
        sys.exit(f"no target is called {name}")
    return None, []


if __name__ == "__main__":
    main()
