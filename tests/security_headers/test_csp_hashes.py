"""Hash sources, checked against digests made by another tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_guard.security_headers import (
    ContentSecurityPolicy,
    hash_file,
    hash_inline,
    inline_script_hashes,
)

# printf "alert('Hello, world.');" | openssl dgst -sha256 -binary | base64; the example of CSP
# Level 3 section 2.3.1 and MDN.
HELLO = "alert('Hello, world.');"
HELLO_SHA256 = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


def test_the_example_of_the_standard_has_its_hash() -> None:
    """A digest that is off by one character blocks the script."""
    assert hash_inline(HELLO) == HELLO_SHA256


def test_line_ends_are_taken_as_the_browsers_parser_leaves_them() -> None:
    """A template saved on Windows is hashed by the browser with plain line feeds."""
    assert hash_inline("a\r\nb\rc") == hash_inline("a\nb\nc")


def test_a_file_is_hashed_byte_for_byte(tmp_path: Path) -> None:
    """External scripts are matched by integrity, which knows no normalising."""
    script = tmp_path / "app.js"
    script.write_bytes(HELLO.encode() + b"\r\n")

    assert hash_file(script) != hash_inline(HELLO + "\r\n")
    script.write_bytes(HELLO.encode())
    assert hash_file(str(script)) == HELLO_SHA256


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_every_hash_is_a_source_the_builder_takes(algorithm: str) -> None:
    """The helper and the builder must speak the same language."""
    source = hash_inline("x", algorithm=algorithm)  # type: ignore[arg-type] # parametrized

    policy = ContentSecurityPolicy({"script-src": [source, "'strict-dynamic'"]})

    assert str(policy) == f"script-src {source} 'strict-dynamic'"


def test_inline_scripts_of_a_page_are_found_once_each_and_external_ones_left() -> None:
    """Tags inside a script, and markup inside its text, do not end it."""
    page = (
        f"<SCRIPT type='module'>{HELLO}</SCRIPT><script src=/a.js>ignored</script>"
        f"<script>{HELLO}</script><script>if (a < b && '<p>') {{}}</script><p>text</p>"
    )

    assert inline_script_hashes(page) == (
        HELLO_SHA256,
        hash_inline("if (a < b && '<p>') {}"),
    )
