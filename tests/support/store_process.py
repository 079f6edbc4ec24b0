"""Two processes of an app that race for entries: ``kind address rounds [careless]``.

Forked from one that has loaded everything, each with a store of its own; before each round both
wait for each other. Prints, per race, how many of the two won in each round.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.protocols import KeyValueStore
from tests.support.store_contract import RACES
from tests.support.store_kinds import CarelessStore, opened

__all__ = ["main"]

_PROCESSES = 2
_PATIENCE = 60.0


async def _race(
    store: KeyValueStore, run_id: str, rounds: int, wait: Callable[[], Any]
) -> dict[str, list[bool]]:
    won: dict[str, list[bool]] = {race: [] for race in RACES}
    for number in range(rounds):
        for race, run in RACES.items():
            key = f"{run_id}-{race}-{number}"
            await store.put(f"there-{key}", b"old", ttl=60)  # both: it is there for both
            wait()
            won[race].append(await run(store, key, number))
            wait()
    return won


def main(kind: str, address: str, rounds: int, *, careless: bool) -> None:
    """Start both, and print what they won."""
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(_PROCESSES, timeout=_PATIENCE), fork.SimpleQueue()

    run_id = uuid4().hex

    async def racer() -> dict[str, list[bool]]:
        async with opened(kind, address, SYSTEM_CLOCK) as store:
            if not careless:
                return await _race(store, run_id, rounds, barrier.wait)
            # Both have looked before either writes.
            return await _race(CarelessStore(store, barrier.wait), run_id, rounds, barrier.wait)

    def process() -> None:
        results.put(asyncio.run(racer()))

    racers = [fork.Process(target=process) for _ in range(_PROCESSES)]
    for each in racers:
        each.start()
    for each in racers:
        each.join()
    if any(each.exitcode for each in racers):
        sys.exit("a process failed")
    first, second = results.get(), results.get()
    counts = {
        race: [int(a) + int(b) for a, b in zip(first[race], second[race], strict=True)]
        for race in RACES
    }
    sys.stdout.write(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), careless="careless" in sys.argv)
