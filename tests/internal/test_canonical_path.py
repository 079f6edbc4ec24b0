"""No spelling of a path may move a request to a weaker rule."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote, unquote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from asgi_guard._internal.canonical_path import PathRules, canonical_path, path_set
from asgi_guard.errors import ConfigError

SETTING = "test.rules"


def scope_for(target: str, *, root: str = "", raw: bool = True) -> dict[str, Any]:
    """Build the scope that uvicorn builds for the request target *target*."""
    scope: dict[str, Any] = {"type": "http", "path": root + unquote(target), "root_path": root}
    if raw:
        scope["raw_path"] = root.encode() + target.encode("utf-8")
    return scope


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", "/"),
        ("/hooks", "/hooks"),
        ("/hooks/", "/hooks"),
        ("/hooks/stripe", "/hooks/stripe"),
        ("/Hooks", "/Hooks"),
        ("/a+b", "/a+b"),
        ("/a%2Bb", "/a+b"),
        ("/a%20b", "/a b"),
        ("/report.txt", "/report.txt"),
        ("/.well-known/x", "/.well-known/x"),
        ("/~me/a:b@c,d=e!$&'()*", "/~me/a:b@c,d=e!$&'()*"),
        ("/caf%C3%A9", "/café"),
        ("/...x/y..z", "/...x/y..z"),
    ],
)
def test_a_plain_path_is_read_as_the_router_reads_it(target: str, expected: str) -> None:
    """Rules are written in decoded form, and ordinary paths must find theirs."""
    assert canonical_path(scope_for(target)) == expected


@pytest.mark.parametrize(
    "target",
    [
        "//hooks",
        "/hooks//x",
        "/hooks//",
        "/hooks/../admin",
        "/hooks/./x",
        "/hooks/..",
        "/hooks/.",
        "/hooks/%2e%2e/admin",
        "/hooks/%2E%2e/admin",
        "/hooks/.%2e/admin",
        "/hooks%2fx",
        "/hooks%2Fx",
        "/hooks/%2e%2e%2fadmin",
        "/hooks/%252e%252e/admin",
        "/hooks/%25x",
        "/hooks/%",
        "/hooks/%zz",
        "/hooks/..;/admin",
        "/hooks;v=1",
        "/hooks%3bv=1",
        "/hooks\\..\\admin",
        "/hooks%5c..%5cadmin",
        "/hooks%00",
        "/hooks/%0d%0ax",
        "/hooks%7f",
        "/hooks%3fx=1",
        "/hooks%23x",
        "/hooks./x",
        "/hooks%20/x",
        "/%20hooks",
        "/hooks/...",
        "/hooks/%ff",
        "/hooks/%c0%ae%c0%ae/admin",
        "/hooks/\uff0e\uff0e/admin",
        "/hooks\uff0f..\uff0fadmin",
        "/hooks/\u2025/admin",
        "/hooks\u200d",
        "/hooks\u202e",
        "/hoo\u212as",
        "/hook\u017f",
        "/cafe\u0301",
        "",
        "*",
        "hooks",
        "http://host/hooks",
        "host:443",
    ],
)
def test_a_path_that_two_layers_may_read_differently_has_no_canonical_form(target: str) -> None:
    """Every one of these has moved a request past some proxy's or framework's path rule."""
    assert canonical_path(scope_for(target)) is None


def test_an_encoded_slash_needs_the_raw_path_to_be_seen() -> None:
    """ASGI's raw_path is optional; without it the router sees what the rules see."""
    assert canonical_path(scope_for("/hooks%2fx", raw=False)) == "/hooks/x"
    assert canonical_path({"type": "http", "path": "/hooks", "raw_path": None}) == "/hooks"


@pytest.mark.parametrize(
    ("root", "target", "expected"),
    [
        ("/api", "/hooks", "/hooks"),
        ("/api", "", "/"),
        ("/api", "/", "/"),
        ("/api", "x", "/apix"),
        ("/api", "/api/hooks", "/api/hooks"),
    ],
)
def test_a_path_is_relative_to_where_the_app_is_mounted(
    root: str, target: str, expected: str
) -> None:
    """Behind ``--root-path`` and inside a Mount, rules name the app's own routes."""
    assert canonical_path(scope_for(target, root=root)) == expected


def test_a_mounted_app_sees_the_path_its_router_sees() -> None:
    """Starlette leaves the mount's prefix in the path and says so in root_path."""
    seen: list[str | None] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(canonical_path(request.scope))
        return PlainTextResponse("")

    app = Starlette(routes=[Mount("/sub", routes=[Route("/hooks", endpoint)])])

    TestClient(app).get("/sub/hooks")

    assert seen == ["/hooks"]


RULES = PathRules(
    {"/hooks/*": "weak", "/hooks/admin": "strict", "/status": "weak", "/": "landing"},
    default="default",
    ambiguous="refuse",
    setting=SETTING,
)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/hooks", "weak"),
        ("/hooks/", "weak"),
        ("/hooks/a/b", "weak"),
        ("/hooks/A", "weak"),
        ("/hooks/admin", "strict"),
        ("/hooks/admin/", "strict"),
        ("/hooks/admin/x", "weak"),
        ("/status", "weak"),
        ("/status/", "weak"),
        ("/status/x", "default"),
        ("/", "landing"),
        ("/other", "default"),
        ("/hooksx", "default"),
        ("/hooks+", "default"),
        ("/hooks+x", "default"),
        ("/+hooks", "default"),
        ("/x/hooks", "default"),
        ("/HOOKS/x", "refuse"),
        ("/Status", "refuse"),
        ("/hooks/ADMIN", "refuse"),
        ("/hooks/adm\u0131n", "refuse"),
        ("//hooks", "refuse"),
        ("/other/../hooks", "refuse"),
        ("/hooks/%2e%2e/other", "refuse"),
        ("/hooks%2fother", "refuse"),
    ],
)
def test_the_longest_rule_wins_and_a_doubtful_path_gets_none(target: str, expected: str) -> None:
    """A strict rule below a weak one must hold in every spelling of its path."""
    assert RULES.of(scope_for(target)) == expected


def test_of_two_rules_with_a_star_the_longer_wins_in_any_order() -> None:
    """A strict corner of an open area stays strict, wherever it is written."""
    rules = {"/open/*": "weak", "/open/admin/*": "strict", "/*": "base"}

    for items in (list(rules.items()), list(rules.items())[::-1]):
        chosen = PathRules(dict(items), default="none", ambiguous="refuse", setting=SETTING)
        assert chosen.of(scope_for("/open/admin/x")) == "strict"
        assert chosen.of(scope_for("/open/x")) == "weak"
        assert chosen.of(scope_for("/x")) == "base"


def test_a_rule_over_everything_is_written_with_a_star() -> None:
    """``/`` is the landing page; only ``/*`` is the whole site."""
    everything = PathRules({"/*": 1}, default=0, ambiguous=2, setting=SETTING)

    assert [everything.of(scope_for(target)) for target in ("/", "/a/b", "/a//b")] == [1, 1, 2]


def test_without_rules_the_default_holds_for_every_path() -> None:
    """An app with one policy has nothing that an odd path could choose between."""
    none: PathRules[str] = PathRules({}, default="default", ambiguous="refuse", setting=SETTING)

    assert not none
    assert none.of(scope_for("/a//b")) == "default"


@pytest.mark.parametrize(
    "rule",
    [
        "hooks",
        "",
        "*",
        "/a/*/b",
        "/a*",
        "/hooks/",
        "/hooks//*",
        "/a/../b",
        "/a%2fb",
        "/a;b",
        "/a?x=1",
        "/a\u200db",
        "/a\r\nb",
        3,
    ],
)
def test_a_rule_that_could_never_match_is_refused_when_built(rule: Any) -> None:
    """A rule that silently matches nothing leaves its author sure of a policy that is not there."""
    with pytest.raises(ConfigError, match=r"test\.rules"):
        PathRules({rule: 1}, default=0, ambiguous=0, setting=SETTING)


def test_two_rules_that_differ_in_case_only_are_refused() -> None:
    """Which one a case-blind layer means cannot be known."""
    with pytest.raises(ConfigError, match="case only"):
        PathRules({"/a/*": 1, "/A/*": 2}, default=0, ambiguous=0, setting=SETTING)


def test_one_string_is_not_a_list_of_paths() -> None:
    """``exempt="/hooks"`` would exempt ``/``, ``h``, ``o`` and so on."""
    with pytest.raises(ConfigError, match="one string"):
        path_set("/hooks", setting=SETTING)


def test_a_path_set_opens_only_what_it_names() -> None:
    """Exempt lists and public paths are doors; doubt closes them."""
    opened = path_set(["/hooks/*"], setting=SETTING)

    assert opened.of(scope_for("/hooks/x")) is True
    assert opened.of(scope_for("/hooks/%2e%2e/x")) is False
    assert opened.of(scope_for("/Hooks/x")) is False


PIECES = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "\\",
        ";",
        "+",
        "%2b",
        "%20",
        "%00",
        "%252e",
        "%25",
        "?",
        "#",
        "hooks",
        "HOOKS",
        "admin",
        "Admin",
        "x",
        "\uff0e",
        "\uff0f",
        "%",
    ]
)
TARGETS = st.lists(PIECES, max_size=9).map(lambda pieces: "/" + "".join(pieces))


def readings(target: str) -> set[str]:
    """Return what proxies, file systems and frameworks make of *target*, in lower case."""
    found = set()
    for decode in (str, unquote, unquote_plus, lambda text: unquote(unquote(text))):
        for cut in (str, lambda text: text.partition(";")[0], lambda text: text.partition("?")[0]):
            path = cut(decode(target)).replace("\\", "/")
            found.add(posixpath.normpath("/" + path.lstrip("/")).lower())
    return found


@given(TARGETS)
@example("/hooks/%252e%252e/admin")
@example("/hooks/..;/admin")
@example("/hooks/x\\..\\..\\admin")
def test_no_reading_of_an_opened_path_lies_outside_the_rule(target: str) -> None:
    """The attacker writes one target; each layer reads it in its own way."""
    opened = path_set(["/hooks/*"], setting=SETTING)

    if opened.of(scope_for(target)):
        for reading in readings(target):
            assert reading == "/hooks" or reading.startswith("/hooks/")


@given(TARGETS)
def test_no_reading_of_a_target_escapes_a_strict_rule(target: str) -> None:
    """A strict rule above a loose default: whoever can be read as /admin is not served loosely."""
    rules = PathRules({"/admin/*": "strict"}, default="loose", ambiguous="strict", setting=SETTING)

    if rules.of(scope_for(target)) == "loose":
        for reading in readings(target):
            assert reading != "/admin"
            assert not reading.startswith("/admin/")


def test_the_readings_do_find_a_naive_prefix_match_out() -> None:
    """Control: the same oracle reports the leak of matching the decoded path by prefix."""
    target = "/hooks/%2e%2e/admin"

    assert unquote(target).startswith("/hooks")
    assert "/admin" in readings(target)
