"""Fixtures of this folder."""

from __future__ import annotations

from tests.support.vault_fixtures import sql_stores, store, stores

__all__ = ["sql_stores", "store", "stores"]
