"""What holds of every `KeyValueStore`, as checks that a careless store fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asgi_guard.protocols import KeyValueStore
from tests.support.headers_clock import MovedClock

__all__ = ["RACES", "endings", "one_winner", "one_winner_of_what_has_ended", "values"]

ANY_BYTES = bytes(range(256)) + b"\x00" * 3 + "é\u2028".encode()
_RACERS = 12

Race = Callable[[KeyValueStore, str, int], Awaitable[bool]]


async def _absent(store: KeyValueStore, key: str, racer: int) -> bool:
    return await store.put_if_absent(f"absent-{key}", b"%d" % racer, ttl=60)


async def _replace(store: KeyValueStore, key: str, racer: int) -> bool:
    return await store.replace(f"there-{key}", b"old", b"%d" % racer, ttl=60)


async def _take(store: KeyValueStore, key: str, _racer: int) -> bool:
    return await store.take(f"there-{key}") == b"old"


async def _delete(store: KeyValueStore, key: str, _racer: int) -> bool:
    return await store.delete(f"there-{key}")


RACES: dict[str, Race] = {
    "put_if_absent": _absent,
    "replace": _replace,
    "take": _take,
    "delete": _delete,
}


async def one_winner(store: KeyValueStore, race: str) -> None:
    """Of many callers at once, one wins."""
    await store.put("there-k", b"old", ttl=60)

    won = await asyncio.gather(*(RACES[race](store, "k", racer) for racer in range(_RACERS)))

    assert sum(won) == 1, f"{sum(won)} of {_RACERS} won"


async def one_winner_of_what_has_ended(store: KeyValueStore, clock: MovedClock) -> None:
    """An entry that has ended, and still lies there, is nobody's: again one wins."""
    await store.put("absent-k", b"old", ttl=30)
    await store.put("there-k", b"old", ttl=30)
    clock.move(30)

    won = await asyncio.gather(*(_absent(store, "k", racer) for racer in range(_RACERS)))
    late = await asyncio.gather(
        *(race(store, "k", 0) for name, race in RACES.items() if name != "put_if_absent")
    )

    assert sum(won) == 1, f"{sum(won)} of {_RACERS} won"
    assert late == [False] * 3


async def values(store: KeyValueStore) -> None:
    """Any bytes come back as they were, in the order asked for."""
    long_key = "~" * 250
    await store.put("a", ANY_BYTES, ttl=60)
    await store.put(long_key, b"", ttl=60)
    await store.put("%_*?[a]{b}:'\"\\", b"odd", ttl=60)
    await store.put("big", b"\xff" * 65_536, ttl=60)

    assert await store.get("a") == ANY_BYTES
    assert await store.get_many([long_key, "none", "a", "a"]) == [b"", None, ANY_BYTES, ANY_BYTES]
    assert await store.get_many([]) == []
    assert await store.get_many(["%_*?[a]{b}:'\"\\", "A"]) == [b"odd", None]
    assert await store.get("big") == b"\xff" * 65_536
    await store.put("a", b"other", ttl=60)
    assert await store.take("a") == b"other"
    assert (await store.take("a"), await store.get("a"), await store.delete("a")) == (
        None,
        None,
        False,
    )
    assert not await store.replace("a", b"other", b"new", ttl=60)
    assert not await store.replace(long_key, b"not it", b"new", ttl=60)
    assert await store.replace(long_key, b"", ANY_BYTES, ttl=60)
    assert await store.replace(long_key, ANY_BYTES, b"last", ttl=60)
    assert not await store.put_if_absent(long_key, b"new", ttl=60)
    assert await store.get(long_key) == b"last"
    assert await store.delete(long_key)
    assert await store.put_if_absent(long_key, b"new", ttl=60)


async def endings(store: KeyValueStore, clock: MovedClock) -> None:
    """An entry that has ended is not there, whatever is asked."""
    for key in ("got", "taken", "deleted", "replaced", "absent", "kept"):
        await store.put(key, b"old", ttl=30)
    clock.move(29.5)
    assert await store.get("got") == b"old"
    assert await store.replace("kept", b"old", b"longer", ttl=60)
    assert not await store.put_if_absent("absent", b"new", ttl=30)
    clock.move(0.5)

    assert await store.get("got") is None
    assert await store.get_many(["got", "kept"]) == [None, b"longer"]
    assert await store.take("taken") is None
    assert not await store.delete("deleted")
    assert not await store.replace("replaced", b"old", b"new", ttl=30)
    assert await store.get("replaced") is None
    assert await store.put_if_absent("absent", b"new", ttl=30)
    assert not await store.put_if_absent("absent", b"newer", ttl=30)
    assert await store.get("absent") == b"new"
