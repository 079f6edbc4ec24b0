"""Which operating-system account the servers run as.

PostgreSQL and PgBouncer refuse to run as root. Whoever is not root runs them as itself; root
hands them to an account without rights. Preferred is one of our own, ``asgi-guard``, where an
administrator has made one; else ``nobody``, which every system has. Never ``postgres``: it may
own a real cluster on the same machine, and a test server must not share a uid with it.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from asgi_guard.errors import ConfigError

__all__ = ["ServiceAccount", "service_account"]

_PREFERRED = ("asgi-guard", "nobody")
_ROOT = 0


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A uid and gid that own a server's files and run its processes.

    ``switch`` tells whether this process must change to it, i.e. whether it runs as root.
    """

    name: str
    uid: int
    gid: int
    switch: bool

    def can_enter(self, directory: Path) -> bool:
        """Tell whether this account may traverse *directory* and everything above it.

        Judged by mode bits. An access control list may say otherwise; then the server's own
        "permission denied" is what the caller sees.
        """
        resolved = directory.resolve()
        return all(self._may_search(part) for part in (resolved, *resolved.parents))

    def _may_search(self, directory: Path) -> bool:
        try:
            found = directory.stat()
        except OSError:
            return False
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.gid:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)

    def give(self, path: Path) -> None:
        """Make this account the owner of *path*, which the caller has just created."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def service_account(name: str | None = None) -> ServiceAccount:
    """Choose the account for servers started by this process.

    Args:
        name: An account to use instead of the default; only root may choose.

    Raises:
        ConfigError: The account does not exist, is root's, or this process may not switch to it.
    """
    if os.geteuid() != _ROOT:
        return _own_account(name)
    for candidate in (name,) if name is not None else _PREFERRED:
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid == _ROOT:
            raise ConfigError(
                "embedded.account",
                f"{candidate!r} has root's rights, and PostgreSQL refuses to run as root",
                "Name an account without rights.",
            )
        return ServiceAccount(candidate, entry.pw_uid, entry.pw_gid, switch=True)
    raise ConfigError(
        "embedded.account",
        f"no such account: {name or ' or '.join(_PREFERRED)}",
        "Make one: useradd --system --no-create-home asgi-guard",
    )


def _own_account(name: str | None) -> ServiceAccount:
    uid = os.geteuid()
    try:
        own = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise ConfigError(
            "embedded.account",
            f"uid {uid} has no entry in the password database, which initdb needs",
            "Add one, or run as a named user.",
        ) from None
    if name is not None and name != own:
        raise ConfigError(
            "embedded.account",
            f"{own!r} may not start servers as {name!r}",
            "Leave the account unset: only root can choose one.",
        )
    return ServiceAccount(own, uid, os.getegid(), switch=False)
