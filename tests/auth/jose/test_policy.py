"""JwtPolicy: one value that services share, and can prove to share."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.jose import JwtPolicy
from asgi_guard.errors import ConfigError
from tests.support.jose_tokens import AUDIENCE, ISSUER, policy


def test_the_defaults_are_the_strict_ones() -> None:
    """RS256, ten minutes, thirty seconds, RFC 9068's claims, 16 KiB."""
    found = JwtPolicy(issuer=ISSUER, audience=AUDIENCE)

    assert found.algorithms == ("RS256",)
    assert (found.access_lifetime, found.id_lifetime) == (600, 300)
    assert (found.refresh_lifetime, found.skew) == (14 * 86_400, 30)
    assert found.longest_token == 16 * 1024
    assert found.required_claims == ("client_id", "iat", "jti", "sub")
    assert not found.insecure_untyped_access
    assert not found.insecure_any_lifetime


def test_two_spellings_of_one_policy_are_equal_and_hash_alike() -> None:
    """Services compare the hash; the order in which somebody typed a tuple must not matter."""
    one = policy(algorithms=("ES256", "Ed25519", "RS256"), skew=30, types=("id", "access"))
    two = policy(algorithms=("RS256", "ES256", "EdDSA", "ES256"), skew=30.0, types=["access", "id"])

    assert one == two
    assert hash(one) == hash(two)
    assert one.sha256 == two.sha256
    assert one.to_json() == two.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://id.example/"},
        {"audience": "other"},
        {"algorithms": ("ES256",)},
        {"types": ("access", "id")},
        {"access_lifetime": 601},
        {"id_lifetime": 301},
        {"refresh_lifetime": 60},
        {"logout_lifetime": 60},
        {"skew": 29},
        {"required_claims": ("sub",)},
        {"tenant_claim": "org"},
        {"roles_claim": "groups"},
        {"longest_token": 8192},
        {"insecure_untyped_access": True},
        {"insecure_any_lifetime": True},
    ],
    ids=str,
)
def test_any_difference_changes_the_hash(change: dict[str, Any]) -> None:
    """Control: a hash that leaves a field out would prove an agreement that is none."""
    assert policy(**change).sha256 != policy().sha256
    assert policy(**change) != policy()


def test_it_survives_export_and_pickle() -> None:
    """The file that one service writes is the policy of the next."""
    original = policy(types=("access", "refresh"), skew=12.5)

    assert JwtPolicy.from_json(original.to_json()) == original
    assert JwtPolicy.from_json(original.to_json().encode()).sha256 == original.sha256
    assert pickle.loads(pickle.dumps(original)).sha256 == original.sha256  # noqa: S301 - ours
    assert len(original.sha256) == 64


def exported(**changes: Any) -> str:
    """Return an export with members changed; None takes one out."""
    members = {**json.loads(policy().to_json()), **changes}
    return json.dumps({name: value for name, value in members.items() if value is not None})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        exported(version=2),
        exported(version=None),
        exported(skew=None),
        exported(allow_none=True),
        exported(issuer=""),
        exported(issuer=7),
        exported(algorithms="RS256"),
        exported(algorithms=["none"]),
        exported(algorithms=[["RS256"]]),
        exported(algorithms=7),
        exported(skew="30"),
        exported(access_lifetime=600.5),
        exported(access_lifetime=True),
        exported(insecure_untyped_access=1),
        policy().to_json()[:-1] + ',"skew":0}',
        policy().to_json().replace('"skew":30', '"skew":NaN'),
    ],
)
def test_an_export_that_was_altered_is_refused(text: str) -> None:
    """A rule that is not understood must not be dropped in silence."""
    with pytest.raises(ConfigError):
        JwtPolicy.from_json(text)


@given(st.text() | st.binary())
def test_any_text_is_a_policy_or_our_error(text: str | bytes) -> None:
    """A file in its place must not take the start-up down with something else."""
    with pytest.raises(ConfigError):
        JwtPolicy.from_json(text)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("issuer", ""),
        ("issuer", "https://id.example\n"),
        ("audience", None),
        ("audience", ("a", "b")),
        ("algorithms", ()),
        ("algorithms", ("none",)),
        ("algorithms", ("rs256",)),
        ("algorithms", ("HS256", "RS256")),
        ("types", ()),
        ("types", ("dpop",)),
        ("types", "access"),
        ("access_lifetime", 0),
        ("access_lifetime", 86_401),
        ("refresh_lifetime", 31 * 86_400),
        ("skew", -1),
        ("skew", 301),
        ("skew", float("nan")),
        ("longest_token", 16 * 1024 + 1),
        ("required_claims", "sub"),
        ("tenant_claim", ""),
    ],
)
def test_a_policy_that_would_accept_anyones_token_is_refused_when_built(
    setting: str, value: Any
) -> None:
    """The setting is named, so that the developer finds it."""
    with pytest.raises(ConfigError) as caught:
        policy(**{setting: value})
    assert caught.value.setting == setting


def test_it_cannot_be_changed() -> None:
    """Whoever holds it may rely on what it said."""
    with pytest.raises(AttributeError):
        policy().skew = 300  # type: ignore[misc]
