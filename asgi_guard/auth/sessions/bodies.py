"""What callers of the sub-app send, read strictly: nothing unknown, twice or large."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from asgi_guard._internal.asgi import single_header
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.sessions.states import SessionStateTooLargeError
from asgi_guard.errors import RejectionError, RequestInvalidError
from asgi_guard.secret import Secret

__all__ = [
    "LABEL",
    "MOST_WORDS",
    "SID",
    "SID_HEADER",
    "WORD",
    "MediaTypeError",
    "read_body",
    "sid_of_header",
]

SID: Final = "^[A-Za-z0-9_-]{43}$"
WORD: Final = "^[!-~]{1,100}$"
LABEL: Final = "^[ -~]{0,100}$"
MOST_WORDS: Final = 32
SID_HEADER: Final = "session-sid"

Reading = Callable[[Any], bool]


class MediaTypeError(RejectionError):
    """The body is not JSON, or does not say so (RFC 9110 section 15.5.16)."""

    code, status, title = "media_type_unsupported", 415, "Unsupported media type"


async def read_body(
    request: Request, *, required: tuple[str, ...], optional: tuple[str, ...] = (), most: int
) -> dict[str, Any]:
    """Return the JSON object that *request* carries; a sid in it comes masked.

    Args:
        request: Of the sub-app.
        required: Members that must be there.
        optional: Members that may be.
        most: Bytes of the largest body.

    Raises:
        MediaTypeError: It is no JSON.
        SessionStateTooLargeError: It is larger.
        RequestInvalidError: A member is missing, unknown, there twice or malformed.
    """
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != "application/json":
        raise MediaTypeError
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise SessionStateTooLargeError
    except ClientDisconnect:
        body.clear()  # and nothing is an object
    members = strict_object(bytes(body))
    body.clear()  # error trackers record locals
    known = members is not None and _sound(members, required, optional)
    masked = {name: _masked(name, each) for name, each in (members or {}).items()}
    del members
    if not known:
        raise RequestInvalidError("session_request_malformed")
    return masked


def sid_of_header(request: Request) -> Secret:
    """Return the sid in the header of a request without a body.

    Raises:
        RequestInvalidError: There is none, or there are two.
    """
    value = single_header(request.scope, SID_HEADER.encode())
    sid = Secret("" if value is None else value.decode("latin-1"))
    del value  # as in read_body
    if not _matches(SID)(sid.reveal()):
        raise RequestInvalidError("session_request_malformed")
    return sid


def _sound(
    members: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...]
) -> bool:
    names = set(members)
    if not set(required) <= names <= {*required, *optional}:
        return False
    return all(_READINGS[name](each) for name, each in members.items())


def _masked(name: str, value: Any) -> Any:
    return Secret(value) if name in {"sid", "replaces"} and isinstance(value, str) else value


def _matches(pattern: str) -> Reading:
    expression = re.compile(pattern.removeprefix("^").removesuffix("$"))
    return lambda value: isinstance(value, str) and expression.fullmatch(value) is not None


def _words(value: Any) -> bool:
    word = _matches(WORD)
    return isinstance(value, list) and len(value) <= MOST_WORDS and all(word(x) for x in value)


def _version(value: Any) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and value >= 0


_READINGS: Final[dict[str, Reading]] = {
    "sid": _matches(SID),
    "replaces": _matches(SID),
    "user_id": _matches(WORD),
    "roles": _words,
    "scopes": _words,
    "label": _matches(LABEL),
    "data": lambda value: isinstance(value, dict),
    "version": _version,
}
