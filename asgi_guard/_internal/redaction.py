"""Take secrets and personal data out of what is about to be written down.

By key (``password``, ``authorization``) and by pattern (tokens, keys, cards, mail addresses).
OWASP Logging Cheat Sheet, "Data to exclude". A net below careful code, not a replacement for it:
a secret that looks like nothing in particular is not recognised.

Linear on hostile input: every repetition in every pattern has a bound (a test reads the parsed
patterns and computes the work per character), PEM blocks are found by plain search, and no more
than `LONGEST` characters are looked at; the rest is cut off, not passed on unread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from asgi_guard.secret import Secret

__all__ = [
    "LONGEST",
    "PATTERNS",
    "REDACTED",
    "is_secret_key",
    "redact_details",
    "redact_text",
    "redact_value",
]

REDACTED: Final = "[redacted]"
LONGEST: Final = 16_384
"""Characters of one text that are kept and looked at."""
_DEEPEST: Final = 6
_HEX: Final = frozenset("0123456789abcdef")
_DIGEST: Final = 64
_MOST_ITEMS: Final = 200

# fmt: off
_SECRET_KEYS: Final = frozenset(
    {
        "api_key", "apikey", "authorization", "cookie", "cookies", "credential", "credentials",
        "csrf_token", "dpop", "jwt", "otp", "passcode", "passphrase", "passwd", "password",
        "pin", "private_key", "proxy_authorization", "pwd", "secret", "secret_key", "set_cookie",
        "sid", "signing_key", "token", "x_api_key", "x_auth_token", "x_csrf_token",
        # personal data
        "address", "birth_date", "birthdate", "card", "card_number", "cvc", "cvv",
        "date_of_birth", "dob", "e_mail", "email", "first_name", "full_name", "iban",
        "last_name", "mail", "mobile", "phone", "phone_number", "social_security", "ssn",
    }
)
# fmt: on
_SECRET_ENDS: Final = (
    "_api_key",
    "_apikey",
    "_authorization",
    "_cookie",
    "_credentials",
    "_email",
    "_jwt",
    "_passphrase",
    "_passwd",
    "_password",
    "_phone",
    "_private_key",
    "_secret",
    "_secret_key",
    "_token",
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NAMES: Final = (
    r"pass(?:word|wd|phrase)|pwd|secret|(?:access|refresh|id|auth|csrf)[_-]?token|token|"
    r"api[_-]?key|client[_-]?secret|private[_-]?key|authorization|set-cookie|cookie"
)

PATTERNS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    # RFC 7519 and RFC 7516: three or five base64url parts; "eyJ" is '{"' in base64url.
    (
        "jwt",
        re.compile(r"(?<![\w-])eyJ[\w-]{5,4096}\.[\w-]{2,4096}(?:\.[\w-]{0,2048}){0,3}"),
    ),
    # RFC 9110 section 11.4: scheme and credentials.
    (
        "authorization",
        re.compile(r"(?i)\b(?:bearer|basic|dpop|digest|negotiate)[ \t]{1,4}[\w.~+/=-]{6,4096}"),
    ),
    # RFC 3986 section 3.2.1: user information in a URL.
    ("url_password", re.compile(r"(?<=://)[^\s/:@?#]{0,256}:[^\s/@?#]{1,256}@")),
    # Formats that their issuers publish so that scanners can find them.
    (
        "api_key",
        re.compile(
            r"(?<![A-Za-z0-9])(?:"
            r"(?:sk|pk|rk|whsec)[_-][A-Za-z0-9_-]{16,256}"
            r"|(?:gh[pousr]|github_pat|glpat|xox[abeoprs]|npm|pypi|hf|ag)[_-][A-Za-z0-9_-]{16,256}"
            r"|(?:AKIA|ASIA|AGPA|AIDA)[A-Z0-9]{16}"
            r"|AIza[\w-]{35}"
            r"|SG\.[\w-]{16,64}\.[\w-]{16,64}"
            r")"
        ),
    ),
    (
        "named",
        re.compile(
            rf"(?i)(?<![a-z])(?:{_NAMES})[\"']{{0,1}}[ \t]{{0,4}}[=:][ \t]{{0,4}}"
            r"(?:\"[^\"\n]{1,1024}\"|'[^'\n]{1,1024}'|[^\s\"',;&\[][^\s\"',;&]{0,1023})"
        ),
    ),
    # RFC 5321 section 4.5.3.1: 64 octets before the "@", 255 after it.
    (
        "mail",
        re.compile(
            r"(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}"
        ),
    ),
    # ISO/IEC 7812: 13 to 19 digits, in groups or not; kept unless the Luhn digit is right.
    ("card", re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])")),
    (
        "iban",
        re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ),
)

_PEM_BEGIN: Final = "-----BEGIN "
_PEM_END: Final = "-----END "
# Codes, methods, class names and origins: without digits, "@", "=" and spaces, and no ":" but a
# scheme's, only a JWT and an API key fit in there, the latter with a prefix, a separator and 16
# characters at least.
_CODE: Final = re.compile(r"(?:https?://)?[A-Za-z._/-]*")
_SHORTEST_KEY: Final = 2 + 1 + 16
# For each kind, what every text that its pattern matches has: a text without it is not searched.
# Exact, so that nothing is redacted less (a test compares both ways of looking): most texts of
# events are codes, methods and origins, and eight searches cost more than the rest of an event.
_NEEDS: Final[dict[str, Callable[[str], object]]] = {
    "jwt": lambda text: "eyJ" in text,
    "authorization": lambda text: " " in text or "\t" in text,
    "url_password": lambda text: "@" in text,
    "api_key": re.compile(r"[_-][A-Za-z0-9_-]{16}|A[KSGI][IPD]A|AIza|SG\.").search,
    # The last letters of the names, then what stands between a name and its value.
    "named": re.compile(r"[dentyDENTY][\"']?[ \t]{0,4}[=:]").search,
    "mail": lambda text: "@" in text,
    "card": re.compile(r"\d[ -]?\d[ -]?\d[ -]?\d").search,
    "iban": re.compile(r"[A-Z]{2}\d{2}").search,
}


def redact_text(text: str) -> str:
    """Return *text* with every recognised secret and personal datum replaced by a mark.

    Args:
        text: Of any length; what is beyond `LONGEST` characters is cut off and counted.
    """
    cut = ""
    if len(text) > LONGEST:
        cut, text = f"[{len(text) - LONGEST} more characters]", text[:LONGEST]
    if _CODE.fullmatch(text) is not None and "eyJ" not in text:
        return text if len(text) < _SHORTEST_KEY else _API_KEY.sub(_MARKS["api_key"], text) + cut
    if _PEM_BEGIN in text:
        text = _without_pem(text)
    for needs, pattern, mark in _SEARCHES:
        if needs(text):
            text = pattern.sub(mark, text)
    return text + cut


def redact_value(value: Any, *, depth: int = 0) -> Any:  # noqa: PLR0911 - one line per kind of value
    """Return a copy of *value* for a log line: texts redacted, keys looked at, size bounded."""
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Secret):
        return REDACTED
    if depth >= _DEEPEST:
        return f"[{type(value).__name__}]"
    if isinstance(value, Mapping):
        pairs = list(value.items())[:_MOST_ITEMS]
        return {
            redact_text(str(key)): REDACTED
            if is_secret_key(str(key))
            else redact_value(inner, depth=depth + 1)
            for key, inner in pairs
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(inner, depth=depth + 1) for inner in list(value)[:_MOST_ITEMS]]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return redact_text(str(value))


def redact_details(
    details: Mapping[str, str | int | float | bool | None],
) -> dict[str, str | int | float | bool | None]:
    """Return the details of an event without secrets; anything but a plain value by its type."""
    return {
        str(key): REDACTED
        if is_secret_key(str(key)) and isinstance(value, str) and value
        else _plain(value)
        for key, value in list(details.items())[:_MOST_ITEMS]
    }


def is_secret_key(key: str) -> bool:
    """Tell whether *key* names a secret or personal datum; case and ``-`` do not matter."""
    return _names_a_secret(key[:128])


@lru_cache(maxsize=1024)  # the same few keys at every event
def _names_a_secret(key: str) -> bool:
    name = _CAMEL.sub("_", key).lower().replace("-", "_").replace(".", "_")
    return name in _SECRET_KEYS or name.endswith(_SECRET_ENDS)


def _plain(value: object) -> str | int | float | bool | None:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return f"[{type(value).__name__}]"


def _without_pem(text: str) -> str:
    """Replace each block of RFC 7468; one without an end reaches to the end of the text."""
    parts: list[str] = []
    position = 0
    while (begin := text.find(_PEM_BEGIN, position)) >= 0:
        parts += [text[position:begin], "[redacted pem]"]
        end = text.find(_PEM_END, begin)
        if end < 0:
            return "".join(parts)
        close = text.find("-----", end + len(_PEM_END), end + len(_PEM_END) + 64)
        position = end + len(_PEM_END) if close < 0 else close + len("-----")
    return "".join([*parts, text[position:]])


def _marked(kind: str) -> Callable[[re.Match[str]], str]:
    def mark(_found: re.Match[str]) -> str:
        return f"[redacted {kind}]"

    return mark


def _mark_named(found: re.Match[str]) -> str:
    name = re.split(r"[\"']?[ \t]{0,4}[=:]", found[0], maxsplit=1)[0]
    return f"{name}={REDACTED}"


def _mark_card(found: re.Match[str]) -> str:
    if _is_in_digest(found):
        return found[0]
    digits = [int(char) for char in found[0] if char.isdigit()]
    return "[redacted card]" if _luhn(digits) else found[0]


def _is_in_digest(found: re.Match[str]) -> bool:
    """Tell whether the digits are of a SHA-256: one in three hundred holds a "card number".

    Events name tokens by it, and a name with a hole in it is never found again.
    """
    text, (start, end) = found.string, found.span()
    while start and text[start - 1] in _HEX and end - start <= _DIGEST:
        start -= 1
    while end < len(text) and text[end] in _HEX and end - start <= _DIGEST:
        end += 1
    return end - start == _DIGEST and set(text[start:end]) <= _HEX


def _luhn(digits: list[int]) -> bool:
    """Tell whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]  # noqa: PLR2004 - 2*5 > 9
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


_MARKS: Final[dict[str, Callable[[re.Match[str]], str]]] = {
    kind: _marked(kind) for kind, _ in PATTERNS
} | {
    "card": _mark_card,
    "named": _mark_named,
    "url_password": lambda _found: "[redacted]@",
}
_API_KEY: Final = dict(PATTERNS)["api_key"]
_SEARCHES: Final = tuple((_NEEDS[kind], pattern, _MARKS[kind]) for kind, pattern in PATTERNS)
