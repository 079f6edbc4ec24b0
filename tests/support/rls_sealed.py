"""The database with tenants in it, sealed: its helper functions believe signed tokens alone."""

from __future__ import annotations

from dataclasses import replace

from asgi_guard.rls.ddl.functions import helper_statements
from asgi_guard.rls.ddl.sealed import seal_key_statements
from asgi_guard.rls.seal import SealKey, SealKeys
from tests.support.rls_schema import VARIABLES, RLSDatabase

__all__ = ["KEYS", "SEALED", "seal_database"]

SEALED = replace(VARIABLES, sealed=True)
KEYS = SealKeys([SealKey(bytes(range(32)))])


def seal_database(plain: RLSDatabase) -> RLSDatabase:
    """Replace the helper functions of a test's own copy, and tell it the key."""
    plain.database.execute(*helper_statements(SEALED), *seal_key_statements(KEYS, SEALED))
    return plain
