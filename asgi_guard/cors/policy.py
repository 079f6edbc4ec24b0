"""CORSPolicy: what pages of other origins may do. Frozen, checked when built, pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from asgi_guard._internal.asgi import HeaderList, add_vary
from asgi_guard.cors.preflight import Preflight
from asgi_guard.cors.tokens import TOKEN, header_names, method_names
from asgi_guard.errors import ConfigError
from asgi_guard.origins import Environment, OriginGate, OriginPolicy

__all__ = ["PREFLIGHT_VARY", "CORSPolicy", "Header"]

Header = tuple[bytes, bytes]

PREFLIGHT_VARY: Final = (
    b"vary",
    (
        b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
        b"Access-Control-Request-Private-Network"
    ),
)
_VARY_ORIGIN: Final = (b"vary", b"Origin")
_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_TIMING: Final = b"timing-allow-origin"
_ANY: Final = b"*"

# The policy alone grants: what an app or an inner middleware set by itself is taken out, or a
# browser would meet two answers and refuse both.
_OWNED: Final = frozenset(
    {
        _ALLOW_ORIGIN,
        _TIMING,
        b"access-control-allow-credentials",
        b"access-control-allow-headers",
        b"access-control-allow-methods",
        b"access-control-allow-private-network",
        b"access-control-expose-headers",
        b"access-control-max-age",
    }
)
_TOUCHED: Final = _OWNED | {b"vary"}
# Fetch section 2.2.2: pages may send these anyway, with harmless values; JSON needs the last.
_SAFELISTED: Final = frozenset(
    {b"accept", b"accept-language", b"content-language", b"content-type"}
)
_UNEXPOSABLE: Final = frozenset({b"set-cookie", b"set-cookie2"})  # Fetch section 2.2.6
_LONGEST: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class CORSPolicy:
    """Who may read answers of this app, and what they may send to get them.

    Args:
        allow_origins: Origins and patterns as in `OriginPolicy`, or any `OriginGate`, e.g. the
            one that the WebSocket and cross-site checks ask too.
        allow_methods: In upper case; ``["*"]`` for the registered ones, without credentials.
        allow_headers: Beside the safelisted ones; ``"*"`` for any but ``Authorization``, which
            is listed by name, without credentials.
        allow_credentials: Let cookies and HTTP authentication come along, and the answer be read.
        expose_headers: Response headers that pages may read.
        max_age: Seconds that a browser may keep a preflight's answer, 0 to 86400.
        allow_private_network: Let public pages reach a server on a private network.
        timing_allow_origin: Let allowed origins read the timing of resources.
        environment: Of *allow_origins*, when that is a list.
        routes: Another policy for some paths: ``"/public/*"`` covers ``/public`` and all below,
            ``"/feed"`` that path alone. The longest rule wins. A path with two readings
            (``//``, ``..``, ``%2e``, other case) is granted nothing, nor is one that meets
            another rule behind the tenant's prefix.

    Raises:
        ConfigError: A setting is wrong or unsafe; the remedy says what to write.
    """

    allow_origins: Collection[str] | OriginGate = ()
    allow_methods: Collection[str] = ("GET", "HEAD", "POST")
    allow_headers: Collection[str] = ()
    allow_credentials: bool = False
    expose_headers: Collection[str] = ()
    max_age: int = 600
    allow_private_network: bool = False
    timing_allow_origin: bool = False
    environment: Environment = "production"
    routes: Mapping[str, CORSPolicy] = field(default_factory=dict, hash=False)
    origins: OriginGate = field(init=False, repr=False, compare=False)
    methods: frozenset[bytes] = field(init=False, repr=False, compare=False)
    headers: frozenset[bytes] = field(init=False, repr=False, compare=False)
    any_header: bool = field(init=False, repr=False, compare=False)
    _credentials: tuple[Header, ...] = field(init=False, repr=False, compare=False)
    _fixed: tuple[Header, ...] = field(init=False, repr=False, compare=False)
    _max_age: Header = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        credentials = self.allow_credentials
        gate = _gate(self.allow_origins, self.environment)
        if credentials:
            gate.require_credential_safe("cors.allow_credentials")
        methods = method_names(self.allow_methods, credentials=credentials)
        any_header, headers = header_names(
            self.allow_headers, setting="cors.allow_headers", credentials=credentials
        )
        exposed = _exposed(self.expose_headers, credentials=credentials)
        _check_routes(self.routes)
        _set = object.__setattr__  # the dataclass is frozen for everybody else
        for name in ("allow_methods", "allow_headers", "expose_headers"):
            _set(self, name, tuple(getattr(self, name)))
        if not isinstance(self.allow_origins, OriginGate):
            _set(self, "allow_origins", tuple(self.allow_origins))
        _set(self, "routes", dict(self.routes))
        _set(self, "origins", gate)
        _set(self, "methods", methods)
        _set(self, "headers", headers | _SAFELISTED)
        _set(self, "any_header", any_header)
        _set(self, "_max_age", (b"access-control-max-age", _seconds(self.max_age)))
        granted = ((b"access-control-allow-credentials", b"true"),) if credentials else ()
        _set(self, "_credentials", granted)
        _set(self, "_fixed", granted + exposed)

    def grants(self, origin: bytes) -> tuple[Header, ...]:
        """Return the fields of a response that *origin*, which is allowed, may read."""
        shown = _ANY if self.origins.uniform else origin
        if self.timing_allow_origin:
            return ((_ALLOW_ORIGIN, shown), (_TIMING, shown), *self._fixed)
        return ((_ALLOW_ORIGIN, shown), *self._fixed)

    def edited(self, headers: Iterable[Header], grants: tuple[Header, ...] = ()) -> HeaderList:
        """Return a copy of a response's *headers* with *grants*, in place of any others.

        ``Vary`` is merged, never doubled; it is left alone when every origin gets one answer.
        """
        varies = not self.origins.uniform
        headers = list(headers)  # any iterable is allowed, and it is gone through twice
        names = dict(headers)
        # Most answers need nothing taken out or merged, which three calls in C can tell.
        if b"".join(names).islower() and _TOUCHED.isdisjoint(names):
            return [*headers, _VARY_ORIGIN, *grants] if varies else [*headers, *grants]
        lowered = [(name.lower(), value) for name, value in headers]
        kept = [pair for pair in lowered if pair[0] not in _OWNED]
        if varies:
            add_vary(kept, b"Origin")
        return [*kept, *grants]

    def refusal(self, asked: Preflight) -> str:
        """Return why a preflight of an allowed origin is denied, or an empty string."""
        if asked.method not in self.methods:
            return "method"
        if asked.headers is None:
            return "headers_too_many"
        if asked.private_network and not self.allow_private_network:
            return "private_network"
        if self.headers.issuperset(asked.headers) or self._covers(asked.headers):
            return ""
        return "headers"

    def _covers(self, asked: Collection[bytes]) -> bool:
        """Tell whether ``*`` covers names beyond those listed (Fetch section 4.9)."""
        if not self.any_header or not all(TOKEN.match(name) for name in asked):
            return False
        return b"authorization" not in asked or b"authorization" in self.headers

    def preflight_grants(self, origin: bytes, asked: Preflight) -> HeaderList:
        """Return the fields of a granted preflight: what was asked, and no more."""
        granted: HeaderList = [
            (_ALLOW_ORIGIN, _ANY if self.origins.uniform else origin),
            *self._credentials,
            (b"access-control-allow-methods", asked.method or b""),
            self._max_age,
            PREFLIGHT_VARY,
        ]
        if asked.headers:
            granted.append((b"access-control-allow-headers", b", ".join(asked.headers)))
        if asked.private_network:
            granted.append((b"access-control-allow-private-network", b"true"))
        return granted


def _gate(given: Collection[str] | OriginGate, environment: Environment) -> OriginGate:
    if isinstance(given, OriginGate):
        return given
    return OriginPolicy(given, environment=environment)


def _seconds(given: int) -> bytes:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= _LONGEST:
        raise ConfigError(
            "cors.max_age", f"{given!r} is not a number of seconds from 0 to 86400", "Use 600."
        )
    return str(given).encode()


def _exposed(given: Collection[str], *, credentials: bool) -> tuple[Header, ...]:
    setting = "cors.expose_headers"
    everything, names = header_names(given, setting=setting, credentials=credentials)
    if names & _UNEXPOSABLE:
        raise ConfigError(setting, "cookies are never readable by pages", "Remove Set-Cookie.")
    listed = [b"*"] * everything + sorted(names)
    return ((b"access-control-expose-headers", b", ".join(listed)),) if listed else ()


def _check_routes(routes: Mapping[str, CORSPolicy]) -> None:
    for rule, policy in routes.items():
        if not isinstance(policy, CORSPolicy) or policy.routes:
            raise ConfigError(
                f"cors.routes[{rule!r}]", "is not a policy without routes", "Pass a CORSPolicy."
            )
