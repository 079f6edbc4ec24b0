"""What loading many rows under row-level security costs beside plain ``COPY``.

python benchmarks/bulk_load.py [--json FILE] [--rounds N] [--rows N]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import json
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
from harness import Contender, Work, interleave, machine, print_table
from rls_world import world
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard import UserExecutionContext, use_context
from asgi_guard.rls import create_guarded_pool, guarded_engine
from asgi_guard.rls.bulk import bulk_load, bulk_load_csv

LIMIT = 1.3
WARM_UP = 2
COLUMNS = ["id", "body"]
WHOLE = ["tenant_id", *COLUMNS]
Row = tuple[uuid.UUID, str]


def batches(count: int, rows: int) -> list[list[Row]]:
    """Make random keys beforehand: making them is not what is measured."""
    return [[(uuid.uuid4(), "x" * 80) for _ in range(rows)] for _ in range(count)]


def each(given: list[Any], load: Callable[[Any], Awaitable[object]]) -> Work:
    """Return work that loads the next of *given* as often as it is told to."""
    left = iter(given)

    async def work(times: int) -> None:
        for _ in range(times):
            await load(next(left))

    return work


def as_csv(columns: list[str], rows: list[Any]) -> bytes:
    """Write what a customer would upload."""
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    return text.getvalue().encode()


def with_tenant(tenant: str, given: list[list[Row]]) -> list[list[Any]]:
    """Add what plain COPY must be told."""
    owner = uuid.UUID(tenant)
    return [[(owner, *row) for row in batch] for batch in given]


def of_records(
    count: int, rows: int, *, tenant: str, admin: Any, pool: Any, engine: AsyncEngine
) -> list[Contender]:
    """Return plain COPY of records into a table without policies, and the ways under policies."""

    async def copy(batch: list[Any]) -> None:
        await admin.copy_records_to_table("plain_notes", records=batch, columns=WHOLE)

    return [
        Contender("plain COPY, no policies", each(with_tenant(tenant, batches(count, rows)), copy)),
        Contender(
            "bulk_load, asyncpg pool",
            each(batches(count, rows), lambda b: bulk_load(pool, "notes", b, columns=COLUMNS)),
            LIMIT,
        ),
        Contender(
            "bulk_load, SQLAlchemy engine",
            each(batches(count, rows), lambda b: bulk_load(engine, "notes", b, columns=COLUMNS)),
            LIMIT,
        ),
    ]


def of_files(count: int, rows: int, *, tenant: str, admin: Any, pool: Any) -> list[Contender]:
    """Return the same of CSV files."""
    plain = [as_csv(WHOLE, batch) for batch in with_tenant(tenant, batches(count, rows))]
    files = [as_csv(COLUMNS, batch) for batch in batches(count, rows)]

    async def copy(file: bytes) -> None:
        await admin.copy_to_table(
            "plain_notes", source=io.BytesIO(file), columns=WHOLE, format="csv", header=True
        )

    async def load(file: bytes) -> None:
        await bulk_load_csv(pool, "notes", io.BytesIO(file), columns=COLUMNS)

    return [
        Contender("plain COPY of CSV, no policies", each(plain, copy)),
        Contender("bulk_load_csv, asyncpg pool", each(files, load), LIMIT),
    ]


async def run(rounds: int, rows: int) -> dict[str, list[dict[str, Any]]]:
    """Measure on a server of its own."""
    async with world() as there:
        admin = await asyncpg.connect(
            there.admin_url.set(drivername="postgresql").render_as_string(hide_password=False)
        )
        engine = guarded_engine(there.url)
        tenant = there.targets[0][0]
        tables = {}
        count = rounds + WARM_UP
        async with create_guarded_pool(there.dsn, min_size=1, max_size=2) as pool:
            with use_context(UserExecutionContext(tenant_id=tenant, user_id="benchmark")):
                shared: dict[str, Any] = {"tenant": tenant, "admin": admin, "pool": pool}
                for title, contenders in (
                    (f"{rows} records", of_records(count, rows, engine=engine, **shared)),
                    (f"{rows} lines of CSV", of_files(count, rows, **shared)),
                ):
                    tables[title] = await interleave(
                        contenders, rounds=rounds, repeat=1, warm_up=WARM_UP
                    )
                    await admin.execute("TRUNCATE plain_notes")
                    await admin.execute("TRUNCATE notes")
        await engine.dispose()
        await admin.close()
    return tables


def main() -> int:
    """Run and print; 1 if the promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=20_000)
    arguments = parser.parse_args()
    tables = asyncio.run(run(arguments.rounds, arguments.rows))
    for title, rows in tables.items():
        print_table(title, rows)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(), "tables": tables}, indent=2) + "\n"
        )
    failed = [row for rows in tables.values() for row in rows if row["holds"] is False]
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
