"""The OpenAPI 3.1 description of the sub-app; contract tests hold the app to it."""

from __future__ import annotations

from typing import Any, Final

from asgi_guard._version import __version__
from asgi_guard.auth.sessions.bodies import LABEL, MOST_WORDS, SID, SID_HEADER, WORD

__all__ = ["description"]

_SID: Final = {"type": "string", "pattern": SID, "format": "password"}
_WORDS: Final = {
    "type": "array",
    "maxItems": MOST_WORDS,
    "items": {"type": "string", "pattern": WORD},
}
_MOMENT: Final = {"type": "number", "description": "Unix seconds."}
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
_SESSION: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "session_id", "user_id", "tenant_id", "roles", "scopes", "label",
        "created_at", "seen_at", "idle_at", "expires_at",
    ],
    "properties": {
        "session_id": {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "SHA-256 of the sid: names the session, opens nothing.",
        },
        "user_id": {"type": "string"},
        "tenant_id": {"type": ["string", "null"]},
        "roles": {"type": "array", "items": {"type": "string"}},
        "scopes": {"type": "array", "items": {"type": "string"}},
        "label": {"type": "string"},
        "created_at": _MOMENT,
        "seen_at": _MOMENT,
        "idle_at": _MOMENT,
        "expires_at": _MOMENT,
    },
}  # fmt: skip
_REF: Final = {"$ref": "#/components/schemas/Session"}
_COMMON: Final = ("400", "401", "403", "413", "415", "503")


def description(*, create: str, read: str, write: str) -> dict[str, Any]:
    """Return the document that ``GET /openapi.json`` answers with.

    Args:
        create: Scope for making sessions.
        read: Scope for looking at them.
        write: Scope for changing them.
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sessions", "version": __version__},
        "paths": {
            "/create": {"post": _create(create)},
            "/validate": {"post": _validate(read)},
            "/extend": {"post": _extend(write)},
            "/terminate": {"post": _terminate(write)},
            "/persist": {"post": _persist(write)},
            "/load": {"get": _load(read)},
        },
        "components": {
            "schemas": {"Problem": _PROBLEM, "Session": _SESSION},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _create(scope: str) -> dict[str, Any]:
    asked = {
        "user_id": {"type": "string", "pattern": WORD},
        "roles": _WORDS,
        "scopes": _WORDS,
        "label": {"type": "string", "pattern": LABEL},
        "replaces": _SID,
    }
    return {
        "operationId": "create",
        "summary": f"Make a session for a user of the caller's tenant. Needs {scope}.",
        "requestBody": _body(asked, "user_id"),
        "responses": {
            "201": _answer("The sid is shown once.", {"sid": _SID, "session": _REF}),
            **_problems(*_COMMON),
        },
    }


def _validate(scope: str) -> dict[str, Any]:
    told = {"active": {"type": "boolean"}, "session": _REF}
    return {
        "operationId": "validate",
        "summary": f"Say whether a sid opens a session of the tenant, and which. Needs {scope}.",
        "requestBody": _body({"sid": _SID}, "sid"),
        "responses": {
            "200": _answer("As in RFC 7662.", told, required=["active"]),
            **_problems(*_COMMON),
        },
    }


def _extend(scope: str) -> dict[str, Any]:
    return {
        "operationId": "extend",
        "summary": f"Let a session's idle time begin anew. Needs {scope}.",
        "requestBody": _body({"sid": _SID}, "sid"),
        "responses": {
            "200": _answer("It did.", {"session": _REF}),
            **_problems(*_COMMON, "404"),
        },
    }


def _terminate(scope: str) -> dict[str, Any]:
    return {
        "operationId": "terminate",
        "summary": f"End a session. Needs {scope}.",
        "requestBody": _body({"sid": _SID}, "sid"),
        "responses": {
            "200": _answer("false: there was none.", {"terminated": {"type": "boolean"}}),
            **_problems(*_COMMON),
        },
    }


def _persist(scope: str) -> dict[str, Any]:
    asked = {
        "sid": _SID,
        "data": {"type": "object"},
        "version": {"type": "integer", "minimum": 0},
    }
    return {
        "operationId": "persist",
        "summary": f"Keep data with a session, if version is what is kept. Needs {scope}.",
        "requestBody": _body(asked, "sid", "data", "version"),
        "responses": {
            "200": _answer("The new version.", {"version": {"type": "integer"}}),
            **_problems(*_COMMON, "404", "409"),
        },
    }


def _load(scope: str) -> dict[str, Any]:
    told = {"version": {"type": "integer"}, "data": {"type": "object"}}
    return {
        "operationId": "load",
        "summary": f"Read what is kept with a session. Needs {scope}.",
        "parameters": [{"name": SID_HEADER, "in": "header", "required": True, "schema": _SID}],
        "responses": {
            "200": _answer("Version 0: nothing was kept.", told),
            **_problems("400", "401", "403", "404", "503"),
        },
    }


def _body(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _answer(
    text: str, properties: dict[str, Any], *, required: list[str] | None = None
) -> dict[str, Any]:
    schema = {"type": "object", "required": required or list(properties), "properties": properties}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _problems(*codes: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {code: {"description": "Refused.", "content": content} for code in codes}
