"""Where the sessions of a person lie, and what they may be called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError

__all__ = ["SUFFIX", "default_folder", "is_name", "session_file"]

SUFFIX: Final = ".session"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_name(text: str) -> bool:
    """Tell whether a session may be called that."""
    return _NAME.fullmatch(text) is not None


def session_file(name: str) -> str:
    """Return the name of a session's file.

    Raises:
        ConfigError: *name* is none.
    """
    if not is_name(name):
        raise ConfigError("session name", f"{name!r} is none", "Write e.g. 'default'.")
    return name + SUFFIX


def default_folder(kind: str, app: str) -> Path:
    """Return the user's folder of *app* for ``"state"`` or ``"data"`` (XDG Base Directory).

    Raises:
        ConfigError: It would depend on where the program is started: a relative path in the
            environment, which the specification calls invalid.
        MissingExtraError: platformdirs is not installed.
    """
    folders = require_extra("platformdirs", feature="FileSessionStore without folders", extra="cli")
    found = Path(getattr(folders, f"user_{kind}_path")(app, appauthor=False))
    if not found.is_absolute():
        raise ConfigError(
            f"the user's {kind} folder",
            f"{str(found)!r} is a relative path",
            f"Write an absolute one into XDG_{kind.upper()}_HOME or HOME, or none.",
        )
    return found
