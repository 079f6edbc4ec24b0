"""CrossOriginPolicy decides whether a request may act in its visitor's name. Pure.

Two questions, because browsers answer two kinds of request differently. For HTTP a browser says
itself how the asking page relates to us (``Sec-Fetch-Site``), and only an old one leaves us to
compare ``Origin`` with ``Host``. For a WebSocket the same-origin policy does not apply at all and
``Origin`` is the one thing to go by (RFC 6455 section 10.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from asgi_guard._internal.canonical_path import PathRules, path_set
from asgi_guard.cross_origin.evidence import Evidence
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Scope

__all__ = ["CrossOriginPolicy", "Decision", "Verdict"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 section 9.2.1, without TRACE
_NAVIGABLE: Final = frozenset({"GET", "HEAD"})
_SITES: Final = frozenset({b"same-origin", b"same-site", b"cross-site", b"none"})
# Plug-ins are left out: a navigation into <object> or <embed> is how a page loads what it must
# not (W3C Fetch Metadata section 5, "resource isolation").
_FRAMES: Final = frozenset({"document", "iframe", "frame", "fencedframe"})


class Verdict(Enum):
    """What becomes of a request."""

    ALLOW = "allow"
    REFUSE = "refuse"
    LISTED_ONLY = "listed_only"
    """Refuse, unless the origin policy names the request's origin as a friend."""


class Decision(NamedTuple):
    """A verdict and its stable reason, for the operator's event."""

    verdict: Verdict
    reason: str


def _allow(reason: str) -> Decision:
    return Decision(Verdict.ALLOW, reason)


_TOKEN: Final = _allow("token_without_cookie")
_PREFLIGHT: Final = _allow("preflight")
_NO_METADATA: Final = _allow("not_a_browser")
_SAME_ORIGIN: Final = _allow("same_origin")
_SAME_SITE: Final = _allow("same_site_trusted")
_BY_USER: Final = _allow("user_initiated")
_NAVIGATION: Final = _allow("navigation")
_ANONYMOUS: Final = _allow("anonymous_cors_read")
_NO_ORIGIN: Final = _allow("websocket_origin_missing_allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossOriginPolicy:
    """Which requests that another site caused are served.

    Args:
        exempt: Paths that are not checked, HTTP and WebSocket alike: webhooks, public assets.
            ``"/hooks/stripe"`` is that path alone, ``"/hooks/*"`` all below it too. A path that
            could be read in two ways is never exempt.
        trust_same_site: Serve requests from sibling subdomains. Off, because ``a.example.com``
            and ``b.example.com`` are one site but seldom one owner, least of all where each
            tenant has its own.
        navigable_from_outside: What a link on another site may open: ``"document"``, and
            ``"iframe"`` if the app is meant to be embedded.
        anonymous_cors_reads: Serve any page's GET and HEAD in CORS mode that carry neither cookie
            nor ``Authorization``: for apps whose CORS policy says who may read such answers.
        allow_websocket_without_origin: Serve handshakes that carry no ``Origin``: native apps
            and scripts. Browsers always send one (RFC 6455 section 4.1).

    Raises:
        ConfigError: A path or destination could never match.

    Does not protect a GET that changes something: following a link is a GET.
    """

    exempt: Iterable[str] = ()
    trust_same_site: bool = False
    navigable_from_outside: Iterable[str] = ("document",)
    anonymous_cors_reads: bool = False
    allow_websocket_without_origin: bool = False
    _exempt: PathRules[bool] = field(init=False, repr=False, compare=False)
    _destinations: frozenset[bytes | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the lists and keep them in the form that requests are compared with."""
        exempt, frames = self.exempt, self.navigable_from_outside
        if isinstance(frames, str):
            raise ConfigError(
                "cross_origin.navigable_from_outside",
                f"{frames!r} is one string",
                f"Write a list: [{frames!r}].",
            )
        exempt = exempt if isinstance(exempt, str) else tuple(exempt)
        frames = tuple(frames)
        if unknown := [dest for dest in frames if dest not in _FRAMES]:
            raise ConfigError(
                "cross_origin.navigable_from_outside",
                f"{unknown[0]!r} is no destination of a navigation",
                f"Choose from {sorted(_FRAMES)}.",
            )
        put = object.__setattr__
        put(self, "_exempt", path_set(exempt, setting="cross_origin.exempt"))
        put(self, "exempt", exempt)
        put(self, "navigable_from_outside", frames)
        # Chromium 76 to 79 sent Sec-Fetch-Site and -Mode, but no -Dest yet.
        destinations = {dest.encode() for dest in frames} | ({None} if frames else set())
        put(self, "_destinations", frozenset(destinations))

    def is_exempt(self, scope: Scope) -> bool:
        """Tell whether the path of *scope* is not checked."""
        return self._exempt.of(scope)

    def judge_request(self, seen: Evidence, *, own_origins: Iterable[bytes] = ()) -> Decision:
        """Decide about one HTTP request.

        Args:
            seen: What the request says.
            own_origins: The app's own origins, for browsers that send no ``Sec-Fetch-Site``.
        """
        if seen.doubled:
            return Decision(Verdict.REFUSE, f"{seen.doubled}_doubled")
        if seen.has_token and not seen.has_cookie:
            return _TOKEN  # nothing here was added by the browser, so nothing can be forged
        if seen.is_preflight:
            return _PREFLIGHT  # CORS answers it; it acts on nothing and carries no cookie
        if seen.site is None:
            return self._judge_by_origin(seen, own_origins)
        return self._judge_by_site(seen, seen.site)

    def judge_handshake(self, seen: Evidence, *, own_origins: Iterable[bytes]) -> Decision:
        """Decide about one WebSocket handshake.

        ``Sec-Fetch-Site`` is not consulted: Chromium does not send it here, and a handshake to
        ``wss:`` compares schemes that a page can never have.
        """
        if seen.doubled:
            return Decision(Verdict.REFUSE, f"{seen.doubled}_doubled")
        if seen.origin is None:
            if self.allow_websocket_without_origin:
                return _NO_ORIGIN
            return Decision(Verdict.REFUSE, "origin_missing")
        return _compare(seen.origin, own_origins)

    def _judge_by_site(self, seen: Evidence, site: bytes) -> Decision:
        if site == b"same-origin":
            return _SAME_ORIGIN
        if site == b"none":
            return _BY_USER
        if site == b"same-site" and self.trust_same_site:
            return _SAME_SITE
        if (
            seen.mode == b"navigate"
            and seen.method in _NAVIGABLE
            and seen.dest in self._destinations
        ):
            return _NAVIGATION
        if self._is_anonymous_cors_read(seen):
            return _ANONYMOUS
        # A relation that no browser has today is refused like the farthest one.
        known = site.decode("ascii").replace("-", "_") if site in _SITES else "unknown_site"
        kind = "read" if seen.method in _SAFE else "write"
        return _unless_listed(seen.origin, f"{known}_{kind}")

    def _judge_by_origin(self, seen: Evidence, own_origins: Iterable[bytes]) -> Decision:
        if seen.origin is None:
            return _NO_METADATA
        if self._is_anonymous_cors_read(seen):
            return _ANONYMOUS
        return _compare(seen.origin, own_origins)

    def _is_anonymous_cors_read(self, seen: Evidence) -> bool:
        return (
            self.anonymous_cors_reads
            and seen.method in _NAVIGABLE
            and not seen.has_cookie
            and not seen.has_authorization
            # Where the browser names no mode, it is the Origin on a GET that tells of CORS.
            and (seen.mode == b"cors" or (seen.mode is None and seen.origin is not None))
        )


def _compare(origin: bytes, own_origins: Iterable[bytes]) -> Decision:
    if origin in own_origins:
        return _SAME_ORIGIN
    return _unless_listed(origin, "origin_null" if origin == b"null" else "origin_foreign")


def _unless_listed(origin: bytes | None, reason: str) -> Decision:
    # "null" is every sandboxed frame and every file; no list can make it one's friend.
    if origin is None or origin == b"null":
        return Decision(Verdict.REFUSE, reason)
    return Decision(Verdict.LISTED_ONLY, reason)
