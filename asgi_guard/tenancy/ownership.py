"""owner_label: whose a stored thing is, as one word that third-party stores can keep.

Checkpointers, key-value stores and vector databases know nothing of tenants, but each has a place
for a name: a thread, a namespace, a metadata field. The label goes there.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal, TypeAlias

from asgi_guard.errors import ConfigError, NotOwnedError
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.reporting import report

__all__ = ["LABEL_LENGTH", "OwnedBy", "check_owned_by", "not_owned", "owner_label"]

OwnedBy: TypeAlias = Literal["user", "tenant"]
"""Whether a user's things are their own, or shared by all users of the tenant."""

LABEL_LENGTH: Final = 41
"""Characters of every label: a letter for the kind, and 160 bits in hexadecimal."""

_KINDS: Final = ("user", "tenant")


def owner_label(context: UserExecutionContext, owned_by: OwnedBy = "user") -> str:
    """Return the label of the owner that *context* runs for.

    Every label has the same length and only letters and digits. Some stores look for a prefix of
    the text, where ``acme`` would find ``acme-2`` as well, and some read ``_`` and ``%`` as
    wildcards. It is no secret, and it proves nothing to somebody who made it up.

    Args:
        context: Who asks.
        owned_by: ``"user"``: one user in one tenant; ``"tenant"``: the whole tenant.
    """
    parts = [owned_by, context.tenant_id]
    if owned_by == "user":
        parts.append(context.user_id)
    digest = hashlib.blake2b(digest_size=20, person=b"asgi-guard-owner")
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)  # ("a", "bc") is not ("ab", "c")
    return owned_by[0] + digest.hexdigest()


def check_owned_by(setting: str, owned_by: object) -> None:
    """Check the option of the same name.

    Raises:
        ConfigError: It is neither ``"user"`` nor ``"tenant"``.
    """
    if owned_by not in _KINDS:
        raise ConfigError(setting, f"{owned_by!r} is unknown", 'Use "user" or "tenant".')


def not_owned(reason: str, operation: str) -> NotOwnedError:
    """Report that somebody named what is not theirs, and return the error to raise."""
    report("AGENT_ACCESS_REFUSED", reason=reason, operation=operation)
    error = NotOwnedError(reason)
    error.reported = True
    return error
