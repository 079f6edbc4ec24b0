"""``@requires_session``: a command that runs for whoever is logged in, or not at all."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from asgi_guard.auth.sessions.file_session import LocalSession
from asgi_guard.auth.sessions.file_store import FileSessionStore
from asgi_guard.errors import AuthenticationError, ConfigError

__all__ = ["EXIT_CODES", "EXIT_REFUSED", "requires_session"]

F = TypeVar("F", bound=Callable[..., Any])
EXIT_REFUSED: Final = 5
"""Exit code for a file that is torn, altered or unsafe."""
EXIT_CODES: Final = {
    "session_missing": 3,
    "session_expired": 4,
    "session_access_expired": 4,
    "session_scope_missing": 6,
}
"""Exit codes by reason; any other is `EXIT_REFUSED`."""


def requires_session(
    store: FileSessionStore | Callable[[], FileSessionStore] | None = None,
    *,
    name: str = "default",
    scopes: frozenset[str] = frozenset(),
    login: str = "asgi-guard login",
) -> Callable[[F], F]:
    """Run a function, plain or ``async``, only while there is a session.

    ::

        @app.command()  # of Typer, or anything else that reads the signature
        @requires_session()
        def upload(path: Path, session: LocalSession) -> None: ...

    Args:
        store: Where sessions are, or what makes it; a `FileSessionStore` by default, made at the
            call.
        name: Which session.
        scopes: What it must grant.
        login: The command to name when there is none.

    Returns:
        A decorator. A parameter called ``session`` receives the open `LocalSession`, and is gone
        from the signature; it is closed when the function has returned. Without a session one line
        goes to standard error and the program exits, with `EXIT_CODES` of the reason.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        wanted = "session" in signature.parameters

        def opened() -> LocalSession:
            return _open(store, name, scopes, login)

        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            with opened() as session:
                return function(*arguments, **options, **({"session": session} if wanted else {}))

        @functools.wraps(function)
        async def run_async(*arguments: Any, **options: Any) -> Any:
            with opened() as session:
                given = {"session": session} if wanted else {}
                return await function(*arguments, **options, **given)

        wrapper: Any = run_async if inspect.iscoroutinefunction(function) else run
        left = [each for each in signature.parameters.values() if each.name != "session"]
        wrapper.__signature__ = signature.replace(parameters=left)
        return wrapper  # type: ignore[no-any-return] # the signature changes on purpose

    return decorate


def _open(
    store: FileSessionStore | Callable[[], FileSessionStore] | None,
    name: str,
    scopes: frozenset[str],
    login: str,
) -> LocalSession:
    try:
        kept = store if isinstance(store, FileSessionStore) else (store or FileSessionStore)()
        session = kept.load(name)
    except AuthenticationError as refusal:
        _leave(refusal.reason, f"run: {login}")
    except (ConfigError, OSError) as unsafe:  # a full disk, no locks, a folder that is a file
        _leave("session_file_unsafe", str(unsafe))
    if not scopes <= session.facts.scopes:
        session.close()
        _leave("session_scope_missing", f"run: {login}, and ask for {' '.join(sorted(scopes))}")
    return session


def _leave(reason: str, remedy: str) -> NoReturn:
    sys.stderr.write(f"{reason}: {remedy}\n")
    raise SystemExit(EXIT_CODES.get(reason, EXIT_REFUSED))
