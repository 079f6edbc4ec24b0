"""The drop-in passes Starlette's own tests, answers alike, and says what is unsafe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.middleware.cors import CORSMiddleware as StarletteCORSMiddleware

from asgi_guard.cors import compat
from asgi_guard.cors.compat import CORSMiddleware, UnsafeCORSWarning
from asgi_guard.protocols import ASGIApp
from tests.support.cors_client import ask, hello, http_scope, preflight, saying
from tests.support.cors_starlette_suite import REDIRECT, starlette_sources

ROOT = Path(__file__).resolve().parents[2]


def run_starlettes_tests(tmp_path: Path, plugin: str) -> str:
    """Run Starlette's file with *plugin* loaded; return pytest's last line."""
    sources = starlette_sources()
    (tmp_path / "redirect_cors.py").write_text(plugin)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--quiet",
            "--no-header",
            "-p",
            "redirect_cors",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "--import-mode=importlib",
            "-c",
            str(tmp_path / "none.ini"),
            f"--rootdir={sources}",
            "tests/middleware/test_cors.py",
        ],
        cwd=sources,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{sources}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr


def test_starlettes_own_tests_pass(tmp_path: Path) -> None:
    """A migration that begins by breaking things is not begun."""
    (tmp_path / "none.ini").write_text("[pytest]\n")
    verdict = run_starlettes_tests(tmp_path, REDIRECT)
    assert re.search(r"\b\d{2,} passed", verdict), verdict
    assert "failed" not in verdict
    assert "error" not in verdict


def test_starlettes_own_tests_do_notice_a_broken_drop_in(tmp_path: Path) -> None:
    """Control: the file runs against our class, and fails when that is broken on purpose."""
    (tmp_path / "none.ini").write_text("[pytest]\n")
    broken = REDIRECT + "\nCORSMiddleware._allows = lambda self, origin: True\n"
    assert "failed" in run_starlettes_tests(tmp_path, broken)


ORIGINS = st.sampled_from(["https://a.example", "https://b.example", "null", "nonsense", "*"])
NAMES = st.sampled_from(["X-One", "x-two", "Content-Type", "accept", "*", "Authorization"])
METHODS = st.sampled_from(["GET", "POST", "DELETE", "*", "get"])
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "allow_origins": st.lists(ORIGINS, max_size=3),
        "allow_methods": st.lists(METHODS, max_size=3),
        "allow_headers": st.lists(NAMES, max_size=3),
        "allow_credentials": st.booleans(),
        "allow_origin_regex": st.sampled_from([None, r"https://.*", r"https://[ab]\.example"]),
        "allow_private_network": st.booleans(),
        "expose_headers": st.lists(NAMES, max_size=2),
        "max_age": st.integers(0, 1000),
    },
)
FIELDS = st.lists(
    st.sampled_from(
        [
            ("access-control-request-method", "GET"),
            ("access-control-request-method", "DELETE"),
            ("access-control-request-method", "nonsense"),
            ("access-control-request-headers", "x-one, content-type"),
            ("access-control-request-headers", "X-TWO"),
            ("access-control-request-headers", ",, x-one,"),
            ("access-control-request-headers", ""),
            ("access-control-request-private-network", "true"),
        ]
    ),
    max_size=3,
    unique_by=lambda pair: pair[0],
)


OWN = st.lists(
    st.sampled_from(
        [
            (b"vary", b"Accept"),
            (b"access-control-allow-origin", b"https://b.example"),
            (b"access-control-allow-origin", b"*"),
            (b"access-control-allow-credentials", b"false"),
            (b"access-control-expose-headers", b"x-mine"),
            (b"x-own", b"1"),
        ]
    ),
    max_size=4,
    unique=True,
)


@settings(max_examples=300, deadline=None)
@given(SETTINGS, st.sampled_from(["GET", "OPTIONS", "POST"]), st.none() | ORIGINS, FIELDS, OWN)
async def test_every_answer_is_starlettes_answer(
    options: dict[str, Any],
    method: str,
    origin: str | None,
    fields: list[tuple[str, str]],
    own: list[tuple[bytes, bytes]],
) -> None:
    """Field for field, over settings, requests and apps that nobody wrote down."""
    app = saying(*own)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsafeCORSWarning)
        ours = await ask(CORSMiddleware(app, **options), method, origin=origin, fields=fields)
    # Starlette changes the app's own message, so it gets an app of its own each time.
    app = saying(*own)
    theirs = await ask(
        StarletteCORSMiddleware(app, **options), method, origin=origin, fields=fields
    )

    assert ours.status == theirs.status
    assert ours.body == theirs.body
    assert sorted(ours.fields) == sorted(theirs.fields)


@pytest.mark.parametrize(
    "options",
    [
        {"allow_origins": ["*"], "allow_credentials": True},
        {"allow_origins": ["null"]},
        {"allow_origins": ["https://a.example"], "allow_headers": ["*"], "allow_credentials": True},
        {"allow_origin_regex": "https://.*"},
        {"allow_origin_regex": r"https://.*example\.com"},
        {"allow_origin_regex": "(a+)+"},
    ],
    ids=repr,
)
def test_an_unsafe_setting_warns_where_it_was_written(options: dict[str, Any]) -> None:
    """Starlette accepts these in silence; the file name in the warning is the user's own."""
    with pytest.warns(UnsafeCORSWarning, match="CORSPolicy") as warned:
        CORSMiddleware(hello, **options)
    assert [Path(warning.filename).name for warning in warned] == ["test_compat.py"]


def test_ordinary_settings_do_not_warn() -> None:
    """Warnings are errors in this test run, so silence is checked."""
    CORSMiddleware(hello)
    CORSMiddleware(hello, allow_origins=["*"], allow_headers=["*"], allow_methods=["*"])
    CORSMiddleware(hello, allow_origins=["https://a.example"], allow_credentials=True)
    CORSMiddleware(hello, allow_origin_regex=r"https://[a-z]+\.tenants\.example\.com")


async def test_the_apps_own_message_is_left_as_it_was() -> None:
    """Where we differ on purpose: Starlette's copy doubles Vary at the second request."""

    def app() -> ASGIApp:
        return saying((b"vary", b"Accept"))

    ours = CORSMiddleware(app(), allow_origins=["https://a.example"])
    theirs = StarletteCORSMiddleware(app(), allow_origins=["https://a.example"])

    for _ in range(2):
        mine = await ask(ours, origin="https://a.example")
        yours = await ask(theirs, origin="https://a.example")

    assert mine.values("vary") == ["Accept, Origin"]
    assert yours.values("vary") == ["Accept, Origin, Origin"]


async def test_64_kilobytes_of_requested_headers_are_not_echoed() -> None:
    """Where we differ on purpose: '*' sends back whatever a stranger sent, however long."""
    many = ",".join(["x-header"] * 7000)
    app = CORSMiddleware(hello, allow_origins=["*"], allow_headers=["*"])

    answer = await preflight(app, "https://a.example", "GET", many)

    assert answer.status == 400
    assert answer.body == b"Disallowed CORS headers"
    assert answer.values("access-control-allow-headers") == []


async def test_other_scopes_pass_untouched() -> None:
    """As in the real one."""
    seen: list[Any] = []

    async def app(*call: Any) -> None:
        seen.extend(call)

    scope = {**http_scope("GET", "/", []), "type": "websocket"}
    await CORSMiddleware(app)(scope, hello, hello)  # type: ignore[arg-type]
    assert seen[0] is scope
    assert seen[1] is seen[2] is hello


def test_the_module_offers_what_starlettes_does() -> None:
    """One import line is all that changes."""
    assert compat.__all__ == ["CORSMiddleware", "UnsafeCORSWarning"]
