"""``python -m asgi_guard.cli`` and the ``asgi-guard`` command."""

from __future__ import annotations

from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import MissingExtraError

__all__ = ["main"]


def main() -> None:
    """Run the command line; a missing extra is one line, not a traceback."""
    try:
        require_extra("typer", feature="the asgi-guard command", extra="cli")
        require_extra("rich", feature="the asgi-guard command", extra="cli")
    except MissingExtraError as missing:
        raise SystemExit(str(missing)) from None
    # Here, since a missing extra is named first.
    from asgi_guard.auth.sessions.file_memory import keep_from_dumps  # noqa: PLC0415
    from asgi_guard.cli.app import app  # noqa: PLC0415

    keep_from_dumps()  # passwords, tokens and private keys pass through
    app()


if __name__ == "__main__":
    main()
