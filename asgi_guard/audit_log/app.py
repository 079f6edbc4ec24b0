"""audit_app: the log over HTTP, for other services and for a tenant's operators."""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import problem_body
from asgi_guard.audit_log.canonical import parse_time
from asgi_guard.audit_log.log import AuditLog
from asgi_guard.audit_log.openapi import MOST, description
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.submission import OUTCOMES, submitted_event
from asgi_guard.errors import (
    ConfigError,
    GuardError,
    InsufficientScopeError,
    RejectionError,
    RequestInvalidError,
    TenantMissingError,
)
from asgi_guard.protocols import Clock
from asgi_guard.tenancy import UserExecutionContext, current_context
from asgi_guard.tenancy.reporting import report

__all__ = ["audit_app"]

_NO_STORE: Final = {"cache-control": "no-store"}
_PAGE: Final = 100
_LONGEST: Final = 256
_PARAMETERS: Final = frozenset({"since", "until", "user_id", "name", "outcome", "after", "limit"})


class _TooLargeError(RejectionError):
    code, status, title = "content_too_large", 413, "Content too large"


class _MediaTypeError(RejectionError):
    code, status, title = "media_type_unsupported", 415, "Unsupported media type"


def audit_app(
    audit: AuditLog,
    *,
    read_scope: str = "audit:read",
    write_scope: str = "audit:write",
    max_bytes: int = 65_536,
    clock: Clock = SYSTEM_CLOCK,
) -> Starlette:
    """Make the sub-app, to be mounted inside a guarded app.

    ``app.mount("/audit", audit_app(audit))`` in Starlette and FastAPI. ``POST /log`` puts an event
    on record and answers once it is durable; ``GET /query`` reads a page; ``GET /openapi.json``
    describes both. Tenant and user are those of the caller's credential, never of the request:
    nobody reads or writes another tenant's chain here. Each query leaves one ``AUDIT_QUERIED``.

    Args:
        audit: An open log.
        read_scope: OAuth scope that a reader needs.
        write_scope: OAuth scope that a writer needs.
        max_bytes: Largest body of ``POST /log``.
        clock: Where the time of submitted events comes from.

    Raises:
        ConfigError: A scope is empty, so that anybody would have it.
    """
    if not read_scope or not write_scope:
        raise ConfigError("audit_app.scope", "is empty", "Name the scope that operators have.")

    async def log(request: Request) -> Response:
        context = _context(write_scope)
        body = await _body(request, max_bytes)
        event = submitted_event(body, context=context, clock=clock)
        recorded = await audit.record(event)
        return JSONResponse({"recorded": recorded}, 201 if recorded else 202, _NO_STORE)

    async def query(request: Request) -> Response:
        context = _context(read_scope)
        asked = _query(request, context)
        records = [record async for record in audit.read(asked)]
        report("AUDIT_QUERIED", outcome="allowed", operation="audit.query", details=_asked(asked))
        page = [
            {"cursor": each.cursor, "seq": each.seq, "hash": each.hash, "event": dict(each.fields)}
            for each in records
        ]
        following = records[-1].cursor if len(records) == asked.limit else None
        return JSONResponse({"records": page, "next": following}, headers=_NO_STORE)

    async def openapi(_request: Request) -> Response:
        return JSONResponse(description(), headers=_NO_STORE)

    return Starlette(
        routes=[
            Route("/log", log, methods=["POST"]),
            Route("/query", query, methods=["GET"]),
            Route("/openapi.json", openapi, methods=["GET"]),
        ],
        exception_handlers={GuardError: _problem},
    )


def _context(scope: str) -> UserExecutionContext:
    context = current_context()
    if context is None:
        raise TenantMissingError
    if scope not in context.scopes:
        raise InsufficientScopeError
    return context


async def _body(request: Request, most: int) -> bytes:
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != "application/json":
        raise _MediaTypeError
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise _TooLargeError
    return bytes(body)


def _query(request: Request, context: UserExecutionContext) -> AuditQuery:
    sent = request.query_params
    names = [name for name, _ in sent.multi_items()]
    if not set(names) <= _PARAMETERS or len(set(names)) < len(names):
        raise RequestInvalidError("audit_parameter_unknown")
    if any(len(value) > _LONGEST for value in sent.values()):
        raise RequestInvalidError("audit_parameter_too_long")
    if sent.get("outcome") not in {None, *OUTCOMES}:
        raise RequestInvalidError("audit_outcome_invalid")
    try:
        limit = int(sent.get("limit", _PAGE))
        moments = {name: parse_time(sent[name]) for name in ("since", "until") if name in sent}
    except (ValueError, OverflowError):
        raise RequestInvalidError("audit_parameter_invalid") from None
    if not 1 <= limit <= MOST:
        raise RequestInvalidError("audit_limit_invalid")
    return AuditQuery(
        tenant_id=context.tenant_id,
        limit=limit,
        since=moments.get("since"),
        until=moments.get("until"),
        user_id=sent.get("user_id"),
        name=sent.get("name"),
        outcome=sent.get("outcome"),
        after=sent.get("after"),
    )


def _asked(query: AuditQuery) -> dict[str, str | int | None]:
    return {"user": query.user_id, "event": query.name, "outcome": query.outcome}


async def _problem(request: Request, error: Exception) -> Response:
    """Answer one of our errors; a bad cursor is the caller's to mend, not the operator's."""
    refused: Exception = error
    if isinstance(error, ConfigError):
        refused = RequestInvalidError("audit_cursor_invalid")
    if not isinstance(refused, GuardError):
        raise error
    status, body = problem_body(refused, request_id_of(request.scope))
    return Response(body, status, _NO_STORE, "application/problem+json")
