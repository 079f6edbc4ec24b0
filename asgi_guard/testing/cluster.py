"""Making the files of a PostgreSQL cluster, and reading back what an earlier run made."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from asgi_guard.errors import ConfigError
from asgi_guard.testing.accounts import ServiceAccount
from asgi_guard.testing.binaries import PostgresBinaries

__all__ = ["DATA", "ENVIRONMENT", "SUPERUSER", "UNFINISHED", "Cluster", "open_cluster"]

DATA = "data"
UNFINISHED = "data.new"  # renamed when whole: half a cluster is never taken for one
SUPERUSER = "postgres"
_PRIVATE = 0o700
_PASSWORD_BYTES = 24
_BUILTIN_LOCALE_SINCE = 17
# Nothing of our own environment: PGDATA, PGPORT, LC_* and TZ would steer the programs.
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The data folder, owned by the service account and closed to others, and its password."""

    data: Path
    password: str = field(repr=False)


def open_cluster(
    home: Path, account: ServiceAccount, binaries: PostgresBinaries, *, durable: bool
) -> Cluster:
    """Make the cluster of *home*, or read the one that is there.

    Args:
        home: A prepared home whose lock the caller holds.
        account: Owner of the data folder.
        binaries: Their major version must be the one that made the data.
        durable: Whether a new cluster is synced to disk.

    Raises:
        ConfigError: ``initdb`` failed, or the data is of another major version.
    """
    data, secret = home / DATA, home / "password"
    if data.exists() and secret.exists():
        _check_version(data, binaries)
        return Cluster(data, _read_secret(secret))
    fresh = home / UNFINISHED
    for leftover in (data, fresh):
        if leftover.exists():
            shutil.rmtree(leftover)
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    _initdb(fresh, password, account, binaries, durable=durable)
    _write_secret(secret, password)
    fresh.rename(data)
    return Cluster(data, password)


def _check_version(data: Path, binaries: PostgresBinaries) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    if found != str(binaries.major):
        raise ConfigError(
            "embedded.data_dir",
            f"{data.parent} was made by PostgreSQL {found}, and the programs in "
            f"{binaries.folder} are PostgreSQL {binaries.major}",
            f"Name another folder, or give bin_dir of PostgreSQL {found}.",
        )


def _initdb(
    fresh: Path,
    password: str,
    account: ServiceAccount,
    binaries: PostgresBinaries,
    *,
    durable: bool,
) -> None:
    fresh.mkdir(mode=_PRIVATE)
    account.give(fresh)
    handed_over = fresh.with_name("password.new")
    handed_over.unlink(missing_ok=True)
    _write_secret(handed_over, password)
    account.give(handed_over)
    locale = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if binaries.major >= _BUILTIN_LOCALE_SINCE
        else ["--locale=C"]
    )
    try:
        # Programs we have checked, arguments of our own.
        told = subprocess.run(  # noqa: S603
            [
                binaries.program("initdb"),
                f"--pgdata={fresh}",
                f"--username={SUPERUSER}",
                f"--pwfile={handed_over}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-instructions",
                *locale,
                *([] if durable else ["--no-sync"]),
            ],
            user=account.uid if account.switch else None,
            group=account.gid if account.switch else None,
            extra_groups=[] if account.switch else None,
            env=ENVIRONMENT,
            cwd=fresh.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C reaches us, and we kill it, exactly once
        )
    except OSError as error:
        raise ConfigError(
            "embedded.bin_dir",
            f"{binaries.program('initdb')} cannot be run: {error}",
            "Check that its folder is not mounted noexec.",
        ) from error
    finally:
        handed_over.unlink()
    if told.returncode != 0:
        raise ConfigError(
            "embedded.data_dir",
            f"initdb failed: {told.stdout.strip()}",
            "Mend what it says, or name another folder.",
        )


def _write_secret(path: Path, value: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    path.unlink(missing_ok=True)
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123 - by descriptor
        file.write(value + "\n")


def _read_secret(path: Path) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="ascii") as file:  # noqa: PTH123 - as above
        return file.read().strip()
