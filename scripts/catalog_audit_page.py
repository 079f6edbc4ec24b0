"""Write ``docs/catalog-audit.md`` from the table of codes: ``python -m scripts.catalog_audit_page``."""  # noqa: INP001 - a program
# ruff: noqa: E501 - the lines of a page

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Final

from asgi_guard.rls.catalog.codes import CODES

__all__ = ["PAGE", "catalog_audit_page"]

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "catalog-audit.md"

_HEAD: Final = """\
# The catalog audit

<!-- Written by `python -m scripts.catalog_audit_page`; a test compares. Edit that script, or rls/catalog/codes.py. -->

`audit_catalog` asks PostgreSQL's own catalog whether row-level security is real for the role that the app connects as. It
protects against the deployment whose policies exist on paper. It knows what [the generated DDL](policies.md) promises, and
whatever departs from that is a finding: a policy is compared to the letter, as PostgreSQL prints it, and with everything it
rests on (operators, types, functions, tables); it is not searched for known mistakes.

```python
from asgi_guard.rls import audit_catalog, verify_deployment


async def look(engine: object, policies: object) -> None:
    for finding in await audit_catalog(engine, tables=policies, behaviour=True):
        print(finding)  # code, object, why, and the SQL that mends it
    await verify_deployment(engine, tables=policies)  # raises NotReadyError on an error
```

| Way | When |
|---|---|
| `Guard` with `databases=[…]` and `tables=policies` | before the app serves; `startup_checks="monitor"` reports and serves |
| `asgi-guard rls audit`, `--format json`, `--format sql` | in a pipeline; exit code 1 on an error finding |
| `audit_catalog`, `verify_deployment` | in code of yours |

```console
$ export ASGI_GUARD_RLS_DSN=postgresql://app_runtime:secret@db/app
$ asgi-guard rls audit --policies app.models:policies
$ asgi-guard rls audit --policies app.models:policies --format sql | psql "$ADMIN_URL"
```

## How it asks

- As the app's own role: it needs no rights of its own, and sees what the app could. One statement reads the catalog, so that all
  findings are about one state of it; before it one more sets the lock timeout (3 s) and switches compiling off. With `BEGIN` and `ROLLBACK` and savepoints
  these are the only round trips. It takes some hundredths of a second, and a lock on no row.
- With `behaviour=True` it then tries what must fail: no tenant, one without rows, another's insert, `row_security = off`, for each
  guarded table, in savepoints that are rolled back.
- Run the remedies in the order given, as an administrator. Each leaves the app working: a table whose owner changes gets the
  app's grants again.

## Accepting a finding

What you know to be safe is written down with the reason, and told as a warning from then on:

```python
from asgi_guard.rls import tenant_policies

policies = tenant_policies(
    Base.metadata,
    accept={("function_definer", "public.login(text)"): "one row by its key; reviewed"},
)
```

Keys named in `insecure_global_keys` are warnings too. Errors of the probe cannot be accepted.
"""

_TAIL: Final = """\
Where the app cannot reach the table, an error about it is told as a warning, and so is a policy that a restrictive twin holds.

## Statements that lose their index

`lint_operators` parses statements on the server itself (into a temporary function that is never called), and asks the catalog
which of the operators it chose are not `LEAKPROOF`. Nothing is run.

```python
from asgi_guard.rls.operator_lint import lint_operators


async def lint(engine: object) -> list[str]:
    statements = ["SELECT * FROM notes WHERE text LIKE $1"]
    return [finding.operator for finding in await lint_operators(engine, statements)]
```

In a test suite the fixture `recorded_statements` (plugin `asgi_guard.testing.plugin`) collects what SQLAlchemy compiles, and
`asgi-guard rls lint` reads `pg_stat_statements` or files.

| Operator | What keeps an index |
|---|---|
| `LIKE 'x%'` | `starts_with(column, 'x')`, `column ^@ 'x'`, with an index on `(tenant_id, column text_pattern_ops)` |
| `ILIKE`, `~*` | a stored lower-case column, then the same |
| `jsonb @>`, `?`, `@?` | a column `GENERATED ALWAYS AS (data ->> 'k') STORED`, compared with `=`, index `(tenant_id, k)`. An index on the expression itself does not help: `->>` is not leakproof either |
| array `@>`, `&&`; full-text `@@`; trigrams | a table of items; or an index that leads with the tenant, which bounds the filter to its rows |
| any | a `LEAKPROOF` wrapper keeps the index and breaks the promise: it is asked about every tenant's rows, and its errors and timing tell. Only a superuser can make one. |

## What it does not do

- It does not read code: a trusted function that the app may call with its own rights is bound by policies like any statement.
- `TEMP` on the database is no finding: bulk loads use it, and nothing that the promise rests on looks names up at run time. A
  definer function that does is `function_search_path`.
- Statements of the app's own role are visible to its other sessions in `pg_stat_activity`; no grant changes that.
- Other databases of the server, `pg_hba.conf`, backups and replicas are out of its sight.
- It finds nothing that only a superuser's code could hide, such as a replaced server binary.

## Where it is tested

`tests/rls/test_catalog_corpus.py`: each flaw of `tests/support/catalog_flaws.py` alone on top of the generated DDL, on PostgreSQL 15 and the
newest, found by its code, mended by its SQL, the app at work afterwards; clean schemas with uuid, integer and text ids; the same after
`pg_dump` and restore (`tests/rls/test_catalog_restored.py`). `tests/rls/test_operator_lint.py` measures each row above with `EXPLAIN`.
"""


def catalog_audit_page() -> str:
    """Return the page as it should be."""
    parts = [_HEAD, "## Codes\n"]
    for about, codes in groupby(CODES.values(), key=lambda code: code.about):
        rows = "\n".join(f"| `{code.name}` | {code.severity} | {code.meaning} |" for code in codes)
        parts.append(f"### {about}\n\n| Code | Severity | Means |\n|---|---|---|\n{rows}\n")
    return "\n".join([*parts, _TAIL])


def main() -> int:
    """Write the page."""
    PAGE.write_text(catalog_audit_page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
