"""What the policy would answer, and why: for the person at a browser's red console line."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from asgi_guard.cors.policy import CORSPolicy
from asgi_guard.cors.preflight import read_preflight
from asgi_guard.cors.routes import PolicyChooser
from asgi_guard.origins import DynamicOriginPolicy, OriginDecision, OriginPolicy

__all__ = ["Explanation", "explain"]

# Fetch section 4.9: these, with safelisted headers alone, are sent without asking first. A
# Content-Type is counted as asking, for JSON is the common case.
_SIMPLE_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
_SIMPLE_HEADERS: Final = frozenset({"accept", "accept-language", "content-language"})

_REFUSALS: Final = {
    "method": "{method} is not in allow_methods",
    "headers": "not in allow_headers: {unlisted}",
    "headers_too_many": "more headers are requested than any page needs",
    "private_network": "allow_private_network is off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would be answered to one request of a page.

    Args:
        allowed: Whether the page could send the request and read its answer.
        preflight: Fields of the preflight's answer; empty when it is denied; None when a browser
            would not send one.
        response: Grants on the answer itself.
        reason: Stable code: of the origin's decision when that denies, else of what the
            preflight lacks, else of the origin's decision.
        steps: One sentence per decision, in the order they are made.
    """

    allowed: bool
    preflight: tuple[tuple[str, str], ...] | None
    response: tuple[tuple[str, str], ...]
    reason: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        verdict = "allowed" if self.allowed else f"denied ({self.reason})"
        lines = [verdict, *(f"  - {step}" for step in self.steps)]
        lines += [f"  preflight  {name}: {value}" for name, value in self.preflight or ()]
        lines += [f"  response   {name}: {value}" for name, value in self.response]
        return "\n".join(lines)


def explain(
    policy: CORSPolicy,
    origin: str,
    method: str = "GET",
    headers: Collection[str] = (),
    *,
    path: str = "/",
    private_network: bool = False,
    decision: OriginDecision | None = None,
) -> Explanation:
    """Say what *policy* would answer to a page, without sending anything.

    Args:
        policy: The policy in force.
        origin: Of the page, as the browser's console shows it.
        method: Of the request that the page makes.
        headers: Names of the headers that the page sets itself.
        path: Decoded path of the request, for policies with routes.
        private_network: Whether the browser asks for a private network.
        decision: What ``await gate.decide(...)`` said, for gates that ask a provider.

    Does not see endpoints marked by `cors_policy`: explain their own policy.
    """
    scope = _scope(origin, method, headers, path, private_network=private_network)
    chosen = PolicyChooser(policy, _no_app, routes=()).policy_for(scope, method)
    wire = origin.encode("ascii", "backslashreplace")
    decision = decision or chosen.origins.decide_nowait(wire, scope)
    if decision is None:
        decision = OriginDecision(False, "provider_not_asked")
    steps = [_path_step(policy, chosen, path), _origin_step(chosen, origin, decision)]
    asked = read_preflight(scope)
    refusal = chosen.refusal(asked)
    asks = method not in _SIMPLE_METHODS or private_network
    asks = asks or not {name.lower() for name in headers} <= _SIMPLE_HEADERS
    if not asks:
        steps.append(f"A browser sends this {method} without a preflight.")
    elif decision.allowed:
        unlisted = sorted({name.lower() for name in headers} - _decoded(chosen.headers))
        detail = _REFUSALS.get(refusal, "granted").format(
            method=method, unlisted=", ".join(unlisted)
        )
        steps.append(f"The preflight: {detail}.")
    denied = not decision.allowed or (asks and bool(refusal))
    granted = [] if denied or not asks else chosen.preflight_grants(wire, asked)
    return Explanation(
        allowed=not denied,
        preflight=_shown(granted) if asks else None,
        response=_shown(chosen.grants(wire)) if decision.allowed else (),
        reason=refusal if decision.allowed and asks and refusal else decision.reason,
        steps=tuple(step for step in steps if step),
    )


def _scope(
    origin: str, method: str, headers: Collection[str], path: str, *, private_network: bool
) -> dict[str, Any]:
    fields = [
        (b"origin", origin.encode("ascii", "backslashreplace")),
        (b"access-control-request-method", method.encode("ascii", "backslashreplace")),
    ]
    if headers:
        names = ",".join(sorted(name.lower() for name in headers))
        fields.append((b"access-control-request-headers", names.encode("utf-8")))
    if private_network:
        fields.append((b"access-control-request-private-network", b"true"))
    return {"type": "http", "method": "OPTIONS", "path": path, "headers": fields}


async def _no_app(*_: object) -> None:
    """Stand where an app would; nothing is sent."""


def _path_step(policy: CORSPolicy, chosen: CORSPolicy, path: str) -> str:
    if not policy.routes:
        return ""
    if chosen is policy:
        return f"{path}: no rule of routes covers it; the general policy holds."
    rules = [rule for rule, own in policy.routes.items() if own is chosen]
    if rules:
        return f"{path}: the rule {rules[0]!r} holds."
    return f"{path}: it has more than one reading, so nothing is granted."


def _origin_step(policy: CORSPolicy, origin: str, decision: OriginDecision) -> str:
    if decision.allowed:
        return f"{origin} is allowed: {decision.reason} ({decision.rule})."
    if isinstance(policy.origins, OriginPolicy | DynamicOriginPolicy):
        return policy.origins.explain(origin)
    return f"{origin} is denied: {decision.reason}."


def _decoded(names: frozenset[bytes]) -> set[str]:
    return {name.decode("ascii") for name in names}


def _shown(fields: Collection[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in fields)
