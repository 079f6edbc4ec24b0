"""A shelf as three JSON files: what is written, and how what is found there is judged.

``keys.json`` and ``heads.json`` lie beside ``secrets.json`` so that a backup can hold the secrets
without their keys, and so that one file put back alone is found out by another.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from asgi_guard._internal.private_files import read_private, replace_private
from asgi_guard.errors import VaultOpenError
from asgi_guard.vault.records import Head, Status, StoredKey, StoredSecret
from asgi_guard.vault.shelf import HEADS, KEYS, SECRETS, Shelf

__all__ = ["read_shelf", "tenant_of", "write_parts"]

_LARGEST: Final = 64 * 2**20
T = TypeVar("T")


def read_shelf(folder: Path, tenant_id: str) -> Shelf:
    """Read the shelf in *folder*; an empty one where nothing is yet.

    Raises:
        ConfigError: A file is a link, another user's, or open to others.
        VaultOpenError: ``vault_malformed``: a file is not ours; ``vault_swapped``: it is another
            tenant's.
    """
    return Shelf(
        keys={key.number: key for key in _read(folder, KEYS, tenant_id, _key)},
        heads=dict(_read(folder, HEADS, tenant_id, _head)),
        secrets=dict(_read(folder, SECRETS, tenant_id, _secret)),
    )


def write_parts(folder: Path, tenant_id: str, shelf: Shelf, parts: Iterable[str]) -> None:
    """Make *parts* durable, one after the other, each at once."""
    for part in parts:
        content = {"format": 1, "tenant": tenant_id, part: _RENDER[part](shelf)}
        replace_private(folder / f"{part}.json", json.dumps(content).encode())


def tenant_of(folder: Path) -> str | None:
    """Tell whose shelf *folder* holds; None where there are no keys yet.

    Raises:
        ConfigError: As `read_shelf`.
        VaultOpenError: As `read_shelf`.
    """
    found = _content(folder / f"{KEYS}.json")
    if found is None:
        return None
    tenant = found.get("tenant")
    if not isinstance(tenant, str):
        raise VaultOpenError("vault_malformed")
    return tenant


def _read(folder: Path, part: str, tenant_id: str, convert: Callable[[Any], T]) -> list[T]:
    found = _content(folder / f"{part}.json")
    if found is None:
        return []
    if found.get("tenant") != tenant_id:
        raise VaultOpenError("vault_swapped")
    try:
        return [convert(item) for item in found[part]]
    except (KeyError, TypeError, ValueError):
        pass
    raise VaultOpenError("vault_malformed")


def _content(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(read_private(path, limit=_LARGEST))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise VaultOpenError("vault_malformed")
    if found.get("format") != 1:
        raise VaultOpenError("vault_format_unknown")
    return found


def _keys(shelf: Shelf) -> list[dict[str, Any]]:
    return [
        {
            "number": key.number,
            "key_id": _text(key.key_id),
            "master_id": key.master_id,
            "wrapped": _text(key.wrapped),
            "shredded": key.shredded,
        }
        for key in shelf.keys.values()
    ]


def _heads(shelf: Shelf) -> list[dict[str, Any]]:
    return [
        {"user": user, "provider": provider, "version": head.version, "status": head.status}
        for (user, provider), head in shelf.heads.items()
    ]


def _secrets(shelf: Shelf) -> list[dict[str, Any]]:
    return [
        {
            "user": user,
            "provider": provider,
            "version": secret.version,
            "key_number": secret.key_number,
            "envelope": _text(secret.envelope),
        }
        for (user, provider), secret in shelf.secrets.items()
    ]


def _key(item: dict[str, Any]) -> StoredKey:
    return StoredKey(
        number=_number(item["number"]),
        key_id=_bytes(item["key_id"]),
        master_id=_string(item["master_id"]),
        wrapped=_bytes(item["wrapped"]),
        shredded=item["shredded"] is not False,
    )


def _head(item: dict[str, Any]) -> tuple[tuple[str, str], Head]:
    return _place(item), Head(_number(item["version"]), Status(item["status"]))


def _secret(item: dict[str, Any]) -> tuple[tuple[str, str], StoredSecret]:
    version, number = _number(item["version"]), _number(item["key_number"])
    return _place(item), StoredSecret(version, number, _bytes(item["envelope"]))


def _place(item: dict[str, Any]) -> tuple[str, str]:
    return _string(item["user"]), _string(item["provider"])


def _number(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("not a count")
    return value


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not a text")
    return value


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(value: Any) -> bytes:
    return base64.b64decode(_string(value), validate=True)


_RENDER: Final[dict[str, Callable[[Shelf], list[dict[str, Any]]]]] = {
    KEYS: _keys,
    HEADS: _heads,
    SECRETS: _secrets,
}
