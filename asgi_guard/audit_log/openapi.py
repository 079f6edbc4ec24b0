"""The OpenAPI 3.1 description of the sub-app; contract tests hold the app to it."""

from __future__ import annotations

from typing import Any, Final

from asgi_guard._internal.event_catalogue import EVENTS
from asgi_guard._version import __version__
from asgi_guard.audit_log.submission import DETAILS_MOST, NAME_PATTERN, OUTCOMES, REASON_PATTERN

__all__ = ["MOST", "description"]

MOST: Final = 1000
"""Records on one page at most."""

_TEXT: Final = {"type": "string", "maxLength": 256}
_MAYBE: Final = {"type": ["string", "null"]}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
_EVENT: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "outcome"],
    "properties": {
        # The package's own names are refused: whoever may add may not speak in its voice.
        "name": {"type": "string", "pattern": NAME_PATTERN, "not": {"enum": sorted(EVENTS)}},
        "outcome": {"enum": list(OUTCOMES)},
        "reason": {"type": "string", "pattern": REASON_PATTERN},
        "operation": _TEXT,
        "details": {
            "type": "object",
            "maxProperties": DETAILS_MOST,
            "propertyNames": {"maxLength": 256},
            "additionalProperties": {
                "type": ["string", "number", "boolean", "null"],
                "maxLength": 256,
            },
        },
    },
}
_RECORD: Final = {
    "type": "object",
    "required": ["cursor", "seq", "hash", "event"],
    "properties": {
        "cursor": {"type": "string"},
        "seq": {"type": "integer", "minimum": 1},
        "hash": {"type": "string"},
        "event": {
            "type": "object",
            "required": ["name", "outcome", "time", "tenant_id"],
            "properties": {
                "name": {"type": "string"},
                "outcome": {"type": "string"},
                "time": {"type": "string", "format": "date-time"},
                "tenant_id": {"type": "string"},
                "user_id": _MAYBE,
                "details": {"type": "object"},
            },
        },
    },
}


def description() -> dict[str, Any]:
    """Return the document that ``GET /openapi.json`` answers with."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Audit log", "version": __version__},
        "paths": {"/log": {"post": _log()}, "/query": {"get": _query()}},
        "components": {
            "schemas": {"Problem": _PROBLEM, "Event": _EVENT, "Record": _RECORD},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _log() -> dict[str, Any]:
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Event"}}}
    done = {
        "type": "object",
        "required": ["recorded"],
        "properties": {"recorded": {"type": "boolean"}},
    }
    return {
        "operationId": "record",
        "summary": "Put an event of another service on record, for the caller's tenant.",
        "requestBody": {"required": True, "content": body},
        "responses": {
            "201": _answer("It is durable.", done),
            "202": _answer("best_effort: it may not have been kept.", done),
            **_problems("400", "401", "403", "413", "415", "503"),
        },
    }


def _query() -> dict[str, Any]:
    page = {
        "type": "object",
        "required": ["records", "next"],
        "properties": {
            "records": {"type": "array", "items": {"$ref": "#/components/schemas/Record"}},
            "next": _MAYBE,
        },
    }
    moment = {"type": "string", "format": "date-time"}
    return {
        "operationId": "query",
        "summary": "Read records of the caller's tenant, oldest first, a page at a time.",
        "parameters": [
            _parameter("since", moment),
            _parameter("until", moment),
            _parameter("user_id", _TEXT),
            _parameter("name", _TEXT),
            _parameter("outcome", {"enum": list(OUTCOMES)}),
            _parameter("after", {"type": "string", "pattern": "^[0-9]{1,18}$"}),
            _parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST}),
        ],
        "responses": {
            "200": _answer("A page; next is the cursor of the one after it.", page),
            **_problems("400", "401", "403", "503"),
        },
    }


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _problems(*codes: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {code: {"description": "Refused.", "content": content} for code in codes}
