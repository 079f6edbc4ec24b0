"""Which trace this code belongs to, asked of whoever traces; nobody does unless one is set."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["current_trace_id", "set_trace_source"]

TraceSource = Callable[[], str | None]
"""Gives the current trace id as 32 hexadecimal digits, or None outside any trace."""

_source: TraceSource | None = None


def set_trace_source(source: TraceSource | None) -> TraceSource | None:
    """Ask *source* from now on, in this process; returns what was asked before."""
    global _source
    before, _source = _source, source
    return before


def current_trace_id() -> str | None:
    """Return the id of the trace that is current, or None."""
    return None if _source is None else _source()
