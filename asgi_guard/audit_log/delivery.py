"""How one event reaches every sink: inside a transaction where it can, else through the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from asgi_guard.audit_log.errors import AuditUnavailableError
from asgi_guard.audit_log.lane import Lane
from asgi_guard.audit_log.sinks import TransactionalSink

__all__ = ["deliver", "deliver_blocking"]


async def deliver(
    lanes: Sequence[Lane], fields: Mapping[str, Any], connection: Any, *, spare: bool
) -> None:
    """Return once the event is durable in every sink, or written in the caller's transaction.

    Args:
        lanes: Of the log.
        fields: The event, as `event_fields`.
        connection: The caller's transaction, or None.
        spare: Leave that transaction usable if writing in it fails: in PostgreSQL a statement
            that fails aborts everything up to the last savepoint.
    """
    inside, outside = _sides(lanes, connection)
    await _offered(outside, fields)
    for sink in inside:
        await sink.write_in(connection, fields, spare=spare)


def deliver_blocking(  # noqa: D417 - the rest as above
    lanes: Sequence[Lane],
    fields: Mapping[str, Any],
    connection: Any,
    *,
    spare: bool,
    loop: asyncio.AbstractEventLoop | None,
    timeout: float,
) -> None:
    """Do the same from another thread than that of *loop*, which runs the lanes.

    Args:
        timeout: Seconds to wait for the sinks that are not in the caller's transaction.

    Raises:
        AuditUnavailableError: This is the loop's own thread, which must not wait for itself.
    """
    inside, outside = _sides(lanes, connection)
    if outside:
        if loop is None or loop is _running_loop():
            raise AuditUnavailableError("audit_would_block")
        asyncio.run_coroutine_threadsafe(_offered(outside, fields), loop).result(timeout)
    for sink in inside:
        _run_at_once(sink.write_in(connection, fields, spare=spare))


def _sides(lanes: Sequence[Lane], connection: Any) -> tuple[list[TransactionalSink], list[Lane]]:
    """Tell the sinks that write in the caller's transaction from the lanes of the others."""
    inside: list[TransactionalSink] = []
    outside = []
    for lane in lanes:
        sink: object = lane.sink
        if connection is not None and isinstance(sink, TransactionalSink):
            inside.append(sink)
        else:
            outside.append(lane)
    return inside, outside


async def _offered(lanes: Iterable[Lane], fields: Mapping[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    waiting = []
    for lane in lanes:
        done = loop.create_future()
        waiting.append(done)
        if not lane.offer(fields, urgent=True, done=done):
            done.set_exception(AuditUnavailableError("audit_queue_full"))
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _run_at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing: the statements of a sync connection block by themselves."""
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise AuditUnavailableError("audit_would_block")
