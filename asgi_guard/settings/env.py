"""The only reader of the environment: the plain values of `GuardSettings`, each checked by name.

==================================  ===================================================
``ASGI_GUARD_ENVIRONMENT``          ``production``, ``development`` or ``test``
``ASGI_GUARD_STARTUP_CHECKS``       ``enforce`` or ``monitor``
``ASGI_GUARD_TENANT_SHAPE``         ``uuid``, ``slug`` or ``integer``
``ASGI_GUARD_NOT_FOUND_STATUS``     ``404`` or ``403``
``ASGI_GUARD_PUBLIC_PATHS``         paths, separated by commas
``ASGI_GUARD_REQUEST_ID_HEADER``    a header name
``ASGI_GUARD_TRUSTED_PROXIES``      addresses and networks, separated by commas
``ASGI_GUARD_ALLOW_ORIGINS``        origins, separated by commas
``ASGI_GUARD_SECURITY_HEADERS``     ``api``, ``html``, ``docs`` or ``report_only``
``ASGI_GUARD_VAULT_MASTER_KEY``     the vault's, in base64; for `read_vault_master_key`
==================================  ===================================================

What is no plain value (authenticators, databases, policies) is given in code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any, Final, TypeVar

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.errors import ConfigError
from asgi_guard.origins import Environment as OriginEnvironment
from asgi_guard.origins import OriginPolicy
from asgi_guard.secret import Secret
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, UUID

__all__ = ["PREFIX", "read_environment", "read_vault_master_key"]

PREFIX: Final = "ASGI_GUARD_"

T = TypeVar("T")


def read_environment(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments of `GuardSettings` that the environment sets.

    Args:
        environ: Instead of the process's own.

    Raises:
        ConfigError: A value is wrong, or a name is nearly one of ours; it names the variable.
    """
    given = os.environ if environ is None else environ
    _refuse_misspelled(given)
    found: dict[str, Any] = {}
    for field, read in _READERS.items():
        name = _name(field)
        if (value := given.get(name)) is not None:
            found[field] = _read(name, value.strip(), read)
    if "origins" in found:
        found["origins"] = _origins(found["origins"], found.get("environment", "production"))
    return found


def read_vault_master_key(environ: Mapping[str, str] | None = None) -> Secret:
    """Return the vault's master key, for `LocalMasterKey`; it is no setting, and stays masked.

    Args:
        environ: Instead of the process's own.

    Raises:
        ConfigError: It is not set, or one of its name is nearly right.

    Prefer a file of mode 0600: a process's environment is inherited by every child, and shown by
    ``docker inspect`` and crash reports.
    """
    given = os.environ if environ is None else environ
    _refuse_misspelled(given)
    value = given.get(_MASTER_KEY, "").strip()
    if not value:
        raise ConfigError(_MASTER_KEY, "is not set", "Set it, or use LocalMasterKey.from_file().")
    return Secret(value)


def _origins(listed: list[str], environment: str) -> OriginPolicy:
    kind: OriginEnvironment = "production" if environment == "production" else "development"
    return _read(_name("origins"), listed, partial(OriginPolicy, environment=kind))


def _read(name: str, value: Any, read: Callable[[Any], T]) -> T:
    try:
        return read(value)
    except ConfigError as error:
        # Whoever set it knows the variable, not the argument that it becomes.
        raise ConfigError(name, error.problem, error.remedy) from None


def _name(field: str) -> str:
    return PREFIX + _NAMES.get(field, field).upper()


def _refuse_misspelled(given: Mapping[str, str]) -> None:
    known = [*(_name(field) for field in _READERS), _MASTER_KEY]
    for name in given:
        if not name.startswith(PREFIX) or name in known:
            continue
        if near := get_close_matches(name, known, n=1, cutoff=0.85):
            raise ConfigError(name, "is no setting", f"Did you mean {near[0]}?")


def _choice(values: Mapping[str, T]) -> Callable[[str], T]:
    def read(text: str) -> T:
        if text not in values:
            names = ", ".join(values)
            raise ConfigError("", f"{text!r} is unknown", f"Use one of: {names}.")
        return values[text]

    return read


def _words(*words: str) -> Callable[[str], str]:
    return _choice({word: word for word in words})


def _list(text: str) -> list[str]:
    return [part for piece in text.split(",") if (part := piece.strip())]


def _proxies(text: str) -> TrustedProxies:
    return TrustedProxies(_list(text))


_MASTER_KEY: Final = f"{PREFIX}VAULT_MASTER_KEY"
_NAMES: Final = {"origins": "allow_origins"}
_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "environment": _words("production", "development", "test"),
    "startup_checks": _words("enforce", "monitor"),
    "tenant_shape": _choice({"uuid": UUID, "slug": SLUG, "integer": INTEGER}),
    "not_found_status": _choice({"404": 404, "403": 403}),
    "public_paths": _list,
    "request_id_header": str,
    "trusted_proxies": _proxies,
    "origins": _list,
    "security_headers": _words("api", "html", "docs", "report_only"),
}
