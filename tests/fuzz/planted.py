"""A target with a bug, which random bytes do not meet in a lifetime: the negative control."""

from __future__ import annotations

from tests.fuzz.targets import held

__all__ = ["planted"]


def planted(data: bytes) -> None:
    """Fail for what begins with a word of three letters."""
    held(_parsed, data)


def _parsed(data: bytes) -> object:
    # One letter at a time, as parsers look at bytes: coverage shows the way to the next.
    for position, letter in enumerate(b"bug"):
        if data[position : position + 1] != bytes([letter]):
            return _progress[position]()
    return data[len(data)]


def _step(number: int) -> int:
    return number


# A line of its own for each step, or all of them would be one and the same to the fuzzer.
_progress = (
    lambda: _step(0),
    lambda: _step(1),
    lambda: _step(2),
)
