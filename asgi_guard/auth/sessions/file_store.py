"""FileSessionStore: where a command-line program keeps its user's session.

Protects the tokens on a person's machine against other users of it, against whoever gets a copy of
the folder, and against their own past: a session that has ended cannot be read, not from a backup
either, for its key is gone. Against a program that runs as the same person nothing in a file helps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.owner_files import OwnerFolder
from asgi_guard._internal.private_files import check_private_folder, locked
from asgi_guard.auth.sessions.file_content import joined
from asgi_guard.auth.sessions.file_envelope import LONGEST, Header, opened, read_header, sealed
from asgi_guard.auth.sessions.file_facts import read, written
from asgi_guard.auth.sessions.file_keys import FileKeyRing
from asgi_guard.auth.sessions.file_memory import scratch
from asgi_guard.auth.sessions.file_places import SUFFIX, default_folder, is_name, session_file
from asgi_guard.auth.sessions.file_session import LocalSession, SessionFacts
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Clock

__all__ = ["FileSessionStore"]

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
        files = Path(folder) if folder else default_folder("state", app) / "sessions"
        keys = Path(key_folder) if key_folder else default_folder("data", app) / "session-keys"
        files, keys = files.absolute(), keys.absolute()  # wherever the program goes later
        if files == keys:
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
        instead_of: bytes | None = None,
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
            instead_of: `LocalSession.mark` of the one that must still be there.

        Raises:
            AuthenticationError: ``session_replaced``: it is not, by a logout or another login.
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
        file = session_file(name)
        with self._held(name), scratch(joined(written(facts), secrets)) as content:
            if len(content) > LONGEST - _ROOM:
                raise ConfigError(
                    "session.secrets", "are too long", f"Keep to {LONGEST // 1024} KiB."
                )
            before = self._unchanged(file, instead_of)
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
        file, now = session_file(name), self._clock.now()
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
            facts, places = read(content, now=now)
            return LocalSession(facts, content, places, mark=header.key_id, clock=self._clock)

    def remove(self, name: str = "default", *, mark: bytes | None = None) -> bool:
        """Delete a session's file and destroy its key; tell whether there was one.

        A file that is torn, altered, open to others or a link goes too.

        Raises:
            AuthenticationError: ``session_replaced``: it is not the one with *mark* any more.
        """
        file = session_file(name)
        with self._held(name):
            header = self._unchanged(file, mark)
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
        found = (path.name.removesuffix(SUFFIX) for path in self._files.path.glob(f"*{SUFFIX}"))
        return sorted(name for name in found if is_name(name))

    @contextmanager
    def alone(self, name: str = "default") -> Iterator[None]:
        """Wait until no other process renews *name*, and keep them waiting for the block.

        A refresh token is good for one use. Only those who enter here wait for each other; nobody
        else does, a logout least of all.
        """
        with locked(self._ring.folder.path / (session_file(name) + ".lock")):
            yield

    def _unchanged(self, file: str, mark: bytes | None) -> Header | None:
        found = self._header(file)
        if mark is not None and (found is None or found.key_id != mark):
            raise AuthenticationError("session_replaced")
        return found

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
