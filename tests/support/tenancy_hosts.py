"""One app on three hosts, raw ASGI, Starlette and FastAPI, that tells who each channel ran for.

``/probe/<name>`` runs a probe of `tenancy_channels`; the other routes are channels of the host.
What runs after the response (a background task) lands in ``late`` under the request's ``?key=``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from asgi_guard.protocols import ASGIApp
from tests.support.tenancy_channels import PROBES, guarded_who
from tests.support.tenancy_host_parts import (
    OnPurposeError,
    SomebodyElses,
    events,
    late,
    raw_host,
    remember,
    remember_in_thread,
    started_as,
    steps,
    talk,
)
from tests.support.tenancy_world import who

__all__ = ["HOSTS", "late", "started_as"]


def starlette_host() -> ASGIApp:
    """Build the Starlette app."""

    async def probe(request: Request) -> Response:
        return PlainTextResponse(await PROBES[request.path_params["name"]]())

    def in_thread_pool(_request: Request) -> Response:
        return PlainTextResponse(guarded_who())

    async def stream(_request: Request) -> Response:
        return StreamingResponse(steps())

    async def sse(_request: Request) -> Response:
        return StreamingResponse(events(), media_type="text/event-stream")

    async def background(request: Request) -> Response:
        return Response(background=BackgroundTask(remember, request.query_params["key"]))

    async def background_thread(request: Request) -> Response:
        key = request.query_params["key"]
        return Response(background=BackgroundTask(remember_in_thread, key))

    async def fail(_request: Request) -> Response:
        raise OnPurposeError

    async def on_failure(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse(guarded_who(), status_code=418)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        started_as.append(who())
        yield

    mounted = Starlette(routes=[Route("/inner", in_thread_pool), Route("/probe/{name}", probe)])
    app = Starlette(
        routes=[
            Route("/probe/{name}", probe),
            Route("/sync", in_thread_pool),
            Route("/stream", stream),
            Route("/sse", sse),
            Route("/background", background),
            Route("/background_thread", background_thread),
            Route("/fail", fail),
            Route("/public", in_thread_pool),
            WebSocketRoute("/ws", talk),
            Mount("/mounted", mounted),
        ],
        exception_handlers={OnPurposeError: on_failure},
        lifespan=lifespan,
    )
    app.add_middleware(SomebodyElses)
    return app


async def _yielded_who() -> AsyncIterator[str]:
    yield guarded_who()


def _sync_who() -> str:
    return guarded_who()


def fastapi_host() -> ASGIApp:
    """Build the FastAPI app."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        started_as.append(who())
        yield

    app = FastAPI(lifespan=lifespan, default_response_class=PlainTextResponse)
    app.add_middleware(SomebodyElses)
    inner = FastAPI(default_response_class=PlainTextResponse)

    @inner.get("/probe/{name}")
    @app.get("/probe/{name}")
    async def probe(name: str) -> str:
        return await PROBES[name]()

    @inner.get("/inner")
    @app.get("/public")
    @app.get("/sync")
    def in_thread_pool() -> str:
        return guarded_who()

    @app.get("/dependencies")
    async def dependencies(
        yielded: Annotated[str, Depends(_yielded_who)], sync: Annotated[str, Depends(_sync_who)]
    ) -> str:
        return yielded if yielded == sync else f"{yielded} | {sync}"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(steps())

    @app.get("/sse")
    async def sse() -> StreamingResponse:
        return StreamingResponse(events(), media_type="text/event-stream")

    _add_aftermath(app)
    app.add_api_websocket_route("/ws", talk)
    app.mount("/mounted", inner)
    return app


def _add_aftermath(app: FastAPI) -> None:
    @app.get("/background")
    async def background(key: str, tasks: BackgroundTasks) -> None:
        tasks.add_task(remember, key)

    @app.get("/background_thread")
    async def background_thread(key: str, tasks: BackgroundTasks) -> None:
        tasks.add_task(remember_in_thread, key)

    @app.get("/fail")
    async def fail() -> None:
        raise OnPurposeError

    @app.exception_handler(OnPurposeError)
    async def on_failure(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse(guarded_who(), status_code=418)


HOSTS: dict[str, Callable[[], ASGIApp]] = {
    "raw": raw_host,
    "starlette": starlette_host,
    "fastapi": fastapi_host,
}
