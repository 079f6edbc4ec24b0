"""Write ``docs/errors.md`` from the error classes: ``python -m scripts.errors_page``."""  # noqa: INP001 - a program
# ruff: noqa: E501 - the lines of a page

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from asgi_guard import errors
from asgi_guard.cors.middleware import CORSDeniedError
from asgi_guard.errors import (
    ConfigError,
    GuardError,
    IsolationError,
    RejectionError,
    UnavailableError,
)
from asgi_guard.tenancy.fail_closed import InternalError
from asgi_guard.tenancy.policy import TenantForbiddenError

__all__ = ["PAGE", "errors_page"]

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "errors.md"

_ELSEWHERE: Final = (TenantForbiddenError, CORSDeniedError, InternalError)
_PER_CODE: Final = re.compile(r"^- ``(\w+)``: (.+?)[;.]$", re.MULTILINE | re.DOTALL)

_HEAD: Final = """\
# Errors

<!-- Written by `python -m scripts.errors_page`; a test compares. Edit the docstrings instead. -->

Every refusal is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `code` and `request_id`, and nothing
that depends on what is behind it. The `code` is stable, wording is not. The *reason* of a refusal stands in the
[event](events.md) of the same `request_id`, never in the answer.

```json
{"type": "urn:asgi-guard:problem:tenant_not_found", "title": "Not found", "status": 404,
 "code": "tenant_not_found", "request_id": "0f9c4c1de4b34e5bb6f1f6a5d0f0b5a3"}
```

```python
from asgi_guard.errors import GuardError, RLSViolationError

assert issubclass(RLSViolationError, GuardError)  # one root, so that one handler sees them all
```

Before a WebSocket is accepted the answer is the same, or close code 1008 where the server cannot send one; once open, it
is closed with 1008 (the caller can mend it) or 1011, with the code as the reason.
"""


class Family(NamedTuple):
    """One addressee, and who belongs to it."""

    title: str
    words: str
    root: type[GuardError]
    otherwise: str


_FAMILIES: Final = (
    Family(
        "The caller",
        "Learns status and code. One event with the reason.",
        RejectionError,
        "See the event's reason.",
    ),
    Family(
        "The operator: something cannot be reached",
        "The caller is told 503 and the code. Nothing was decided in anybody's favour.",
        UnavailableError,
        "See the event's reason, and try again later.",
    ),
    Family(
        "The operator: a wall was about to be crossed",
        "The caller is told the status and the code. Nothing was read or written, and a handler that swallows the error "
        "cannot answer 200.",
        IsolationError,
        "Look at the event before it.",
    ),
    Family(
        "The developer",
        "Raised when an object is built, before any request. The message is `setting: problem. remedy`.",
        ConfigError,
        "Do what the remedy says.",
    ),
    Family(
        "Others",
        "Never raised to be caught by kind, or no answer to a request.",
        GuardError,
        "Do what the message says.",
    ),
)

_ACTIONS: Final = {
    "rejected": "See the event's reason; raise a more telling class in code of yours.",
    "request_invalid": "Send each security header once. The event's reason names the header.",
    "conflict": "Read what is stored, and send the request again.",
    "cross_origin_refused": "A page of yours: list its origin ([cross-origin](cross-origin.md)). A webhook: `exempt` it.",
    "invalid_dpop_proof": "Send a fresh proof for this method, address and token ([DPoP](dpop.md)).",
    "use_dpop_nonce": "Send a new proof with the nonce in `DPoP-Nonce`; clients do that once.",
    "unauthenticated": "Send a fresh credential. The event's reason says what was wrong with this one.",
    "throttled": "Wait for `Retry-After` seconds.",
    "password_too_short": "Choose a longer one.",
    "password_too_long": "Choose a shorter one.",
    "password_malformed": "Choose one without control characters.",
    "password_breached": "Choose another; guessers try this one first.",
    "vault_not_connected": "Connect again.",
    "vault_conflict": "Read the secret again, and decide anew.",
    "invalid_grant": "Log in again. The event's reason says what was wrong ([tokens](tokens.md#refresh)).",
    "invalid_scope": "Ask for at most what the login granted.",
    "insufficient_scope": "Ask the issuer for the scopes that `WWW-Authenticate` names.",
    "tenant_missing": "Name a tenant in a way that the [resolver](tenancy.md#resolvers) reads.",
    "tenant_invalid": "Spell the id as `tenant_shape` asks: UUIDs in lower case, no braces.",
    "tenant_not_found": "Nothing to be learnt here; the event's reason tells the operator which of the four it was.",
    "tenant_forbidden": "As `tenant_not_found`, for apps with `not_found_status=403`.",
    "cors_denied": "`explain(policy, origin)` says why ([CORS](cors.md#why-was-it-denied)).",
    "unavailable": "The reason names what: `memberships_unreachable`, `database_unreachable`, `database_login_refused` …",
    "not_ready": "Run the SQL that the log lists ([the audit's findings](policies.md#findings)); a restart is not needed.",
    "isolation": "Look at the event before it, then at the handler's traceback.",
    "context_missing": "Work left the request: see [channels](tenancy.md#channels). A public path must not need a tenant.",
    "context_expired": "The caller comes back with a fresh credential; long jobs use `rls_enforced_session`.",
    "context_expansion": "Make a new context from a proven credential instead of widening one.",
    "CONTEXT_CONTAMINATION": "Two runs share an object: one `ExecutionState` per run ([how-to](how-to/agent-state.md)).",
    "RLS_NOT_ENFORCED": "Enter a context, or guard the handle: [what is refused](rls.md#what-is-refused).",
    "TENANT_MISMATCH": "One session, one tenant. Finish one before the other begins.",
    "RLS_VERIFICATION_FAILED": "Compare `RLSVariables` with the database; run `verify_deployment`.",
    "config_invalid": "Do what the remedy says.",
    "extra_missing": "Run the `pip install` line in the message.",
    "guard_error": "The root; catch it to see them all.",
    "internal_error": "An error of the app's own, answered with 500; its traceback is in the server's log.",
}


def errors_page() -> str:
    """Return the page as it should be."""
    sections = [_HEAD]
    listed = [getattr(errors, name) for name in errors.__all__]
    left = [kind for kind in (*listed, *_ELSEWHERE) if kind is not GuardError] + [GuardError]
    for family in _FAMILIES:
        mine = [kind for kind in left if issubclass(kind, family.root)]
        left = [kind for kind in left if kind not in mine]
        rows = "\n".join(row for kind in mine for row in _rows(kind, family.otherwise))
        sections.append(
            f"## {family.title}\n\n{family.words}\n\n"
            f"| Code | Status | Class | Meaning | What to do |\n|---|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(sections)


def _rows(kind: type[GuardError], otherwise: str) -> Iterator[str]:
    text = inspect.getdoc(kind) or ""
    several = _PER_CODE.findall(text.partition("\nArgs:")[0])
    summary = text.partition("\n\n")[0]
    for code, meaning in several or [(kind.code, summary)]:
        status = getattr(kind, "status", "")
        what_to_do = _ACTIONS.get(code, otherwise)
        yield f"| `{code}` | {status} | `{kind.__name__}` | {_plain(meaning)} | {what_to_do} |"


def _plain(docstring: str) -> str:
    """Return one line of Markdown from reStructuredText."""
    line = " ".join(docstring.split()).replace("``", "`")
    return line[:1].upper() + line[1:].rstrip(".").replace("|", "\\|")


def main() -> int:
    """Write the page."""
    PAGE.write_text(errors_page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
