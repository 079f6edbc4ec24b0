"""One small app, six times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.hosts_django import django_app
from tests.support.hosts_fastapi import fastapi_app
from tests.support.hosts_litestar import litestar_app
from tests.support.hosts_pages import Lives
from tests.support.hosts_quart import quart_app
from tests.support.hosts_raw import raw_app
from tests.support.hosts_starlette import starlette_app

__all__ = ["HOSTS", "WITH_WEBSOCKETS"]

HOSTS: dict[str, Callable[[Lives], Any]] = {
    "raw": raw_app,
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "litestar": litestar_app,
    "quart": quart_app,
    "django": django_app,
}
WITH_WEBSOCKETS = [name for name in HOSTS if name != "django"]
