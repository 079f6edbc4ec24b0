"""How a refusal is told in a shell: one line, and an exit code of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer
from rich.console import Console

from asgi_guard._internal.clock import utc
from asgi_guard.auth.sessions.file_required import EXIT_CODES, EXIT_REFUSED
from asgi_guard.errors import AuthenticationError, ConfigError, GuardError
from asgi_guard.observability import SecurityEvent, subscribe

__all__ = ["explained", "leave", "shown_time"]

_LOGIN_REFUSED: Final = 1
_FAILED: Final = 2


@contextmanager
def explained(*, unsafe: int = _FAILED) -> Iterator[None]:
    """Turn our errors into a line on standard error and an exit code.

    1: the login was refused; 2: something is wrong with the settings, or the server does not
    answer; 3, 4, 5: there is no session, it has ended, its file was refused.

    Args:
        unsafe: Exit code of a `ConfigError`; `EXIT_REFUSED` where only the file can be its reason.
    """
    stop = subscribe(_Quiet())
    try:
        yield
    except (GuardError, OSError) as error:
        leave(error, unsafe=unsafe)
    finally:
        stop()


def leave(error: Exception, *, unsafe: int = _FAILED) -> None:
    """Say what is wrong, and exit; see `explained`.

    Raises:
        typer.Exit: Always.
    """
    reason = getattr(error, "reason", "") or getattr(error, "code", type(error).__name__)
    refused = isinstance(error, AuthenticationError)
    text = "" if refused else f" {error}"
    console = Console(stderr=True)
    console.print(f"{reason}{text}", highlight=False, markup=False, soft_wrap=True)
    if not refused:
        raise typer.Exit(unsafe if isinstance(error, ConfigError) else _FAILED) from None
    login = reason.startswith("login_")
    raise typer.Exit(_LOGIN_REFUSED if login else EXIT_CODES.get(reason, EXIT_REFUSED)) from None


def shown_time(seconds: float) -> str:
    """Return a time for people, in UTC."""
    return utc(seconds).strftime("%Y-%m-%d %H:%M:%SZ")


class _Quiet:
    """What is refused is said by the command itself; standard output is for its result."""

    def emit(self, event: SecurityEvent) -> None:
        """Print nothing."""
