"""One target per parser: bytes in, and what must be true of whatever comes out.

A target returns the parser's result, or lets the parser's own error through. `held` judges: no
other error, and no result that is much larger than what was read. Time is judged by the fuzzer's
own limit on one input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

from asgi_guard._internal.canonical_path import canonical_path
from asgi_guard._internal.forwarded import parse_address, parse_forwarded, parse_host
from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard._internal.public_addresses import AddressRules
from asgi_guard.auth.api_keys import KeyFormat
from asgi_guard.auth.dpop import DPoPValidator
from asgi_guard.auth.dpop.htu import canonical_uri
from asgi_guard.auth.jose import JwtPolicy, escrow
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.claims import ClaimRules
from asgi_guard.auth.jose.compact_jws import check_header, parse_compact_jws
from asgi_guard.auth.jose.jwk import verification_key_of
from asgi_guard.auth.jose.jwks_parser import parse_jwks
from asgi_guard.auth.jose.key_file import RingCodec
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc.authorization import Callback, read_parameters
from asgi_guard.auth.oidc.local_path import local_path
from asgi_guard.auth.passwords.stored import Argon2Hash, StoredHashBounds, parse_stored
from asgi_guard.auth.sessions.cookie import SessionCookie
from asgi_guard.auth.sessions.file_envelope import read_header as read_session_header
from asgi_guard.auth.sessions.record import decode as decode_session
from asgi_guard.errors import GuardError
from asgi_guard.secret import Secret
from asgi_guard.vault.data_key import DataKey
from asgi_guard.vault.envelope import open_envelope
from asgi_guard.vault.slot import Slot
from tests.fuzz.login_targets import LOGIN_TARGETS
from tests.support.tenancy_world import MovedClock

__all__ = ["TARGETS", "BrokenPromise", "Target", "everything", "held"]

Target = Callable[[bytes], object]

CLOCK: Final = MovedClock()
NOW: Final = CLOCK.now()
PASSPHRASE: Final = Secret("six random words are enough")
RULES: Final = [
    ClaimRules.of(JwtPolicy(issuer="https://id.example", audience="notes", types=(each,)), each)
    for each in ("access", "id", "refresh", "logout")
]
ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
KEYS: Final = KeyFormat("acme", "live")
DATA_KEY: Final = DataKey(bytes(range(32)))
SLOT: Final = Slot("acme", "alice", "google")
_ROOM: Final = 20_000  # what a result may weigh however little was read
_GROWTH: Final = 40  # characters of a result for each byte read; \u escapes and reprs cost some


class BrokenPromise(AssertionError):  # noqa: N818 - it says what happened
    """A parser did what none may do."""


def held(target: Target, data: bytes) -> None:
    """Run *target*; refuse foreign errors, and results that outgrow what was read."""
    try:
        result = target(data)
    except GuardError:
        return
    if len(repr(result)) > _ROOM + _GROWTH * len(data):
        raise BrokenPromise(f"{len(data)} bytes became {len(repr(result))}")


def _json(data: bytes) -> object:
    found = strict_object(data)
    if found is not None and found != json.loads(data):
        raise BrokenPromise("read otherwise than by everybody else")
    return found


def _jws(data: bytes) -> object:
    token = parse_compact_jws(data)
    check_header(token.header)
    parts = [data.split(b".")[0], b64url_encode(token.payload), b64url_encode(token.signature)]
    if b".".join(parts) != data:
        raise BrokenPromise("one token, two spellings")
    return token.claims()


def _claims(data: bytes) -> object:
    claims = strict_object(data)
    ends = []
    for rules in RULES if claims is not None else ():
        try:
            ends.append(rules.check(claims or {}, now=NOW))
        except GuardError:
            continue
    if not all(NOW < end < math.inf for end in ends):
        raise BrokenPromise("accepted, and has ended")
    return ends


def _jwk(data: bytes) -> object:
    members = strict_object(data)
    found: list[object] = []
    for algorithm in ALGORITHMS if members is not None else ():
        try:
            found.append(verification_key_of(members or {}, algorithm=algorithm))
        except GuardError:
            continue
    if len(found) > 1:
        raise BrokenPromise("one key for two algorithms")
    return found


def _jwks(data: bytes) -> object:
    return parse_jwks(data, algorithms=ALGORITHMS)


def _escrow(data: bytes) -> object:
    # The real work factor takes half a second; which bytes are taken does not depend on it.
    escrow._LOG_N = 1  # type: ignore[misc]
    return escrow.unseal(data, PASSPHRASE)


def _key_file(data: bytes) -> object:
    return RingCodec().decode(data)


def _api_key(data: bytes) -> object:
    text = data.decode("utf-8", "surrogateescape")
    spans = list(KEYS.find(text))
    if KEYS.is_well_formed(text) and spans != [(0, len(text))]:
        raise BrokenPromise("a key that the scanner does not find")
    return KEYS.claims(text), spans


def _stored_hash(data: bytes) -> object:
    text = data.decode("utf-8", "surrogateescape")
    found = parse_stored(text, StoredHashBounds())
    if isinstance(found, Argon2Hash) and found.encode() != text:
        raise BrokenPromise("one hash, two spellings")
    return found


def _envelope(data: bytes) -> object:
    return open_envelope(data, key=DATA_KEY, slot=SLOT, version=1)


def _cookie(data: bytes) -> object:
    return SessionCookie().read({"headers": [(b"cookie", data)]})


def _session(data: bytes) -> object:
    return decode_session(data)


def _session_file(data: bytes) -> object:
    return read_session_header(data)


def _dpop(data: bytes) -> object:
    checks = DPoPValidator(replay=MemoryStore(), base="https://api.example", clock=CLOCK)
    scope = {"type": "http", "method": "GET", "path": "/notes", "raw_path": b"/notes"}
    return checks.inspect({**scope, "query_string": b"", "headers": [(b"dpop", data)]})


def _uri(data: bytes) -> object:
    text = data.decode("utf-8", "surrogateescape")
    once = canonical_uri(text)
    if once is not None and canonical_uri(once) != once:
        raise BrokenPromise("canonical, and not stable")
    return once


def _oidc(data: bytes) -> object:
    return read_parameters(data), Callback.read(data)


def _local_path(data: bytes) -> object:
    found = local_path(data.decode("utf-8", "surrogateescape"))
    if found is not None and (not found.startswith("/") or found[1:2] in {"/", "\\"}):
        raise BrokenPromise("another site")
    return found


def _path(data: bytes) -> object:
    path = unquote_to_bytes(data).decode("utf-8", "replace")  # as servers do
    found = canonical_path({"type": "http", "path": path, "raw_path": data})
    if found is not None and canonical_path({"path": found, "raw_path": None}) != found:
        raise BrokenPromise("canonical, and not stable")
    return found


def _forwarded(data: bytes) -> object:
    text = data.decode("latin-1")
    return parse_forwarded(text), parse_host(text), parse_address(text)


def _address(data: bytes) -> object:
    return AddressRules("fuzz").permit(data.decode("utf-8", "surrogateescape"))


def everything(data: bytes) -> None:
    """Let the first byte choose the target, for a short run that has time for one process."""
    names = sorted(TARGETS)
    held(TARGETS[names[data[0] % len(names)]] if data else _json, data[1:])


TARGETS: Final[dict[str, Target]] = {
    **LOGIN_TARGETS,
    "address": _address,
    "api_key": _api_key,
    "claims": _claims,
    "cookie": _cookie,
    "dpop": _dpop,
    "escrow": _escrow,
    "forwarded": _forwarded,
    "jws": _jws,
    "jwk": _jwk,
    "jwks": _jwks,
    "key_file": _key_file,
    "local_path": _local_path,
    "oidc_callback": _oidc,
    "path": _path,
    "session_file": _session_file,
    "session_record": _session,
    "stored_hash": _stored_hash,
    "strict_json": _json,
    "uri": _uri,
    "vault_envelope": _envelope,
}
