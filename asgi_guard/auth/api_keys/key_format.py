"""What an API key looks like: ``acme_live_`` + 30 random characters + a checksum of 6.

The prefix says whose key a string in a log or a repository is; the checksum tells a key from a
look-alike without asking anybody, so that a secret scanner raises no false alarm and a typing
error costs no look-up. The shape follows the one that GitHub published for its tokens in 2021.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["KeyFormat"]

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM: Final = 30  # 178 bits
_CHECKSUM: Final = 6  # the least base62 digits that hold any CRC-32
_WORD: Final = re.compile(r"[a-z][a-z0-9]{1,19}")
_BODY: Final = f"[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}"


@dataclass(frozen=True, slots=True)
class KeyFormat:
    """The keys of one app in one environment.

    Args:
        app: 2 to 20 lower-case letters and digits, a letter first, e.g. ``"acme"``.
        env: The same, e.g. ``"live"`` or ``"test"``: a key of one is none in the other.

    Raises:
        ConfigError: A word has another shape.
    """

    app: str
    env: str
    prefix: str = field(init=False)
    _whole: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse words that would make the prefix ambiguous."""
        for name in ("app", "env"):
            word = getattr(self, name)
            if not isinstance(word, str) or not _WORD.fullmatch(word):
                raise ConfigError(
                    f"KeyFormat.{name}",
                    f"{word!r} is no word",
                    "Use 2 to 20 lower-case letters and digits, a letter first.",
                )
        object.__setattr__(self, "prefix", f"{self.app}_{self.env}_")
        object.__setattr__(self, "_whole", re.compile(re.escape(self.prefix) + _BODY))

    @property
    def scanner_pattern(self) -> str:
        """Regular expression for secret scanners: this app's keys of every environment.

        RE2 syntax, without look-around, so that gitleaks, GitHub's custom patterns and grep -P
        take it.
        """
        return rf"\b{self.app}_{_WORD.pattern}_{_BODY}\b"

    def new_key(self) -> Secret:
        """Return a new random key."""
        start = self.prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
        return Secret(start + _checksum(start))

    def claims(self, text: str) -> bool:
        """Tell whether *text* says that it is a key of this app, of whatever environment."""
        return text.startswith(f"{self.app}_")

    def is_well_formed(self, text: str) -> bool:
        """Tell whether *text* is a key of this app and environment without a typing error."""
        return bool(self._whole.fullmatch(text)) and _is_sound(text)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each of this app's keys in *text*, of every environment.

        For your own scanner: the checksum holds, so a hit is a key that leaked.
        """
        for found in re.finditer(self.scanner_pattern, text, re.ASCII):
            if _is_sound(found[0]):
                yield found.span()


def _is_sound(key: str) -> bool:
    return _checksum(key[:-_CHECKSUM]) == key[-_CHECKSUM:]


def _checksum(text: str) -> str:
    """Return the CRC-32 of *text* as 6 base62 digits. It detects errors, and proves nothing."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
