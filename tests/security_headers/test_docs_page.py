"""The page docs/security-headers.md says only what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from asgi_guard.security_headers import SecurityHeaders
from tests.support.headers_client import http_scope, request

PAGE = (Path(__file__).parents[2] / "docs" / "security-headers.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(example: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(example, "docs/security-headers.md", "exec"), names)  # noqa: S102 - our own page
    return names


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_runs_as_it_is_printed(example: str) -> None:
    """The first thing a reader does is paste it."""
    assert len(EXAMPLES) == 4
    run(example)


@pytest.mark.parametrize(
    ("path", "csp"),
    [
        ("/", "script-src 'none'"),
        ("/api/notes", "default-src 'none'; frame-ancestors"),
        ("/docs", "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5/"),
    ],
)
async def test_the_first_example_protects_pages_api_and_docs(path: str, csp: str) -> None:
    """Each part of an app gets the set that fits it."""
    answer = await request(run(EXAMPLES[0])["app"], http_scope(path))

    assert csp in answer.headers["content-security-policy"]


@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_the_table_of_presets_is_true(column: int) -> None:
    """A table that drifts is worse than none."""
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| ")]
    told = {row[0].strip(): row[column].strip() for row in rows}
    name = told.pop("").strip("`")
    preset: SecurityHeaders = getattr(SecurityHeaders, name)()

    assert bool(told["X-Frame-Options"]) == (preset.x_frame_options == "DENY")
    assert bool(told["Permissions-Policy"]) == (preset.permissions_policy is not None)
    opener = told["Cross-Origin-Opener-Policy"] or None
    assert opener == preset.cross_origin_opener_policy
    assert (told["Cross-Origin-Resource-Policy"] or None) == preset.cross_origin_resource_policy
    referrer = told["Referrer-Policy"].replace("as `html`", "strict-origin-when-cross-origin")
    assert referrer == preset.referrer_policy
    assert (told["Cache-Control"] == "no-store") == (preset.cache_control == "no-store")
    hsts = preset.strict_transport_security
    assert hsts
    seconds = {"two years": 63_072_000, "five minutes, this host": 300}
    assert seconds[told["Strict-Transport-Security"]] == hsts.max_age
