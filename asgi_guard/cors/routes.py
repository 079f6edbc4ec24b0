"""Which policy holds for a request: an endpoint's own, its path's, or the general one.

The middleware sits outside the router, where a path has been matched by nobody yet. Path rules
therefore read the path as `PathRules` does: one reading or no grant. Decorated endpoints are found
by asking the app's own routes, the ones that will serve the request, and compared with the
endpoint that did: where the two differ, nothing is granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from asgi_guard._internal.canonical_path import PathRules
from asgi_guard.cors.policy import CORSPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.origins import Finding, OriginDecision
from asgi_guard.protocols import ASGIApp, Scope

__all__ = ["NO_GRANT", "PolicyChooser", "cors_policy"]

_E = TypeVar("_E", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__asgi_guard_cors_policy__"
_DEEPEST: Final = 50
_marks = 0


class _Nobody:
    """Lets nobody in, because it is not certain what is addressed."""

    uniform = False
    _DECISION = OriginDecision(False, "ambiguous_path")

    def decide_nowait(self, origin: bytes | None, scope: Scope) -> OriginDecision:  # noqa: ARG002
        return self._DECISION

    async def decide(self, origin: bytes | None, scope: Scope) -> OriginDecision:
        return self.decide_nowait(origin, scope)

    def require_credential_safe(self, setting: str) -> None:
        """Nobody is always safe."""

    def lint(self) -> tuple[Finding, ...]:
        return ()


NO_GRANT: Final = CORSPolicy(allow_origins=_Nobody())


def cors_policy(policy: CORSPolicy) -> Callable[[_E], _E]:
    """Give one endpoint a policy of its own, for Starlette and FastAPI apps.

    Args:
        policy: Holds instead of the general one; it has no routes of its own.

    Raises:
        ConfigError: *policy* is not a `CORSPolicy` without routes.

    The endpoint itself is returned. Other frameworks name the path in ``CORSPolicy.routes``.
    """
    if not isinstance(policy, CORSPolicy) or policy.routes:
        raise ConfigError("cors_policy", "got no policy without routes", "Pass a CORSPolicy.")

    def mark(endpoint: _E) -> _E:
        global _marks  # noqa: PLW0603 - lets apps that mark nothing skip the search
        _marks += 1
        setattr(endpoint, _ATTRIBUTE, policy)
        return endpoint

    return mark


class PolicyChooser:
    """Finds the policy of each request.

    Args:
        policy: The general one, with its path rules.
        app: Searched for routes through its ``app`` attributes.
        routes: The routes to search instead.

    Raises:
        ConfigError: A path rule could never match.
    """

    def __init__(
        self, policy: CORSPolicy, app: ASGIApp, routes: Iterable[Any] | None = None
    ) -> None:
        self._by_path: PathRules[CORSPolicy] = PathRules(
            policy.routes, default=policy, ambiguous=NO_GRANT, setting="cors.routes"
        )
        self._general = policy
        self._app, self._given = app, routes
        self._by_path_used = bool(self._by_path)

    @property
    def single(self) -> bool:
        """Tell whether every request has the general policy."""
        return not self._by_path_used and not _marks

    def policy_for(self, scope: Scope, method: str) -> CORSPolicy:
        """Return the policy of a request, or of the one that a preflight asks about."""
        by_path = self._by_path.of(scope) if self._by_path_used else self._general
        if by_path is NO_GRANT or not _marks:
            return by_path
        try:
            endpoint = _endpoint(self._routes(scope), {**scope, "method": method}, 0)
        except Exception:  # noqa: BLE001 - a path convertor is foreign code; fail closed
            return NO_GRANT
        found: CORSPolicy = getattr(endpoint, _ATTRIBUTE, by_path)
        return found

    def confirms(self, scope: Scope, policy: CORSPolicy) -> bool:
        """Tell whether the endpoint that served *scope* agrees with *policy*."""
        if not _marks or policy is NO_GRANT:
            return True
        own = getattr(scope.get("endpoint"), _ATTRIBUTE, None)
        return own is None or own is policy

    def _routes(self, scope: Scope) -> Iterable[Any]:
        if self._given is not None:
            return self._given
        app: Any = self._app
        for _ in range(_DEEPEST):
            routes = getattr(app, "routes", None)
            if routes is not None:
                return list(routes)
            app = getattr(app, "app", None)
        return list(getattr(scope.get("app"), "routes", ()))


def _endpoint(routes: Iterable[Any], scope: Scope, depth: int) -> object | None:
    """Return the endpoint that will serve *scope*, as Starlette's router looks for it."""
    for route in _flattened(routes):
        match, child_scope = route.matches(scope)
        if match.name != "FULL":
            continue
        inner = getattr(route, "routes", None)
        if inner and depth < _DEEPEST:
            return _endpoint(inner, {**scope, **child_scope}, depth + 1)
        endpoint: object = child_scope["endpoint"]
        return endpoint
    return None


def _flattened(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield what can match; FastAPI keeps an included router as one route of many."""
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)
        if included is not None:
            yield from included()
        elif hasattr(route, "matches"):
            yield route
