"""What a real uvicorn serves in the tests: ``uvicorn tests.support.hosts_served:app``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from asgi_guard.rls import guarded_engine
from asgi_guard.stack import Guard
from tests.support.hosts_guard import guard_settings
from tests.support.hosts_pages import PAGES
from tests.support.hosts_starlette import starlette_app
from tests.support.rls_schema import VARIABLES

__all__ = ["app"]


async def _chunks() -> AsyncIterator[str]:
    yield "first"
    PAGES["/swallow"]()
    yield "second"


async def _stream(_request: Request) -> StreamingResponse:
    return StreamingResponse(_chunks())


app = starlette_app([])
app.routes.append(Route("/stream", _stream))
Guard(
    guard_settings(databases=[guarded_engine(os.environ["DATABASE_URL"], variables=VARIABLES)])
).install(app)
