"""Optional third parties: imported when named, with the exact install line when missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from asgi_guard.errors import MissingExtraError

__all__ = ["require_extra"]


def require_extra(module: str, *, feature: str, extra: str) -> ModuleType:
    """Import *module*, or say which extra brings it.

    Raises:
        MissingExtraError: The package is not installed. A broken install (the package is there
            but fails to import something else) keeps its own error.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        wanted, lacking = module.partition(".")[0], (missing.name or "").partition(".")[0]
        if wanted != lacking:
            raise
        raise MissingExtraError(feature, extra) from missing
