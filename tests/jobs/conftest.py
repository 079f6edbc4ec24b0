"""Real queues, real workers."""

from __future__ import annotations

from tests.support.jobs_fixtures import jobs_world

__all__ = ["jobs_world"]
