"""What browsers report about a Content-Security-Policy, in both formats, made safe to log.

A report is written by anybody who can reach the collector. So directives are taken from the known
list only, addresses lose their query, fragment and user info (where tokens travel), script samples
and policies are dropped, and every text is cut and freed of control characters.

Formats: ``application/csp-report`` (CSP Level 3 section 5.3) and ``application/reports+json``
(Reporting API section 2.4 with CSP Level 3 section 5.2).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from asgi_guard.errors import RequestInvalidError
from asgi_guard.security_headers.csp_directives import DIRECTIVES

__all__ = ["LEGACY_TYPE", "REPORTS_TYPE", "ParsedReports", "Violation", "parse_reports"]

LEGACY_TYPE: Final = "application/csp-report"
REPORTS_TYPE: Final = "application/reports+json"

_LONGEST_TEXT: Final = 200
_BIGGEST_LINE: Final = 10_000_000
_KEYWORDS: Final = frozenset(
    {"inline", "eval", "wasm-eval", "self", "trusted-types-policy", "trusted-types-sink"}
)


_WORD = re.compile(r"[a-z-]{1,32}")


class Violation(NamedTuple):
    """One violation.

    Args:
        directive: The directive that was violated, ``"other"`` if it is none we know.
        disposition: Whether the browser blocked it or only reports it.
        blocked: Scheme and host of what was blocked, or a word such as ``"inline"``.
        document: The page, without query and fragment.
        source: The script that did it, likewise, or empty.
        line: Line in *source*, or 0.
    """

    directive: str
    disposition: Literal["enforce", "report"]
    blocked: str
    document: str
    source: str
    line: int


class ParsedReports(NamedTuple):
    """The violations of one request, and how many members were something else or too many."""

    violations: list[Violation]
    ignored: int


def parse_reports(media_type: str, body: bytes, *, most: int) -> ParsedReports:
    """Read one request's body.

    Args:
        media_type: `LEGACY_TYPE` or `REPORTS_TYPE`.
        body: The JSON document.
        most: How many reports are taken; the rest is counted as ignored.

    Raises:
        RequestInvalidError: It is no JSON, or not of the format that *media_type* says.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise RequestInvalidError("csp_report_not_json") from problem
    if media_type == LEGACY_TYPE:
        report = document.get("csp-report") if isinstance(document, dict) else None
        if not isinstance(report, dict):
            raise RequestInvalidError("csp_report_malformed")
        return ParsedReports([_from_legacy(report)], 0)
    if not isinstance(document, list):
        raise RequestInvalidError("csp_report_malformed")
    bodies = [found for each in document[:most] if (found := _violation_body(each)) is not None]
    return ParsedReports([_from_reports_api(each) for each in bodies], len(document) - len(bodies))


def _violation_body(report: object) -> dict[str, Any] | None:
    if not isinstance(report, dict) or report.get("type") != "csp-violation":
        return None
    body = report.get("body")
    return body if isinstance(body, dict) else None


def _from_legacy(report: dict[str, Any]) -> Violation:
    return Violation(
        _directive(report.get("effective-directive") or report.get("violated-directive")),
        _disposition(report.get("disposition")),
        _blocked(report.get("blocked-uri")),
        _address(report.get("document-uri")),
        _address(report.get("source-file")),
        _line(report.get("line-number")),
    )


def _from_reports_api(body: dict[str, Any]) -> Violation:
    return Violation(
        _directive(body.get("effectiveDirective")),
        _disposition(body.get("disposition")),
        _blocked(body.get("blockedURL")),
        _address(body.get("documentURL")),
        _address(body.get("sourceFile")),
        _line(body.get("lineNumber")),
    )


def _directive(value: object) -> str:
    # Firefox once sent the whole directive, sources and all.
    name = value.split(maxsplit=1)[0].lower() if isinstance(value, str) and value.strip() else ""
    return name if name in DIRECTIVES else "other"


def _disposition(value: object) -> Literal["enforce", "report"]:
    return "report" if value == "report" else "enforce"


def _line(value: object) -> int:
    return value if type(value) is int and 0 < value < _BIGGEST_LINE else 0


def _blocked(value: object) -> str:
    if isinstance(value, str) and value in _KEYWORDS:
        return value
    parts = _split(value)
    if not parts:
        return ""
    scheme, host, _ = parts
    return f"{scheme}://{host}" if host else scheme


def _address(value: object) -> str:
    parts = _split(value)
    if not parts:
        return ""
    scheme, host, path = parts
    return f"{scheme}://{host}{path}"[:_LONGEST_TEXT] if host else scheme


def _split(value: object) -> tuple[str, str, str] | None:
    """Return scheme, ``host[:port]`` and path, printable ASCII only; None when there is none."""
    if not isinstance(value, str):
        return None
    cleaned = "".join(each if " " < each < "\x7f" else "?" for each in value[: 4 * _LONGEST_TEXT])
    try:
        parts = urlsplit(cleaned)
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2][:_LONGEST_TEXT]
    word = cleaned if _WORD.fullmatch(cleaned) else ""  # browsers shorten data: URLs to "data"
    return parts.scheme[:_LONGEST_TEXT] or word, host, parts.path
