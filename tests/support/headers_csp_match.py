"""What a browser would do with a page under a policy, for the few kinds of source we send.

Follows CSP Level 3 section 6.7 for hosts, paths, schemes, 'self', nonces and hashes, and the
fall-back of each fetch directive to ``default-src``.
"""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit

from asgi_guard.security_headers import hash_inline

__all__ = ["blocked_by"]


def blocked_by(policy: str, html: str) -> list[str]:
    """Return what of *html*, served from ``https://app.example``, the policy would block."""
    directives = {part.split()[0]: part.split()[1:] for part in policy.split("; ")}
    page = _Page()
    page.feed(html)
    page.close()
    blocked = []
    for directive, url in page.loads:
        sources = directives.get(directive, directives["default-src"])
        if not any(_allows(source, url) for source in sources):
            blocked.append(f"{directive} {url}")
    for directive, text, nonce in page.inline:
        sources = directives.get(directive, directives["default-src"])
        trusted = any("nonce-" in source or "'sha" in source for source in sources)
        by_word = "'unsafe-inline'" in sources and not trusted
        by_name = f"'nonce-{nonce}'" in sources or hash_inline(text) in sources
        if not by_word and not by_name:
            blocked.append(f"{directive} inline")
    return blocked


def _allows(source: str, url: str) -> bool:
    wanted = urlsplit(url, scheme="https")
    if not wanted.netloc:
        return source == "'self'" if not url.startswith("data:") else source == "data:"
    given = urlsplit(source)
    if (given.scheme, given.netloc) != (wanted.scheme, wanted.netloc):
        return False
    if given.path.endswith("/"):
        return wanted.path.startswith(given.path)
    return not given.path or given.path == wanted.path


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loads: list[tuple[str, str]] = []
        self.inline: list[tuple[str, str, str | None]] = []
        self._open: tuple[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "script" and known.get("src"):
            self.loads.append(("script-src", known["src"] or ""))
        elif tag in {"script", "style"}:
            self._open = (f"{tag}-src", known.get("nonce"))
        elif tag == "link":
            kind = "style-src" if known.get("rel") == "stylesheet" else "img-src"
            self.loads.append((kind, known.get("href") or ""))
        elif tag == "redoc":
            self.loads.append(("connect-src", known.get("spec-url") or ""))

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.inline.append((self._open[0], data, self._open[1]))
            self._open = None
