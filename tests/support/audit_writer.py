"""Processes that write an audit log until they are killed, and what each had acknowledged.

``python audit_writer.py DIRECTORY RUNS SEED`` forks RUNS writers, one after the other. Each
writes events, several at once, and tells every acknowledgement through a pipe; after a random
number of them it is killed with SIGKILL. What was told is printed, one number a line. Forking
from one process that has imported everything makes a run cost milliseconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from asgi_guard.audit_log import AuditLog, AuditSigningKey, JSONLinesAuditSink
from asgi_guard.protocols import SecurityEvent
from asgi_guard.secret import Secret

WRITERS = 4
SEED = "11" * 32
EACH_RUN = 1_000_000


async def write(audit: AuditLog, number: int, pipe: int) -> None:
    while True:
        event = SecurityEvent(
            name="DEMO_WRITTEN",
            outcome="allowed",
            time=datetime(2026, 3, 1, tzinfo=UTC),
            tenant_id=f"tenant-{number % 3}",
            details={"number": number},
        )
        await audit.record(event)
        os.write(pipe, f"{number}\n".encode())
        number += WRITERS


async def serve(directory: str, start: int, pipe: int) -> None:
    sink = JSONLinesAuditSink(Path(directory), max_bytes=16384, daily=False)
    async with AuditLog(sinks=[sink], signing_key=AuditSigningKey(Secret(SEED))) as audit:
        await asyncio.gather(*(write(audit, start + each, pipe) for each in range(WRITERS)))


def run_and_kill(directory: str, start: int, acknowledgements: int) -> list[int]:
    """Fork a writer, kill it after so many acknowledgements, and give all that it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            asyncio.run(serve(directory, start, writing))
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        told = [pipe.readline() for _ in range(acknowledgements)]
        os.kill(child, signal.SIGKILL)
        told.extend(pipe)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise SystemExit("the writer ended by itself")
    return [int(line) for line in told if line.endswith(b"\n")]


def main(directory: str, runs: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - when to kill, not what to hide
    for run in range(runs):
        for number in run_and_kill(directory, run * EACH_RUN, chance.randint(1, 40)):
            print(number)  # noqa: T201 - what the parent reads


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
