"""Two processes that refresh one token at the same time, on one store.

    python -m tests.support.refresh_processes FOLDER KIND ADDRESS

Prints how many successors there were, how many requests were refused, what a replay after the
grace is answered in another process, and how many tokens of the family still work.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from asgi_guard.auth.jose import JwtPolicy, KeyManager, TokenIssuer, TokenVerifier
from asgi_guard.auth.refresh import RefreshTokens
from asgi_guard.errors import RefreshRefusedError
from asgi_guard.observability import SecurityEvent, subscribe
from tests.support.store_kinds import opened
from tests.support.tenancy_world import MovedClock

POLICY = JwtPolicy(
    issuer="https://id.example", audience="a", algorithms=("ES256",), types=("access", "refresh")
)
PROCESSES = 2
REQUESTS = 8


class Quiet:
    """A reader of events that prints none of them: the program's output is its result."""

    def emit(self, _event: SecurityEvent) -> None:
        """Drop the event."""


class Shared(NamedTuple):
    """What the processes share: a folder with the signing keys, and a store."""

    folder: Path
    kind: str
    address: str


@asynccontextmanager
async def server(shared: Shared, clock: MovedClock) -> AsyncIterator[RefreshTokens]:
    """Run one process of an authorization server for the block."""
    keys = KeyManager(
        shared.folder / "keys",
        algorithm="ES256",
        longest_token=POLICY.longest_lifetime,
        clock=clock,
    )
    await keys.open()
    async with opened(shared.kind, shared.address, clock, timeout=30.0) as store:
        yield RefreshTokens(
            store,
            issuer=TokenIssuer(POLICY, keys=keys, clock=clock),
            verifier=TokenVerifier(POLICY, keys=keys, clock=clock),
            clock=clock,
        )


async def begin(shared: Shared) -> str:
    """Make the table and log in."""
    async with server(shared, MovedClock()) as tokens:
        grant = await tokens.start("alice", client_id="web")
    return grant.token.token.reveal()


async def use(shared: Shared, token: str, moved: float, times: int) -> list[str]:
    """Refresh *token* some times at once; return each successor, or why not."""
    clock = MovedClock()
    clock.time += moved
    async with server(shared, clock) as tokens:

        async def once() -> str:
            try:
                return (await tokens.refresh(token, client_id="web")).token.token.reveal()
            except RefreshRefusedError as refusal:
                return f"!{refusal.reason}"

        return list(await asyncio.gather(*(once() for _ in range(times))))


def forked(work: Callable[[], None]) -> int:
    """Run *work* in a child, and return the child's pid."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:  # the child must never return into the parent's code
        os._exit(1)


def main(shared: Shared) -> None:
    """Run the processes, and print what became of the token."""
    folder = shared.folder
    token = asyncio.run(begin(shared))
    gate_reader, gate_writer = os.pipe()

    def contend(number: int) -> None:
        os.close(gate_writer)
        os.read(gate_reader, 1)  # until the parent closes its end
        replies = asyncio.run(use(shared, token, 1.0, REQUESTS))
        (folder / f"replies-{number}").write_text("\n".join(replies))

    children = [forked(lambda n=number: contend(n)) for number in range(PROCESSES)]  # type: ignore[misc]
    os.close(gate_writer)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    replies = [
        line for n in range(PROCESSES) for line in (folder / f"replies-{n}").read_text().split()
    ]
    successors = [each for each in replies if not each.startswith("!")]
    jtis = {asyncio.run(jti_of(folder, each)) for each in successors}
    (replay,) = asyncio.run(use(shared, token, 60.0, 1))
    later = asyncio.run(use(shared, successors[0], 61.0, 1))
    sys.stdout.write(
        f"successors={len(jtis)} refused={len(replies) - len(successors)} "
        f"replay={replay.removeprefix('!')} "
        f"survivors={len([each for each in later if not each.startswith('!')])}\n"
    )
    sys.exit(1 if any(ends) or len(replies) != PROCESSES * REQUESTS else 0)


async def jti_of(folder: Path, token: str) -> str:
    """Return the id of a refresh token."""
    keys = KeyManager(folder / "keys", algorithm="ES256", clock=MovedClock())
    await keys.open()
    verifier = TokenVerifier(POLICY, keys=keys, clock=MovedClock())
    return str((await verifier.verify(token, token_type="refresh")).claims["jti"])


if __name__ == "__main__":
    subscribe(Quiet())
    main(Shared(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
