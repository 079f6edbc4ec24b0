"""FileSessionStore: where a command-line program keeps its user's session.

Protects the tokens on a person's machine against other users of it, against whoever gets a copy of
the folder, and against their own past: a session that has ended cannot be read, not from a backup
either, for its key is gone. Against a program that runs as the same person nothing in a file helps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.owner_files import OwnerFolder
from asgi_guard._internal.private_files import check_private_folder
from asgi_guard.auth.sessions.file_content import Places, joined, parsed
from asgi_guard.auth.sessions.file_envelope import LONGEST, Header, opened, read_header, sealed
from asgi_guard.auth.sessions.file_keys import FileKeyRing
from asgi_guard.auth.sessions.file_memory import scratch, wipe
from asgi_guard.auth.sessions.file_session import LocalSession, SessionFacts
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Clock

__all__ = ["FileSessionStore"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SUFFIX: Final = ".session"
_CLOCK_SLACK: Final = 60.0
_MOST_SECONDS: Final = 12 * 3600.0
_ROOM: Final = 1024  # for facts and framing


class FileSessionStore:
    """Keep sessions of one person in sealed files. It blocks: call it from a thread in an app.

    Args:
        folder: For the sealed files; by default ``sessions`` in the user's state folder of *app*
            (XDG Base Directory, through platformdirs).
        key_folder: For their keys; by default ``session-keys`` in the user's data folder of *app*.
            Backups that hold only one of the two are worth nothing to a thief.
        app: Names the default folders.
        max_seconds: Longest that a session lasts, whatever its tokens say.
        clock: Its ``now`` decides when a session ends.

    Raises:
        ConfigError: A folder is a link or none, another user's, or open to others; both are one.
        MissingExtraError: A folder is not given, and platformdirs, of the ``cli`` extra, is not
            installed.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        key_folder: str | Path | None = None,
        app: str = "asgi-guard",
        max_seconds: float = _MOST_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not max_seconds > 0:
            raise ConfigError("FileSessionStore.max_seconds", f"is {max_seconds}", "Pass seconds.")
        files = Path(folder) if folder else _default_folder("state", app) / "sessions"
        keys = Path(key_folder) if key_folder else _default_folder("data", app) / "session-keys"
        if files.absolute() == keys.absolute():
            raise ConfigError("FileSessionStore.key_folder", "is the folder itself", "Part them.")
        with _reported(""):
            self._files = OwnerFolder(files)
            self._ring = FileKeyRing(OwnerFolder(keys))
        self._max = max_seconds
        self._clock = clock

    def save(
        self,
        name: str = "default",
        *,
        issuer: str,
        client_id: str,
        secrets: Mapping[str, bytes | bytearray],
        ends_at: float,
        scopes: frozenset[str] = frozenset(),
        access_ends_at: float | None = None,
        started_at: float | None = None,
    ) -> SessionFacts:
        """Put a session in the place of *name*, under a new key; the old one's key is destroyed.

        Args:
            name: Lower-case letters, digits, ``.``, ``_``, ``-``; up to 64.
            issuer: Who issued the tokens.
            client_id: To which client.
            secrets: By name, e.g. ``access_token``; overwrite your own buffers afterwards.
            ends_at: Unix seconds; at most *max_seconds* from the start are taken.
            scopes: What the tokens grant.
            access_ends_at: Unix seconds of the access token's end.
            started_at: Unix seconds of the login that is renewed; now by default.

        Raises:
            ConfigError: A name is none, the end has passed, it is too long, or the folder is not
                private.
        """
        now = self._clock.now()
        started = now if started_at is None else min(started_at, now)
        facts = SessionFacts(
            issuer=issuer,
            client_id=client_id,
            scopes=scopes,
            started_at=started,
            ends_at=min(ends_at, started + self._max),
            access_ends_at=access_ends_at,
        )
        if not facts.ends_at > now:
            raise ConfigError("FileSessionStore.save", "ends_at has passed", "Log in again.")
        file = _file(name)
        with self._held(name), scratch(joined(_json(facts), secrets)) as content:
            if len(content) > LONGEST - _ROOM:
                raise ConfigError(
                    "session.secrets", "are too long", f"Keep to {LONGEST // 1024} KiB."
                )
            before = self._header(file)
            key_id, key = self._ring.make(ends_at=facts.ends_at, now=now)
            header = Header(key_id, 1 if before is None else before.version + 1, facts.ends_at)
            with scratch(key):
                self._files.replace(file, sealed(content, key=key, name=name, header=header))
            if before is not None:
                self._ring.destroy(before.key_id, now=now)
        emit("SESSION_FILE_SAVED", outcome="allowed", clock=self._clock, details={"session": name})
        return facts

    def load(self, name: str = "default") -> LocalSession:
        """Open a session; close it as soon as its secrets were used.

        Raises:
            AuthenticationError: ``reason`` says why: ``session_missing``, ``session_expired``,
                ``session_file_torn``, ``session_file_altered``, ``session_file_format``,
                ``session_key_gone`` (an older file was put back), ``session_file_future``,
                ``session_keys_torn``.
            ConfigError: The file or a folder is a link, another user's, or open to others.
        """
        file, now = _file(name), self._clock.now()
        with self._held(name):
            sealed_content = self._files.read(file, limit=LONGEST)
            if sealed_content is None:
                raise AuthenticationError("session_missing")
            header = read_header(sealed_content)
            key = self._ring.find(header.key_id, now=now)
            if key is None:
                # The ring no longer gives out the key of what has ended.
                if header.ends_at > now:
                    raise AuthenticationError("session_key_gone")
                self._drop(file, header.key_id)
                raise AuthenticationError("session_expired")
            with scratch(key):
                content = opened(sealed_content, key=key, name=name)
            facts, places = _facts(content, now)
            return LocalSession(facts, content, places, clock=self._clock)

    def remove(self, name: str = "default") -> bool:
        """Delete a session's file and destroy its key; tell whether there was one.

        A file that is torn, altered, open to others or a link goes too.
        """
        file = _file(name)
        with self._held(name):
            header = self._header(file)
            there = os.path.lexists(self._files.path / file)
            self._drop(file, header.key_id if header else None)
        if there:
            emit(
                "SESSION_FILE_REMOVED",
                outcome="allowed",
                clock=self._clock,
                details={"session": name},
            )
        return there

    def names(self) -> list[str]:
        """List the sessions whose files are there, ended ones included."""
        found = (path.name.removesuffix(_SUFFIX) for path in self._files.path.glob(f"*{_SUFFIX}"))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def _header(self, file: str) -> Header | None:
        """Return what the file in the way says of itself, if it is any file of ours."""
        try:
            content = self._files.read(file, limit=LONGEST)
            return None if content is None else read_header(content)
        except (AuthenticationError, ConfigError):
            check_private_folder(self._files.path)
            return None

    def _drop(self, file: str, key_id: bytes | None) -> None:
        # The key first: whoever stops us in between keeps a file that nothing opens.
        self._ring.destroy(key_id, now=self._clock.now())
        (self._files.path / file).unlink(missing_ok=True)

    @contextmanager
    def _held(self, name: str) -> Iterator[None]:
        with _reported(name), self._ring.folder.locked():
            yield


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationError as refusal:
        if refusal.reason != "session_missing":
            _report(name, refusal.reason)
        raise
    except ConfigError:
        _report(name, "session_file_unsafe")
        raise


def _report(name: str, reason: str) -> None:
    emit("SESSION_FILE_REFUSED", outcome="denied", reason=reason, details={"session": name})


def _facts(content: bytearray, now: float) -> tuple[SessionFacts, Places]:
    try:
        about, places = parsed(content)
        facts = SessionFacts(**{**about, "scopes": frozenset(about.get("scopes", ()))})
    except (AuthenticationError, TypeError):
        wipe(content)
        raise AuthenticationError("session_file_format") from None
    if facts.ends_at <= now or facts.started_at > now + _CLOCK_SLACK:
        wipe(content)
        ended = facts.ends_at <= now  # the ring said otherwise, and nothing seals the ring
        raise AuthenticationError("session_expired" if ended else "session_file_future")
    return facts, places


def _json(facts: SessionFacts) -> dict[str, Any]:
    return {**asdict(facts), "scopes": sorted(facts.scopes)}


def _file(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError("session name", f"{name!r} is none", "Write e.g. 'default'.")
    return name + _SUFFIX


def _default_folder(kind: str, app: str) -> Path:
    folders = require_extra("platformdirs", feature="FileSessionStore without folders", extra="cli")
    return Path(getattr(folders, f"user_{kind}_path")(app, appauthor=False))
