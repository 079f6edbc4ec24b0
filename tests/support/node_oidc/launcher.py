"""Start, steer and stop panva's ``oidc-provider``."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.support.node_install import installed_node_parts

__all__ = ["OIDCProvider", "node_oidc_parts", "running_oidc_provider"]

_SECONDS = 30


def node_oidc_parts() -> Path:
    """Return the folder with ``oidc-provider``, ``openid-client`` and our scripts for them."""
    return installed_node_parts(Path(__file__).parent, "node-oidc")


class OIDCProvider:
    """A provider that answers; its authorization, token and other endpoints are in discovery."""

    def __init__(self, process: subprocess.Popen[str], issuer: str) -> None:
        self.issuer = issuer
        self._process = process

    @property
    def discovery(self) -> str:
        """The address of its metadata (OpenID Connect Discovery 1.0 section 4)."""
        return f"{self.issuer}/.well-known/openid-configuration"

    def rotate_keys(self, *, keep_old: bool = False) -> list[str]:
        """Sign with new keys from now on; return the ``kid`` of all in the JWKS, newest first."""
        kids: list[str] = self._command("rotate_keys", keep_old=keep_old)["kids"]
        return kids

    def log_in_as(self, account: str) -> None:
        """Choose who is sitting at the keyboard for the logins to come.

        A ``login_hint`` in the request wins over it; an existing session at the provider over
        both. Somebody called ``refuses`` denies access.
        """
        self._command("log_in_as", account=account)

    def calls(self) -> list[str]:
        """Return the requests since the last time, as ``"POST /token"``."""
        calls: list[str] = self._command("calls")["calls"]
        return calls

    def _command(self, command: str, **options: Any) -> dict[str, Any]:
        return _exchange(self._process, {"command": command, **options})


@contextmanager
def running_oidc_provider(
    *,
    clients: Iterable[Mapping[str, Any]],
    account: str = "alice",
    claims: Mapping[str, Mapping[str, Any]] | None = None,
    algorithms: Iterable[str] = ("RS256",),
    scopes: Iterable[str] = ("email", "profile"),
    resources: Mapping[str, Mapping[str, str]] | None = None,
    default_resource: str | None = None,
    require_pkce: bool = True,
    dpop_nonce: bool = False,
    dpop_algorithms: Iterable[str] = ("ES256", "EdDSA", "Ed25519"),
) -> Iterator[OIDCProvider]:
    """Run a provider until the block ends.

    Args:
        clients: Client metadata (OpenID Connect Dynamic Client Registration 1.0 section 2), e.g.
            ``client_id``, ``client_secret``, ``redirect_uris``, ``grant_types``,
            ``post_logout_redirect_uris``, ``backchannel_logout_uri``,
            ``dpop_bound_access_tokens``.
        account: Who logs in, at once and without a page: the ``sub``.
        claims: Further claims by ``sub``; each person has ``email``, ``email_verified``, ``name``.
        algorithms: Of its signing keys: RS256, PS256, ES256, EdDSA; the first is the default.
        scopes: Besides ``openid`` and ``offline_access``.
        resources: By resource indicator (RFC 8707), for which access tokens are JWTs:
            ``{"https://api.example.com": {"scope": "read write", "algorithm": "ES256"}}``.
        default_resource: Which one a request without ``resource`` means; the userinfo endpoint
            takes no tokens for a resource.
        require_pkce: Refuse codes that are asked for without ``code_challenge``.
        dpop_nonce: Ask for a nonce in DPoP proofs (RFC 9449 section 8).
        dpop_algorithms: That DPoP proofs may be signed with.
    """
    settings = {
        "clients": [dict(each) for each in clients],
        "account": account,
        "claims": dict(claims or {}),
        "algorithms": list(algorithms),
        "scopes": list(scopes),
        "resources": dict(resources or {}),
        "default_resource": default_resource,
        "require_pkce": require_pkce,
        "dpop_nonce": dpop_nonce,
        "dpop_algorithms": list(dpop_algorithms),
    }
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            ["node", "server.mjs"],
            cwd=node_oidc_parts(),
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            yield OIDCProvider(process, _started(process, settings, log))
        finally:
            process.terminate()
            process.communicate(timeout=_SECONDS)


def _started(process: subprocess.Popen[str], settings: Mapping[str, Any], log: IO[str]) -> str:
    try:
        issuer: str = _exchange(process, settings)["issuer"]
    except (OSError, ValueError):
        log.seek(0)
        raise AssertionError(f"oidc-provider did not start:\n{log.read()[-2000:]}") from None
    return issuer


def _exchange(process: subprocess.Popen[str], message: Mapping[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer
