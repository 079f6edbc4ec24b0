"""Master keys and the ring: where they may come from, and what they refuse to unwrap."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from pathlib import Path

import pytest

from asgi_guard.errors import ConfigError, VaultOpenError, VaultUnavailableError
from asgi_guard.secret import Secret
from asgi_guard.vault.keyring import KeyRing
from asgi_guard.vault.master_key import (
    LocalMasterKey,
    MasterKeySource,
    new_master_key,
    write_master_key,
)
from tests.support.tenancy_world import MovedClock
from tests.support.vault_kms import LoopbackKMS


async def test_a_data_key_comes_back_for_its_own_tenant_and_number_only() -> None:
    """A wrapped key copied into another tenant's row is the shortest way to its secrets."""
    ring = KeyRing(LocalMasterKey(new_master_key()))
    stored, key = await ring.make("acme", 1)

    assert (await ring.unwrap("acme", stored)).reveal() == key.reveal()
    for tenant, wrong in [
        ("globex", stored),
        ("acme", replace(stored, number=2)),
        ("acme", replace(stored, wrapped=stored.wrapped[:-1])),
        ("acme", replace(stored, wrapped=b"")),
        ("acme", replace(stored, wrapped=stored.wrapped[:-1] + bytes([stored.wrapped[-1] ^ 1]))),
    ]:
        with pytest.raises(VaultOpenError, match="vault_altered"):
            await ring.unwrap(tenant, wrong)


async def test_each_tenant_has_a_wrapping_key_of_its_own() -> None:
    """Not the associated data alone: what one tenant's key opens, another's cannot."""
    master = LocalMasterKey(new_master_key())

    assert master._tenant_key("acme") != master._tenant_key("globex")


async def test_a_ring_without_the_master_says_so() -> None:
    """The commonest mistake after a rotation, and no attack."""
    stored, _ = await KeyRing(LocalMasterKey(new_master_key())).make("acme", 1)

    with pytest.raises(VaultOpenError, match="vault_master_unknown"):
        await KeyRing(LocalMasterKey(new_master_key())).unwrap("acme", stored)


async def test_an_older_master_unwraps_and_wraps_nothing_new() -> None:
    """Between the two ends of a rotation both keys are in use."""
    old, new = LocalMasterKey(new_master_key()), LocalMasterKey(new_master_key())
    before, key = await KeyRing(old).make("acme", 1)
    ring = KeyRing(new, older=[old])

    assert (await ring.unwrap("acme", before)).reveal() == key.reveal()
    assert (await ring.make("acme", 2))[0].master_id == new.master_id == ring.active_id


async def test_a_forged_name_of_a_key_is_found_out() -> None:
    """A row that claims another key id than the key it wraps."""
    ring = KeyRing(LocalMasterKey(new_master_key()))
    stored, _ = await ring.make("acme", 1)

    with pytest.raises(VaultOpenError, match="vault_wrong_key"):
        await ring.unwrap("acme", replace(stored, key_id=b"8 bytes!"))


async def test_a_shredded_key_is_shut_even_while_it_is_remembered() -> None:
    """The memory of a process must not outlive a tenant's right to be forgotten."""
    ring = KeyRing(LocalMasterKey(new_master_key()))
    stored, _ = await ring.make("acme", 1)
    await ring.unwrap("acme", stored)

    with pytest.raises(VaultOpenError, match="vault_shredded"):
        await ring.unwrap("acme", replace(stored, wrapped=b"", shredded=True))


async def test_a_service_is_asked_once_until_memory_runs_out() -> None:
    """A key management service bills each call, and adds its latency."""
    clock, service = MovedClock(), LoopbackKMS()
    ring = KeyRing(service, remember=300.0, clock=clock)
    stored, _ = await ring.make("acme", 1)

    for _ in range(5):
        await ring.unwrap("acme", stored)
    clock.time += 300
    await ring.unwrap("acme", stored)

    assert isinstance(service, MasterKeySource)
    assert service.unwrapped == 2


async def test_a_service_that_fails_or_hangs_is_unavailable_and_its_words_are_kept_back() -> None:
    """Its error may quote the request, and with it the key."""
    service = LoopbackKMS()
    ring = KeyRing(service, timeout=0.05)
    stored, _ = await ring.make("acme", 1)

    for trouble in ("fail", "hang"):
        service.trouble = trouble
        with pytest.raises(VaultUnavailableError) as caught:
            await ring.unwrap("acme", stored)
        assert caught.value.reason == "master_key_unreachable"
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "too short",
        base64.b64encode(bytes(31) + b"x").decode(),
        base64.b64encode(bytes(32)).decode(),
        base64.b64encode(b"changeme" * 4).decode(),
        base64.b64encode(bytes(range(33))).decode(),
        "\u043e" * 43,
    ],
)
def test_a_key_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    """A placeholder that went into production protects nothing."""
    with pytest.raises(ConfigError) as caught:
        LocalMasterKey(Secret(text))
    assert not text or text not in str(caught.value)


def test_both_base64_alphabets_give_the_same_key() -> None:
    """As openssl writes it and as Python does."""
    raw = bytes(range(224, 256))
    one = LocalMasterKey(Secret(base64.b64encode(raw).decode() + "\n"))
    other = LocalMasterKey(Secret(base64.urlsafe_b64encode(raw).decode().rstrip("=")))

    assert one.master_id == other.master_id


def test_a_key_file_is_made_private_and_never_overwritten(tmp_path: Path) -> None:
    """Whoever runs the command twice must not lose every token."""
    path = tmp_path / "master.key"
    write_master_key(path)
    first = LocalMasterKey.from_file(path).master_id

    with pytest.raises(FileExistsError):
        write_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert LocalMasterKey.from_file(str(path)).master_id == first


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that others have read is no secret, whatever its mode is later."""
    path = tmp_path / "master.key"
    write_master_key(path)
    path.chmod(mode)

    with pytest.raises(ConfigError, match=f"{mode:04o}"):
        LocalMasterKey.from_file(path)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "missing", "long", "dangling"])
def test_a_key_file_that_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    """A link lets its owner choose the key, and a pipe would hang the start."""
    path = tmp_path / "master.key"
    real = tmp_path / "real.key"
    write_master_key(real)
    if kind == "link":
        path.symlink_to(real)
    elif kind == "folder":
        path.mkdir(mode=0o700)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "long":
        path.touch(mode=0o600)
        path.write_bytes(b"A" * 4096)

    with pytest.raises(ConfigError):
        LocalMasterKey.from_file(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Its owner can change it back to what they know."""
    path = tmp_path / "master.key"
    write_master_key(path)
    os.chown(path, 65534, 65534)

    with pytest.raises(ConfigError, match="another user"):
        LocalMasterKey.from_file(path)


def test_masters_show_no_key_and_rings_refuse_nonsense() -> None:
    """A ring is printed when settings are."""
    text = new_master_key()
    master = LocalMasterKey(text)

    assert text.reveal() not in repr(master) + repr(KeyRing(master)) + repr(text)
    with pytest.raises(TypeError):
        master.__reduce__()
    with pytest.raises(ConfigError, match="twice"):
        KeyRing(master, older=[LocalMasterKey(text)])
    with pytest.raises(ConfigError, match="str"):
        KeyRing("key")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="timeout"):
        KeyRing(master, timeout=0)
    with pytest.raises(ConfigError, match="Secret"):
        LocalMasterKey(text.reveal())  # type: ignore[arg-type]
