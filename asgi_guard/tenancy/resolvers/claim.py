"""ClaimResolver: the tenant that the verified credential itself names."""

from __future__ import annotations

from asgi_guard.errors import ConfigError, TenantInvalidError
from asgi_guard.protocols import Principal, Scope

__all__ = ["ClaimResolver"]


class ClaimResolver:
    """Take the tenant from a claim of the verified credential.

    Args:
        claim: Name of the claim; a string, or an integer for integer ids. Where the credential
            has no such claim, the tenant it is bound to (`Principal.tenant_id`) counts.

    Raises:
        ConfigError: The name is empty.
    """

    def __init__(self, claim: str = "tenant_id") -> None:
        if not claim:
            raise ConfigError("ClaimResolver.claim", "is empty", "Name the claim.")
        self.claim = claim

    async def resolve(self, _scope: Scope, principal: Principal) -> str | None:
        """Return the claim.

        Raises:
            TenantInvalidError: The claim is neither a string nor an integer.
        """
        value = principal.claims.get(self.claim)
        if value is None:
            return principal.tenant_id
        if type(value) is int:
            return str(value)
        if type(value) is not str:
            raise TenantInvalidError("claim_not_text")
        return value
