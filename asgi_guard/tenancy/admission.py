"""Admission: the steps from a connection to the context it may run under, or to a refusal.

The order is the point. Nobody is told anything about a tenant before they have said who they
are; nothing is looked up before its shape is right; and the look-up is made whether or not the
credential agrees, so that a refusal takes the same steps whatever is behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asgi_guard._internal.asgi import client_of
from asgi_guard._internal.principal import challenges_of, principal_of
from asgi_guard.errors import (
    AuthenticationError,
    RejectionError,
    TenantAccessError,
    TenantMissingError,
    UnavailableError,
)
from asgi_guard.protocols import Clock, Principal, Scope
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.membership import Membership, Memberships
from asgi_guard.tenancy.policy import access_refusal
from asgi_guard.tenancy.resolvers.protocol import TenantResolver
from asgi_guard.tenancy.tenant_id import TenantIdShape
from asgi_guard.tenancy.trace import trace_id_of

__all__ = ["Admission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """How connections are admitted; one per middleware.

    Args:
        resolver: Reads the tenant that a connection names.
        memberships: What a user is in a tenant; None if the credential alone decides.
        tenant_shape: What a tenant id looks like.
        refusal: The one error for every tenant that may not be entered.
        operation: Names what a connection does, for the context.
        clock: Where "now" comes from.
    """

    resolver: TenantResolver
    memberships: Memberships | None
    tenant_shape: TenantIdShape
    refusal: type[TenantAccessError]
    operation: Callable[[Scope], str]
    clock: Clock

    def identify(self, scope: Scope) -> Principal:
        """Return who the connection's credential speaks for.

        Raises:
            AuthenticationError: It carries none, or one that has run out since it was verified.
        """
        principal = principal_of(scope)
        if principal is None:
            # RFC 6750 section 3: no error code when the request carried no credential at all.
            raise AuthenticationError("no_credential", headers=challenges_of(scope))
        if not principal.user_id:
            again = challenges_of(scope, refused=True)
            raise AuthenticationError("principal_without_user", headers=again)
        end = principal.expires_at
        if end is not None and not self.clock.now() < end:
            again = challenges_of(scope, refused=True)
            raise AuthenticationError("credential_expired", headers=again)
        return principal

    async def name(self, scope: Scope, principal: Principal) -> str:
        """Return the tenant that the connection names, in its canonical spelling.

        Raises:
            TenantMissingError: It names none.
            TenantInvalidError: It names what cannot be a tenant.
            TenantAccessError: It names two.
            UnavailableError: The resolver failed.
        """
        try:
            named = await self.resolver.resolve(scope, principal)
        except TenantAccessError as disagreement:
            raise self.refusal(disagreement.reason) from None
        except (RejectionError, UnavailableError):
            raise
        except Exception as failure:
            raise UnavailableError("resolver_failed") from failure
        if named is None:
            raise TenantMissingError("tenant_not_named")
        return self.tenant_shape.parse(named)

    async def admit(
        self, scope: Scope, principal: Principal, tenant_id: str, request_id: str
    ) -> UserExecutionContext:
        """Return the context of *principal* in *tenant_id*.

        Raises:
            TenantAccessError: It may not act there; the reason is for the event alone.
            UnavailableError: The membership cannot be looked up.
        """
        membership = await self._membership(principal.user_id, tenant_id)
        reason = access_refusal(
            principal, tenant_id, membership, credential_suffices=self.memberships is None
        )
        if reason is not None:
            raise self.refusal(reason)
        own_roles = frozenset(membership.roles) if membership is not None else frozenset()
        return UserExecutionContext(
            tenant_id=tenant_id,
            user_id=principal.user_id,
            session_id=principal.session_id,
            request_id=request_id,
            roles=principal.roles | own_roles,
            scopes=principal.scopes,
            auth_method=principal.auth_method,
            operation=self.operation(scope),
            trace_id=trace_id_of(scope),
            issued_at=principal.issued_at,
            expires_at=principal.expires_at,
            client=client_of(scope),
        )

    async def _membership(self, user_id: str, tenant_id: str) -> Membership | None:
        if self.memberships is None:
            return None
        try:
            membership = await self.memberships.lookup(user_id, tenant_id)
        except UnavailableError:
            raise
        except Exception as failure:
            raise UnavailableError("memberships_unreachable") from failure
        if membership is not None and not isinstance(membership, Membership):
            raise UnavailableError("membership_malformed")
        return membership
