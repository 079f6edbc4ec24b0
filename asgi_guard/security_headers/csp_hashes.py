"""Hash sources: allow one exact script or style by its digest (CSP Level 3 section 6.7.3.3).

For pages that are the same for everybody and may be cached, which a nonce must never be.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

__all__ = ["HashAlgorithm", "hash_file", "hash_inline", "inline_script_hashes"]

HashAlgorithm = Literal["sha256", "sha384", "sha512"]


def hash_inline(text: str, *, algorithm: HashAlgorithm = "sha256") -> str:
    r"""Return the source that allows the element ``<script>`` or ``<style>`` holding *text*.

    Args:
        text: Everything between the tags, white space included. Line ends are taken as browsers
            do, as ``\n``, so a template saved with ``\r\n`` matches too.
        algorithm: Digest.
    """
    normalised = text.replace("\r\n", "\n").replace("\r", "\n")
    return _source(normalised.encode(), algorithm)


def hash_file(path: str | Path, *, algorithm: HashAlgorithm = "sha256") -> str:
    """Return the source that allows the external script at *path*, byte for byte.

    The ``<script src>`` must carry the same digest in ``integrity``. For a file that is pasted
    into the page use ``hash_inline(Path(path).read_text())``. Reads the disk: call it at start-up.

    Raises:
        OSError: The file cannot be read.
    """
    return _source(Path(path).read_bytes(), algorithm)


def inline_script_hashes(html: str, *, algorithm: HashAlgorithm = "sha256") -> tuple[str, ...]:
    """Return one source for each inline script of the page *html*, in order, without doubles.

    Give it pages from your own disk or framework, never a page with a user's text in it: whatever
    script it holds is allowed.
    """
    finder = _InlineScripts()
    finder.feed(html)
    finder.close()
    return tuple(dict.fromkeys(hash_inline(each, algorithm=algorithm) for each in finder.found))


def _source(content: bytes, algorithm: HashAlgorithm) -> str:
    digest = hashlib.new(algorithm, content).digest()
    return f"'{algorithm}-{b64encode(digest).decode()}'"


class _InlineScripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self._text: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and "src" not in dict(attrs):
            self._text = []

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script" and self._text is not None:
            self.found.append("".join(self._text))
            self._text = None
