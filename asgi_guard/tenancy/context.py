"""UserExecutionContext: who a piece of code runs for. Frozen, and narrowable only.

It is a tuple underneath: a slots class without a tuple still yields to ``object.__setattr__``,
and a frozen dataclass costs four times as much to build, once per request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, NoReturn, Self, SupportsIndex

from asgi_guard.errors import ConfigError, ExpansionError

__all__ = ["UserExecutionContext"]

_NUMBERS = frozenset({int, float})  # a bool is no time


class _Fields(NamedTuple):
    tenant_id: str
    user_id: str
    session_id: str | None
    request_id: str | None
    roles: frozenset[str]
    scopes: frozenset[str]
    auth_method: str
    operation: str
    trace_id: str | None
    issued_at: float | None
    expires_at: float | None
    parent: UserExecutionContext | None
    client: str | None


class UserExecutionContext(_Fields):
    """The tenant and user that code runs for, and what they may do.

    Args:
        tenant_id: The proven tenant, in canonical spelling; required.
        user_id: The proven user; required.
        session_id: Server-side session, if any.
        request_id: The request that began this, for logs.
        roles: Roles of the user in this tenant.
        scopes: OAuth scopes of the credential (RFC 6749 section 3.3).
        auth_method: How the user was authenticated, e.g. ``"bearer"``.
        operation: What is being done, e.g. ``"notes.list"``; for logs and errors.
        trace_id: Trace that this belongs to.
        issued_at: Unix seconds.
        expires_at: Unix seconds after which the credential behind it must not be used.
        parent: The wider context that this one was narrowed from.
        client: Client address as the server saw it.

    Raises:
        ConfigError: A required field is missing or a field has the wrong type.
        ExpansionError: It names another user or tenant than *parent*, or more than it has.

    Copies are the object itself; pickling is refused. It guards against mistakes, not against
    code in this process that means harm: such code can build any context it likes.
    """

    __slots__ = ()

    def __new__(
        cls,
        *,
        tenant_id: str,
        user_id: str,
        session_id: str | None = None,
        request_id: str | None = None,
        roles: Iterable[str] = frozenset(),
        scopes: Iterable[str] = frozenset(),
        auth_method: str = "unspecified",
        operation: str = "",
        trace_id: str | None = None,
        issued_at: float | None = None,
        expires_at: float | None = None,
        parent: UserExecutionContext | None = None,
        client: str | None = None,
    ) -> Self:
        """Check the ids and the end that everything else rests on, and freeze the rest."""
        if type(tenant_id) is not str or not tenant_id:
            raise _not_an_id("tenant_id", tenant_id)
        if type(user_id) is not str or not user_id:
            raise _not_an_id("user_id", user_id)
        if expires_at is not None and type(expires_at) not in _NUMBERS:
            raise ConfigError("expires_at", "is not a number", "Pass Unix seconds, or None.")
        made: Self = tuple.__new__(
            cls,
            (
                tenant_id,
                user_id,
                session_id,
                request_id,
                roles if type(roles) is frozenset else _names("roles", roles),
                scopes if type(scopes) is frozenset else _names("scopes", scopes),
                auth_method,
                operation,
                trace_id,
                issued_at,
                expires_at,
                parent,
                client,
            ),
        )
        if parent is not None:
            _check_narrower(made, parent)
        return made

    def child(
        self,
        operation: str,
        *,
        roles: Iterable[str] | None = None,
        scopes: Iterable[str] | None = None,
        expires_at: float | None = None,
    ) -> UserExecutionContext:
        """Return a context for one *operation* of this one: same tenant, same user, never more.

        Args:
            operation: Name of the narrower operation.
            roles: Roles to keep; None keeps all.
            scopes: Scopes to keep; None keeps all.
            expires_at: An earlier end, Unix seconds; None keeps this one's.

        Raises:
            ExpansionError: A role or scope was named that this context does not have, or a
                later end.
        """
        return UserExecutionContext(
            tenant_id=self.tenant_id,
            user_id=self.user_id,
            session_id=self.session_id,
            request_id=self.request_id,
            roles=self.roles if roles is None else roles,
            scopes=self.scopes if scopes is None else scopes,
            auth_method=self.auth_method,
            operation=operation,
            trace_id=self.trace_id,
            issued_at=self.issued_at,
            expires_at=self.expires_at if expires_at is None else expires_at,
            parent=self,
            client=self.client,
        )

    def same_identity(self, other: UserExecutionContext) -> bool:
        """Tell whether *other* runs for the same user of the same tenant."""
        return self.tenant_id == other.tenant_id and self.user_id == other.user_id

    def __repr__(self) -> str:
        return (
            f"UserExecutionContext(tenant_id={self.tenant_id!r}, user_id={self.user_id!r}, "
            f"operation={self.operation!r}, request_id={self.request_id!r})"
        )

    def _replace(self, **_changes: Any) -> NoReturn:
        """Refuse the tuple's way of editing: a context is narrowed by `child`, or made anew."""
        raise ExpansionError("a context is not edited; use child(operation)")

    __replace__ = _replace  # copy.replace, Python 3.13

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> NoReturn:  # type: ignore[override]  # noqa: ARG003
        """Refuse the tuple's unchecked way of building."""
        raise ExpansionError("a context is built by its constructor, which checks it")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse pickling: a context that arrives from a queue unsigned could name anyone."""
        raise TypeError("a UserExecutionContext is not pickled; send its ids and prove them again")


def _check_narrower(child: UserExecutionContext, parent: UserExecutionContext) -> None:
    if not isinstance(parent, UserExecutionContext):
        raise ConfigError("parent", f"is a {type(parent).__name__}", "Pass a UserExecutionContext.")
    if not parent.same_identity(child):
        raise ExpansionError("a child context cannot change tenant or user")
    if not child.roles <= parent.roles or not child.scopes <= parent.scopes:
        raise ExpansionError(f"{child.operation}: a child context cannot add roles or scopes")
    if parent.expires_at is None:
        return
    if child.expires_at is None or child.expires_at > parent.expires_at:
        raise ExpansionError(f"{child.operation}: a child context cannot outlive its parent")


def _not_an_id(field: str, value: object) -> ConfigError:
    if type(value) is str:
        return ConfigError(field, "is empty", "Pass the id.")
    return ConfigError(field, f"is a {type(value).__name__}, not a string", f"Pass str({field}).")


def _names(field: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise ConfigError(field, "is one string", f"Pass a set of {field}, e.g. {{{names!r}}}.")
    return frozenset(names)
