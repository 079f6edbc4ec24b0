"""Names of channels that nobody can guess, and payloads that nobody else can make.

Every tenant's statements run as one role, and a channel has no owner: whoever knows its name can
listen and send. So the name is an HMAC of tenant and channel, and what is sent is signed over
both. A name that leaks then still lets nothing in.
"""

from __future__ import annotations

import binascii
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.constant_time import equal
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock
from asgi_guard.rls.seal.keys import KEY_ID_LENGTH, SealKey, SealKeys

__all__ = ["MAX_PAYLOAD", "ChannelSeal", "Opened", "Topic"]

_VERSION: Final = "n1"
_TIME_DIGITS: Final = 16  # microseconds since 1970
_ONCE_LENGTH: Final = 22  # 16 random bytes in base64url
_MAC_LENGTH: Final = 43  # 32 bytes in base64url
_HEAD_LENGTH: Final = len(_VERSION) + KEY_ID_LENGTH + _TIME_DIGITS + _ONCE_LENGTH
_SERVER_LIMIT: Final = 7999  # bytes of a payload (PostgreSQL docs, NOTIFY)

MAX_PAYLOAD: Final = _SERVER_LIMIT - _HEAD_LENGTH - _MAC_LENGTH
"""Bytes of UTF-8 that one notification can carry beside its signature."""

_PREFIX: Final = "ag_"
_NAME_DIGITS: Final = 40  # 160 bits; with the prefix 43 of the 63 bytes that a name may have
_CHANNEL_LIMIT: Final = 200
_HEAD: Final = re.compile(rf"{_VERSION}[0-9a-f]{{{KEY_ID_LENGTH}}}[0-9]{{{_TIME_DIGITS}}}")

Refusal: TypeAlias = Literal["malformed", "unknown_key", "forged"]


class Topic(NamedTuple):
    """One channel of one tenant.

    Args:
        tenant_id: Whose.
        channel: As the app calls it, e.g. ``"notes"``.
    """

    tenant_id: str
    channel: str

    def checked(self) -> Topic:
        """Return the topic itself.

        Raises:
            ConfigError: The channel's name is empty, too long, or no text.
        """
        known = isinstance(self.channel, str) and 0 < len(self.channel) <= _CHANNEL_LIMIT
        if not known or not self.channel.isprintable():
            raise ConfigError(
                "notify(channel)", "is not a channel's name", "Use 1 to 200 printable characters."
            )
        return self

    def encoded(self) -> bytes:
        """Return both, with their lengths: nothing of one can pass for the other's."""
        parts = (self.tenant_id.encode(), self.channel.encode())
        return b"".join(b"%d:%s" % (len(part), part) for part in parts)


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload whose signature holds.

    Args:
        body: What was sent.
        issued: When it was signed, Unix seconds.
        once: What no other notification has.
    """

    body: str
    issued: float
    once: str


class ChannelSeal:
    """Names topics, and signs and opens what is sent to them.

    The keys are those of the sealed binding or a ring of their own; what is used here is derived
    from them, so that a signature of one purpose is none of the other. The first signs and names;
    the others are listened to and believed as well, which is how keys are changed.

    Args:
        keys: One or more.
        clock: Unix seconds.

    Raises:
        ConfigError: *keys* are none.
    """

    __slots__ = ("_clock", "_name_keys", "_payload_keys", "_signing")

    def __init__(self, keys: SealKeys, *, clock: Clock = SYSTEM_CLOCK) -> None:
        if not isinstance(keys, SealKeys):
            raise ConfigError(
                "notify(keys)",
                f"got a {type(keys).__name__}",
                "Pass SealKeys.from_file(path), from asgi_guard.rls.",
            )
        self._clock = clock
        self._signing = keys.signing.key_id
        self._name_keys = [_derived(key, b"channel") for key in keys.keys]
        self._payload_keys = {key.key_id: _derived(key, b"payload") for key in keys.keys}

    def name(self, topic: Topic) -> str:
        """Give the channel that is sent to."""
        return _name(self._name_keys[0], topic)

    def names(self, topic: Topic) -> tuple[str, ...]:
        """Give every channel that is listened to: one for each key."""
        return tuple(_name(key, topic) for key in self._name_keys)

    def seal(self, topic: Topic, body: str) -> str:
        """Sign *body* for *topic*.

        Raises:
            ConfigError: It is no text that PostgreSQL can carry, or longer than `MAX_PAYLOAD`.
        """
        size = _size(body)
        if size > MAX_PAYLOAD:
            raise ConfigError(
                "notify(payload)",
                f"is {size} bytes long",
                f"At most {MAX_PAYLOAD} fit. Send an id, and let the receiver read the row.",
            )
        issued = int(self._clock.now() * 1_000_000)
        once = _text(secrets.token_bytes(16))
        head = f"{_VERSION}{self._signing}{issued:0{_TIME_DIGITS}d}{once}"
        mac = _mac(self._payload_keys[self._signing], head, topic, body)
        return f"{head}{_text(mac)}{body}"

    def open(self, topic: Topic, payload: str) -> Opened | Refusal:
        """Check what arrived for *topic*.

        Returns:
            What was sent, or why it is not believed.
        """
        head, rest = payload[:_HEAD_LENGTH], payload[_HEAD_LENGTH:]
        if _HEAD.match(head) is None or len(rest) < _MAC_LENGTH:
            return "malformed"
        key = self._payload_keys.get(head[len(_VERSION) :][:KEY_ID_LENGTH])
        if key is None:
            return "unknown_key"
        body = rest[_MAC_LENGTH:]
        try:
            given = urlsafe_b64decode(rest[:_MAC_LENGTH] + "=")
        except (binascii.Error, ValueError):
            return "malformed"
        if not equal(given, _mac(key, head, topic, body)):
            return "forged"
        start = len(_VERSION) + KEY_ID_LENGTH
        issued = int(head[start:][:_TIME_DIGITS]) / 1_000_000
        return Opened(body, issued, head[start + _TIME_DIGITS :])


def _derived(key: SealKey, purpose: bytes) -> bytes:
    return hmac.digest(key.secret, b"asgi-guard notify " + purpose, "sha256")


def _name(key: bytes, topic: Topic) -> str:
    return _PREFIX + hmac.digest(key, topic.encoded(), "sha256").hex()[:_NAME_DIGITS]


def _mac(key: bytes, head: str, topic: Topic, body: str) -> bytes:
    return hmac.digest(key, head.encode() + topic.encoded() + body.encode(), "sha256")


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _size(body: str) -> int:
    if not isinstance(body, str) or "\0" in body:
        raise ConfigError("notify(payload)", "is not storable text", "Send str(an_id).")
    try:
        return len(body.encode())
    except UnicodeEncodeError:
        raise ConfigError("notify(payload)", "is not storable text", "Send str(an_id).") from None
