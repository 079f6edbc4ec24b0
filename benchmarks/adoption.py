"""A schema that filters by hand, brought under policies and back while it is written to.

python benchmarks/adoption.py [--json FILE] [--rows N]

N notes and N comments, three writers that insert, change and delete all along. Says how long each
stage took, how long the writers ever waited, and whether anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
from harness import ROOT, machine

from asgi_guard.rls.adoption import STAGES, back, run
from asgi_guard.testing import EmbeddedPostgres

sys.path.insert(0, str(ROOT))
from tests.support.adoption_world import (
    ADOPTION,
    OWNER,
    VARIABLES,
    Writers,
    counted,
    fill,
    fingerprint,
)


async def go(rows: int) -> tuple[dict[str, Any], bool]:
    """Adopt up to the last stage at which yesterday's app still works, and take all of it back."""
    with EmbeddedPostgres(durable=False) as server:
        database = server.create_database("adoption")
        connection = await asyncpg.connect(database.dsn())
        await fill(connection, rows)
        await connection.execute(f"ALTER ROLE {OWNER} PASSWORD 'x'")
        before = await fingerprint(connection)
        stages: list[dict[str, Any]] = []
        writers = Writers(database.dsn(OWNER, "x"), rows)
        async with writers.at_work():
            for stage in STAGES[:-1]:
                started = perf_counter()
                await run(connection, ADOPTION, until=stage, blocks=128)
                stages.append({"stage": stage, "seconds": round(perf_counter() - started, 1)})
                print(stages[-1], f"{writers.inserted} transactions so far", flush=True)
            started = perf_counter()
            await back(connection, VARIABLES, to=None)
            stages.append({"stage": "back", "seconds": round(perf_counter() - started, 1)})
        wanted = writers.books(rows)
        found = await counted(connection)
        same = await fingerprint(connection) == before
        await connection.close()
    summary = {
        "rows": 2 * rows,
        "transactions_meanwhile": writers.inserted,
        "failed": len(writers.failures),
        "longest_wait_ms": round(writers.longest * 1000),
        "nothing_lost": found == wanted,
        "schema_as_before": same,
    }
    print(summary, writers.failures[:3])
    held = not writers.failures and found == wanted and same
    return {"stages": stages, "adoption": [summary]}, held


def main() -> int:
    """Run and print; 1 if something was lost or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    tables, held = asyncio.run(go(arguments.rows))
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(), "tables": tables}, indent=2) + "\n"
        )
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
