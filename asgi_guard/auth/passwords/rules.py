"""What may be a password: Unicode text, normalised, neither too short nor too long.

Follows RFC 8265 section 4.2 (OpaqueString): other spaces become U+0020, then NFC, so that one
password typed on two keyboards is one password. Two of its rules are left out on purpose: code
points that today's Unicode does not assign are allowed, because tables differ between Python
releases and a login must not; and so is every character that is not a control character.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from asgi_guard.errors import ConfigError, PasswordRejectedError
from asgi_guard.secret import Secret

__all__ = ["PasswordRules", "as_secret", "normalised"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRules:
    """Bounds of a password (OWASP ASVS 5.0, 6.2.1 and 6.2.9; NIST SP 800-63B-4, 3.1.1.2).

    Args:
        min_length: Fewest characters (code points, normalised) of a new password. ASVS asks for
            8 and recommends 15; NIST asks for 15 where the password is the only factor.
        max_length: Most characters, of a new password and of one to verify.
        max_bytes: Most bytes of its UTF-8 form.

    Raises:
        ConfigError: The shortest is below 8, the longest below 64, or below the shortest.

    Composition rules (a digit, a capital) are left out: both standards forbid them.
    """

    min_length: int = 8
    max_length: int = 128
    max_bytes: int = 1024

    def __post_init__(self) -> None:
        """Refuse bounds that the standards forbid."""
        if self.min_length < 8:  # noqa: PLR2004 - ASVS 6.2.1
            raise ConfigError(
                "PasswordRules.min_length", f"is {self.min_length}", "Pass 8 or more."
            )
        if self.max_length < max(64, self.min_length):
            raise ConfigError(
                "PasswordRules.max_length",
                f"is {self.max_length}",
                "Pass at least 64: ASVS 6.2.9 asks that passphrases fit.",
            )
        if self.max_bytes < self.max_length:
            raise ConfigError(
                "PasswordRules.max_bytes", f"is {self.max_bytes}", "Pass at least max_length."
            )

    def problem(self, password: Secret) -> str:
        """Return why *password* cannot be anybody's, or ``""``; for verifying as well.

        Says nothing that depends on a user: ``password_too_long``, or ``password_malformed`` for
        no text at all and for lone surrogates, which have no UTF-8 form.
        """
        text = password.reveal()
        if not text:
            return "password_malformed"
        if len(text) > self.max_bytes:  # before normalisation, whose work grows with the length
            return "password_too_long"
        try:
            size = len(normalised(password).encode())
        except UnicodeEncodeError:
            return "password_malformed"
        too_long = size > self.max_bytes or len(normalised(password)) > self.max_length
        return "password_too_long" if too_long else ""

    def check_new(self, password: Secret) -> None:
        """Refuse a password that nobody may choose.

        Raises:
            PasswordRejectedError: It is too short, too long, or holds control characters.
        """
        problem = self.problem(password)
        text = "" if problem else normalised(password)
        if not problem and any(unicodedata.category(each) == "Cc" for each in text):
            problem = "password_malformed"  # a NUL among them, at which old code stops reading
        if not problem and len(text) < self.min_length:
            problem = "password_too_short"
        del text
        if problem:
            raise PasswordRejectedError(problem)


def normalised(password: Secret) -> str:
    """Return the text of *password* as it is hashed: other spaces as U+0020, then NFC."""
    text = password.reveal()
    if text.isascii():
        return text
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    return unicodedata.normalize("NFC", spaced)


def as_secret(password: object) -> Secret:
    """Return *password* masked; what is no text (a JSON body may hold anything) is empty."""
    if isinstance(password, Secret):
        return password
    return Secret(password if isinstance(password, str) else "")
