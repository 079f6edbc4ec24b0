"""How a principal looks to Starlette: ``request.user``, ``request.auth`` and ``@requires``."""

from __future__ import annotations

from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser

from asgi_guard.protocols import Principal

__all__ = ["PrincipalUser", "starlette_view"]


class PrincipalUser(BaseUser):
    """A principal as Starlette's user.

    Args:
        principal: Who the credential speaks for.
    """

    __slots__ = ("principal",)

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    @property
    def is_authenticated(self) -> bool:
        """True: there is one only for a verified credential."""
        return True

    @property
    def display_name(self) -> str:
        """The user's id; a credential need not hold a name."""
        return self.principal.user_id

    @property
    def identity(self) -> str:
        """The user's id."""
        return self.principal.user_id


def starlette_view(principal: Principal | None) -> tuple[BaseUser, AuthCredentials]:
    """Return what Starlette keeps in ``scope["user"]`` and ``scope["auth"]``.

    By Starlette's convention ``@requires("authenticated")`` asks for any user at all; the other
    names are the credential's OAuth scopes. Roles are of a tenant and are in the context instead.
    """
    if principal is None:
        return UnauthenticatedUser(), AuthCredentials()
    return PrincipalUser(principal), AuthCredentials(["authenticated", *sorted(principal.scopes)])
