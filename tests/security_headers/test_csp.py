"""The builder of Content-Security-Policy."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers import NONCE, ContentSecurityPolicy
from asgi_guard.security_headers.csp_directives import DIRECTIVES

SHA = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


@pytest.mark.parametrize(
    ("directives", "correction"),
    [
        ({"scriptsrc": ["'self'"]}, "Did you mean 'script-src'"),
        ({"script_src": ["'self'"]}, "Did you mean 'script-src'"),
        ({"Script-Src": ["'self'"]}, "Did you mean 'script-src'"),
        ({"xyz": ["'self'"]}, "CSP Level 3"),
        ({"block-all-mixed-content": []}, "upgrade-insecure-requests"),
        ({"script-src": ["self"]}, "Write \"'self'\""),
        ({"script-src": ["unsafe-inline"]}, "Write \"'unsafe-inline'\""),
        ({"script-src": ["none"]}, "Write \"'none'\""),
        ({"script-src": ["'selv'"]}, "Did you mean \"'self'\""),
        ({"script-src": ["'SELF'"]}, "Did you mean \"'self'\""),
        ({"script-src": ["nonce-abc"]}, "NONCE"),
        ({"script-src": ["'nonce-abc'"]}, "NONCE"),
        ({"script-src": [SHA.strip("'")]}, "single quotes inside"),
        ({"script-src": ["'sha256-abc'"]}, "hash_inline"),
        ({"script-src": ["'sha256-AAAA'"]}, "32 bytes"),
        ({"script-src": ["https"]}, "Write 'https:'"),
        ({"img-src": ["data"]}, "Write 'data:'"),
        ({"script-src": ["https://a.example https://b.example"]}, r"\['https://a.example', 'ht"),
        ({"script-src": ["'self'; img-src *"]}, r"[Ww]rite \[\"'self'\", 'img-src', '\*'\]"),
        ({"script-src": ["https://a.example,"]}, r"\['https://a.example'\]"),
        ({"script-src": ["https://a.example\r\nset-cookie: a=b"]}, "end a source"),
        ({"script-src": [" "]}, "'none'"),
        ({"script-src": ["https://a.example/?q=1"]}, "query or fragment"),
        ({"script-src": ["https://a.example/'nonce'"]}, "no source"),
        ({"script-src": ["https://[::1]"]}, "IPv6"),
        ({"script-src": ["https://bücher.example"]}, "punycode"),
        ({"script-src": ["*.*.example"]}, "no source"),
        ({"script-src": ["a\x00b"]}, "no source"),
        ({"script-src": [""]}, "no source"),
        ({"script-src": [None]}, "no source"),
        ({"script-src": None}, "no list"),
        ({"script-src": "'self' https:"}, r"\[\"'self'\", 'https:'\]"),
        ({"script-src": []}, "'none'"),
        ({"script-src": ["'none'", "https://a.example"]}, r"\['https://a.example'\]"),
        ({"script-src": ["'strict-dynamic'"]}, "NONCE"),
        ({"script-src": ["'strict-dynamic'", "https:"]}, "without a nonce or hash"),
        ({"img-src": [NONCE]}, "no effect"),
        ({"img-src": [SHA]}, "no effect"),
        ({"script-src-attr": [NONCE]}, "unsafe-hashes"),
        ({"frame-ancestors": ["'unsafe-inline'"]}, "no effect"),
        ({"upgrade-insecure-requests": ["1"]}, "no value"),
        ({"sandbox": ["allow-script"]}, "Did you mean 'allow-scripts'"),
        ({"report-to": ["a", "b"]}, "one endpoint"),
        ({"report-to": []}, "one endpoint"),
        ({"report-uri": []}, "no place"),
        ({"report-uri": ["http://r.example"]}, "https"),
        ({"require-trusted-types-for": ["script"]}, "no sink"),
        ({"trusted-types": ["'none'", "a"]}, "'none'"),
        ({"trusted-types": ["a;b"]}, "policy name"),
        ({}, "no directive"),
        ("default-src 'none'", "no directive"),
    ],
)
def test_a_policy_browsers_would_misread_is_refused_with_the_correction(
    directives: Any, correction: str
) -> None:
    """Browsers skip what they do not understand: a typing error is a missing wall."""
    with pytest.raises(ConfigError, match=correction):
        ContentSecurityPolicy(directives)


@pytest.mark.parametrize(
    "text",
    [
        "default-src 'none'; script-src 'self' https://cdn.example:8443/lib/ 'report-sample'",
        f"script-src {SHA} 'strict-dynamic' https: 'unsafe-inline'",
        "img-src * data: blob:; connect-src wss://*.example.com:*; sandbox",
        "sandbox allow-forms allow-scripts; trusted-types 'none'; upgrade-insecure-requests",
        "trusted-types a b 'allow-duplicates'; require-trusted-types-for 'script'",
        "frame-ancestors 'self' https://partner.example; form-action 'self'; base-uri 'none'",
        "script-src 'wasm-unsafe-eval' localhost:3000 127.0.0.1",
        "report-uri /r https://r.example/x; report-to csp",
    ],
)
def test_a_valid_policy_reads_back_as_it_was_written(text: str) -> None:
    """People migrate by pasting the header they have."""
    policy = ContentSecurityPolicy.parse(text)

    assert str(policy) == text
    assert ContentSecurityPolicy(policy.directives) == policy
    assert eval(repr(policy)) == policy  # noqa: S307 - our own repr
    assert len({policy, ContentSecurityPolicy.parse(text)}) == 1


@pytest.mark.parametrize(
    "text", ["img-src 'self'; img-src *", "default-src 'none', script-src *", ";", ""]
)
def test_a_header_text_with_two_meanings_is_refused(text: str) -> None:
    """Browsers take the first of two directives; whoever wrote the second expects it to count."""
    with pytest.raises(ConfigError):
        ContentSecurityPolicy.parse(text)


@pytest.mark.parametrize(
    ("sources", "bare"),
    [
        ([NONCE], "'none'"),
        ([NONCE, "'strict-dynamic'"], "'none'"),
        ([NONCE, "'strict-dynamic'", "'report-sample'"], "'none'"),
        ([NONCE, "'unsafe-inline'"], "'none'"),
        ([NONCE, "'self'", "'unsafe-inline'"], "'self'"),
        ([NONCE, "'strict-dynamic'", "https:", "'unsafe-inline'"], "'strict-dynamic' https:"),
        ([NONCE, SHA, "'strict-dynamic'"], f"{SHA} 'strict-dynamic'"),
    ],
)
def test_a_page_without_a_nonce_gets_nothing_that_the_nonce_had_switched_off(
    sources: list[str], bare: str
) -> None:
    """Beside a nonce 'unsafe-inline' and hosts are inert; alone they would come to life."""
    rendered = ContentSecurityPolicy({"script-src": sources}).render(https=True)

    assert rendered.without_nonce.decode() == f"script-src {bare}"


def test_upgrading_is_left_out_over_http_and_where_nothing_is_enforced() -> None:
    """Safari upgrades http://localhost too, and report-only policies warn in the console."""
    policy = ContentSecurityPolicy({"img-src": ["*"], "upgrade-insecure-requests": []})

    assert policy.render(https=False).without_nonce == b"img-src *"
    assert policy.render(https=True, report_only=True).without_nonce == b"img-src *"
    assert policy.render(https=True).without_nonce == b"img-src *; upgrade-insecure-requests"


def test_directives_are_taken_out_with_none() -> None:
    """A preset's directive may be wrong for one app."""
    policy = ContentSecurityPolicy({"img-src": ["*"], "base-uri": ["'none'"]})

    assert str(policy.replaced({"img-src": None})) == "base-uri 'none'"


_labels = st.text(alphabet="ab9", min_size=1, max_size=4)
_hosts = st.builds("{}{}.{}".format, st.sampled_from(["", "*."]), _labels, _labels)
_valid_sources = st.one_of(
    st.sampled_from(["'self'", "https:", "data:", "blob:", "*", "'unsafe-inline'", SHA, NONCE]),
    _hosts,
    _hosts.map("https://{}".format),
    st.tuples(_hosts, st.integers(1, 65535)).map(lambda each: f"{each[0]}:{each[1]}"),
)
_valid_policies = st.dictionaries(
    st.sampled_from(["default-src", "script-src", "style-src", "script-src-elem"]),
    st.lists(_valid_sources, min_size=1, unique=True),
    min_size=1,
)


@given(_valid_policies)
def test_every_policy_that_is_built_survives_the_wire(directives: dict[str, list[str]]) -> None:
    """What is sent must parse back to what was asked for: nothing lost, nothing merged."""
    policy = ContentSecurityPolicy(directives)

    assert ContentSecurityPolicy.parse(str(policy)).directives == {
        name: tuple(sources) for name, sources in directives.items()
    }


@given(_valid_policies, st.text(alphabet=string.ascii_letters + "-_", min_size=24, max_size=24))
def test_the_nonce_lands_in_each_list_that_names_it_and_nowhere_else(
    directives: dict[str, list[str]], nonce: str
) -> None:
    """One list too few blocks the page; one too many is a hole."""
    cut = ContentSecurityPolicy(directives).render(https=True).around_nonce

    sent = nonce.encode().join(cut).decode()

    assert sent.split("; ") == [
        " ".join([name, *(f"'nonce-{nonce}'" if each == NONCE else each for each in sources)])
        for name, sources in directives.items()
    ]


@given(_valid_policies)
def test_a_page_without_a_nonce_is_never_allowed_more(directives: dict[str, list[str]]) -> None:
    """The bare form may only lose sources of the list that had the nonce."""
    bare = ContentSecurityPolicy(directives).render(https=True).without_nonce.decode()

    for part in bare.split("; "):
        name, *sources = part.split()
        assert set(sources) <= {*directives[name], "'none'"}
        if NONCE in directives[name]:
            assert "'unsafe-inline'" not in sources
            assert not any("nonce" in source for source in sources)


@given(
    st.sampled_from(sorted(DIRECTIVES)),
    st.lists(st.text(max_size=30), max_size=3),
)
def test_whatever_text_is_given_the_header_stays_one_directive(
    name: str, sources: list[str]
) -> None:
    """A source from a database must not end the line, the policy or the directive (CWE-113)."""
    try:
        policy = ContentSecurityPolicy({name: sources})
    except ConfigError:
        return
    sent = str(policy)

    assert sent.isascii()
    assert sent.isprintable()
    assert not set(sent) & {";", ","}
    assert sent.split(" ") == [name, *dict.fromkeys(sources)]
