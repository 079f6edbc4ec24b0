"""Source lists of Content-Security-Policy: what a page may load from where.

Source: CSP Level 3 section 2.3.1. Each refusal carries the value that was probably meant.
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Sequence
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers.fields import did_you_mean

__all__ = ["NONCE", "check_ancestors", "check_script_sources", "check_sources", "setting_of"]

NONCE: Final = "'nonce'"
"""Stands for this request's nonce: rendered as ``'nonce-<random>'``, or not at all."""

_NONE: Final = "'none'"
_SCRIPT_KEYWORDS: Final = (
    *("'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "'strict-dynamic'"),
    *("'wasm-unsafe-eval'", "'trusted-types-eval'", "'inline-speculation-rules'"),
    *("'report-sample'", "'report-sha256'", "'report-sha384'", "'report-sha512'"),
)
_KEYWORDS: Final = ("'self'", _NONE, *_SCRIPT_KEYWORDS)
_SCHEMES: Final = ("http", "https", "ws", "wss", "data", "blob", "filesystem", "mediastream")

_ENDS_A_VALUE = re.compile(r"[\s;,]+")
_DIGEST_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
_HASH = re.compile(r"'(sha(?:256|384|512))-([A-Za-z0-9+/_-]+={0,2})'")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?"
    rf"(?:\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*)"
    r"(?::(?:[0-9]{1,5}|\*))?"
    r"(?:/[A-Za-z0-9._~!$&()*+=:@%/-]*)?"
)


def setting_of(directive: str) -> str:
    """Return the dotted name of *directive* for messages."""
    return f"security_headers.csp[{directive!r}]"


def check_sources(directive: str, sources: Sequence[str]) -> None:
    """Refuse what is no source of a list that loads no script and no style.

    Raises:
        ConfigError: With the corrected value.
    """
    for source in sources:
        _check_source(directive, source)
        if source == NONCE or _HASH.fullmatch(source):
            raise ConfigError(
                setting_of(directive),
                f"{source!r} has no effect here",
                "Nonces and hashes belong to script-src and style-src.",
            )
    _check_none(directive, sources)


def check_ancestors(directive: str, sources: Sequence[str]) -> None:
    """Refuse what cannot stand in ``frame-ancestors``: it takes origins, 'self' and 'none' only.

    Raises:
        ConfigError: With the corrected value.
    """
    check_sources(directive, sources)
    for source in sources:
        if source in _SCRIPT_KEYWORDS:
            raise ConfigError(
                setting_of(directive), f"{source!r} has no effect here", "Write 'self' or origins."
            )


def check_script_sources(directive: str, sources: Sequence[str]) -> None:
    """Refuse what is no source of a script or style list.

    Raises:
        ConfigError: With the corrected value.
    """
    for source in sources:
        _check_source(directive, source)
    _check_none(directive, sources)
    if directive.endswith("-attr") and NONCE in sources:
        raise ConfigError(
            setting_of(directive), "an attribute cannot carry a nonce", "Use 'unsafe-hashes'."
        )
    trusted = NONCE in sources or any(_HASH.fullmatch(source) for source in sources)
    if "'strict-dynamic'" in sources and not trusted:
        raise ConfigError(
            setting_of(directive),
            "'strict-dynamic' without a nonce or hash blocks every script",
            f"Write [NONCE, {', '.join(repr(source) for source in sources)}].",
        )


def _check_none(directive: str, sources: Sequence[str]) -> None:
    if not sources:
        raise ConfigError(setting_of(directive), "is an empty list", "Write [\"'none'\"].")
    if _NONE in sources and len(sources) > 1:
        others = [source for source in sources if source != _NONE]
        raise ConfigError(
            setting_of(directive),
            "'none' stands beside others, and browsers then ignore it",
            f"Write {others!r}, or [\"'none'\"].",
        )


def _check_source(directive: str, source: str) -> None:
    if source in _KEYWORDS or source == NONCE:
        return
    if _ENDS_A_VALUE.search(source):
        parts = [part for part in _ENDS_A_VALUE.split(source) if part]
        raise ConfigError(
            setting_of(directive),
            f"{source!r} has white space, ';' or ',' in it, which end a source",
            f"Write {parts!r}." if parts else "Write [\"'none'\"].",
        )
    if source.startswith("'"):
        _check_quoted(directive, source)
        return
    corrected = _correction(source)
    if corrected:
        raise ConfigError(
            setting_of(directive), f"{source!r} is not the source it looks like", corrected
        )
    if not (_SCHEME.fullmatch(source) or _HOST.fullmatch(source)):
        raise ConfigError(
            setting_of(directive),
            f"{source!r} is no source",
            "Write 'self', a scheme such as 'https:', or scheme://host[:port][/path] in ASCII "
            "without query or fragment; CSP has no IPv6 addresses.",
        )


def _correction(source: str) -> str:
    """Return what was probably meant by a text that browsers would take for a host name."""
    quoted = f"'{source.lower()}'"
    if quoted in _KEYWORDS:
        return f'Write "{quoted}", with the single quotes inside.'
    if source == "nonce" or source.startswith("nonce-"):
        return "Write NONCE: each response must have its own."
    if _HASH.fullmatch(f"'{source}'"):
        return f"Write \"'{source}'\", with the single quotes inside."
    if source.lower() in _SCHEMES:
        return f"Write '{source.lower()}:', with the colon."
    return ""


def _check_quoted(directive: str, source: str) -> None:
    if source.startswith("'nonce-"):
        raise ConfigError(
            setting_of(directive),
            "a fixed nonce can be read from the page and used by an attacker",
            "Write NONCE: each response then has its own.",
        )
    found = _HASH.fullmatch(source)
    if found is None:
        hint = did_you_mean(source, _KEYWORDS)
        raise ConfigError(
            setting_of(directive),
            f"{source!r} is no keyword and no hash",
            hint or "Write a keyword such as \"'self'\", or hash_inline(text).",
        )
    try:
        digest = (urlsafe_b64decode if set(found[2]) & {"-", "_"} else b64decode)(found[2])
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES[found[1]]:
        raise ConfigError(
            setting_of(directive),
            f"{source!r} is not {_DIGEST_BYTES[found[1]]} bytes in base64",
            "Use hash_inline(text) or hash_file(path).",
        )
