"""Find the demo: in a checkout it is ``examples/saas``, in an installed wheel a copy of that."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ConfigError

__all__ = ["load_demo"]

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_PLACES: Final = (_PACKAGE / "_demo", _PACKAGE.parent / "examples" / "saas")
_NAME: Final = "asgi_guard_demo"
_NEEDS: Final = ("fastapi", "uvicorn", "websockets", "httpx2")


def load_demo() -> Callable[..., bool]:
    """Return the demo's ``run(once=, port=, console=)``.

    Raises:
        MissingExtraError: Something that the demo needs is not installed.
        ConfigError: The demo's files are not there.
    """
    for module in _NEEDS:
        require_extra(module, feature="asgi-guard demo", extra="demo")
    place = next((each for each in _PLACES if (each / "serve.py").is_file()), None)
    if place is None:
        raise ConfigError("demo", "its files are not installed", "Install asgi-guard from a wheel.")
    spec = spec_from_file_location(
        _NAME, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    if spec is None or spec.loader is None:
        raise ConfigError("demo", f"{place} cannot be imported", "Install asgi-guard again.")
    package = module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    run: Any = import_module(f"{_NAME}.serve").run
    return run  # type: ignore[no-any-return]  # the demo is no part of the typed package
