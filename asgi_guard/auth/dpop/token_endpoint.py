"""The authorization server's side: tokens that are bound to the key of who asked for them.

For the token endpoint of a host, whatever framework it is written in (RFC 9449 sections 5, 6 and
10), in this order::

    client = authenticate the client; grant = look the code or refresh token up, do not take it yet
    binding = await endpoint.bind(scope, expected=grant.dpop_jkt)
    take the code, atomically
    token = await issuer.issue_access(..., claims=binding.claims)
    answer {"access_token": ..., "token_type": binding.token_type} with binding.headers

A proof is remembered last, so one that comes with a wrong code or client uses nothing up.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from asgi_guard._internal.asgi import client_of
from asgi_guard._internal.events import emit
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.auth.dpop.proof import DPoPProof
from asgi_guard.auth.dpop.refusal import refuse
from asgi_guard.auth.dpop.validator import DPoPValidator
from asgi_guard.errors import DPoPProofError, UnavailableError
from asgi_guard.protocols import Scope

__all__ = ["DPoPTokenEndpoint", "TokenBinding", "dpop_jkt", "oauth_error"]

_FIELD: Final = b"dpop"
_JKT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_BAD_REQUEST: Final = 400  # RFC 6749 section 5.2, which RFC 9449 section 5 extends


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBinding:
    """How the tokens of one request are bound.

    Args:
        thumbprint: Of the proof's key; None where the request brought no proof.
        headers: For the response: the next nonce, if there is one.
    """

    thumbprint: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    @property
    def token_type(self) -> str:
        """The ``token_type`` of the response (RFC 9449 section 5)."""
        return "Bearer" if self.thumbprint is None else "DPoP"

    @property
    def claims(self) -> dict[str, Any]:
        """The claims that bind an access token: ``cnf`` with ``jkt``, or none."""
        return {} if self.thumbprint is None else {"cnf": {"jkt": self.thumbprint}}

    def refresh_claims(self, *, public_client: bool) -> dict[str, Any]:
        """Return the claims of a refresh token.

        One of a public client is bound to the key, for whoever steals it has nothing else to
        show; a confidential client authenticates itself and may change its key (section 5).
        """
        return self.claims if public_client else {}


class DPoPTokenEndpoint:
    """Check the proof of a token request, and say how its tokens are bound.

    Args:
        validator: Of proofs for the token endpoint's own address.
        required: Refuse requests without a proof (``dpop_bound_access_tokens``, section 5.2).

    Each refusal leaves one event ``DPOP_REFUSED``.
    """

    def __init__(self, validator: DPoPValidator, *, required: bool = False) -> None:
        self._validator = validator
        self._required = required

    async def bind(
        self, scope: Scope, *, expected: str | None = None, required: bool | None = None
    ) -> TokenBinding:
        """Check the proof of one request and use it up; call it last before the grant is taken.

        Args:
            scope: Of the request to the token endpoint.
            expected: Thumbprint that the grant is bound to: ``dpop_jkt`` of the authorization
                request (section 10), or ``cnf.jkt`` of a public client's refresh token. A
                request for it without a proof is refused.
            required: Overrides the endpoint's own setting, e.g. for one client.

        Raises:
            DPoPProofError: No proof where one is needed, one that does not hold, another key than
                *expected*, or a proof that was used before. Answer with `oauth_error`.
            UnavailableError: Its use cannot be remembered.
        """
        needed = self._required if required is None else required
        try:
            return await self._bind(scope, expected, needed=needed)
        except (DPoPProofError, UnavailableError) as refusal:
            _report(refusal, scope)
            raise

    async def _bind(self, scope: Scope, expected: str | None, *, needed: bool) -> TokenBinding:
        shown = any(name == _FIELD for name, _ in scope["headers"])
        if not shown and not needed and expected is None:
            return TokenBinding()
        proof = await self._validator.validate(scope, bound_to=expected)
        return TokenBinding(thumbprint=proof.thumbprint, headers=self._headers(proof))

    def _headers(self, proof: DPoPProof) -> tuple[tuple[bytes, bytes], ...]:
        nonce = self._validator.next_nonce(proof)
        return () if nonce is None else ((b"dpop-nonce", nonce.encode()),)


def dpop_jkt(value: str | None, *, proof: DPoPProof | None = None) -> str | None:
    """Return the thumbprint to keep with an authorization code (RFC 9449 section 10).

    Args:
        value: The ``dpop_jkt`` parameter of the authorization request; None if it has none.
        proof: Of a pushed authorization request, if that brought one (section 10.1).

    Raises:
        DPoPProofError: *value* is no thumbprint, or another one than the proof's.
    """
    if value is not None and not _JKT.fullmatch(value):
        refuse("dpop_jkt_malformed")
    if proof is None:
        return value
    if value is not None and value != proof.thumbprint:
        refuse("proof_key_mismatch")
    return proof.thumbprint


def oauth_error(refusal: DPoPProofError) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and JSON body of the token endpoint's answer (section 5 and 8)."""
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    headers |= {name.decode(): value.decode() for name, value in refusal.headers}
    return _BAD_REQUEST, headers, json.dumps({"error": refusal.code}).encode()


def _report(refusal: DPoPProofError | UnavailableError, scope: Scope) -> None:
    emit(
        "DPOP_REFUSED",
        outcome="denied" if isinstance(refusal, DPoPProofError) else "error",
        reason=refusal.reason,
        details={"code": refusal.code},
        request_id=request_id_of(scope),
        client=client_of(scope),
    )
    refusal.reported = True
