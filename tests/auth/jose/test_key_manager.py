"""KeyManager: keys that rotate without a gap, and a folder that survives everything."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from asgi_guard.auth.jose import KeyManager, TokenIssuer, TokenVerifier
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.observability import subscribe
from asgi_guard.secret import Secret
from tests.support.architecture.source import ROOT
from tests.support.exchange import Events
from tests.support.jose_tokens import policy, reason
from tests.support.tenancy_world import MovedClock

DAY = 86_400
PASSPHRASE = Secret("six random words are enough")


def manager(folder: Path, clock: MovedClock | None = None, **options: Any) -> KeyManager:
    """Return a manager of quickly made keys on *folder*."""
    return KeyManager(
        folder / "keys", **{"algorithm": "ES256", "clock": clock or MovedClock(), **options}
    )


def states(keys: KeyManager) -> list[str]:
    """Return what each key does now."""
    return [each.state for each in keys.status()]


async def test_rsa_4096_is_what_it_makes_when_nothing_else_is_said(tmp_path: Path) -> None:
    """The default is what most deployments run."""
    keys = KeyManager(tmp_path / "keys")

    await keys.open()

    key = keys.signing_key()
    assert key.algorithm == "RS256"
    assert key.public.public_key.key_size == 4096


async def test_a_key_is_published_a_day_before_it_signs_and_verifies_a_week_after(
    tmp_path: Path,
) -> None:
    """The whole life of a key, at each of its edges."""
    clock = MovedClock()
    keys = manager(tmp_path, clock)
    await keys.open()
    first = keys.signing_key()

    clock.time += 29 * DAY - 1
    keys.maintain()
    assert states(keys) == ["signing"]
    clock.time += 1
    keys.maintain()
    assert states(keys) == ["signing", "next"]
    second = json.loads(keys.jwks().body)["keys"][1]["kid"]
    assert keys.signing_key() is first

    clock.time += DAY - 1
    assert keys.signing_key() is first
    clock.time += 1
    assert keys.signing_key().kid == second
    assert keys.find(first.kid, "ES256") is first.public

    clock.time += 7 * DAY - 1
    assert keys.find(first.kid, "ES256") is first.public
    clock.time += 1
    assert keys.find(first.kid, "ES256") is None, "retired to the moment, by nobody's doing"
    assert first.kid not in keys.jwks().body.decode()
    keys.maintain()
    assert [each.kid for each in keys.status()] == [second]


async def test_after_a_long_pause_the_next_key_is_still_published_first(tmp_path: Path) -> None:
    """A service that slept for a year must not sign with what nobody has seen."""
    clock = MovedClock()
    keys = manager(tmp_path, clock)
    await keys.open()
    first = keys.signing_key()

    clock.time += 365 * DAY
    await manager(tmp_path, clock).open()
    keys.maintain()

    assert states(keys) == ["signing", "next"]
    assert keys.signing_key() is first
    clock.time += DAY
    assert keys.signing_key() is not first


async def test_the_grace_is_never_shorter_than_the_longest_token(tmp_path: Path) -> None:
    """Refresh tokens live for two weeks."""
    assert manager(tmp_path, longest_token=14 * DAY).grace == 14 * DAY
    assert manager(tmp_path, longest_token=60).grace == 7 * DAY
    with pytest.raises(ConfigError):
        TokenIssuer(policy(types=("refresh",)), keys=manager(tmp_path))


async def test_tokens_outlive_the_rotation_of_their_key_and_die_with_its_revocation(
    tmp_path: Path,
) -> None:
    """From the cache as well, and in another process within seconds."""
    clock = MovedClock()
    keys, elsewhere = manager(tmp_path, clock), manager(tmp_path, clock)
    await keys.open()
    await elsewhere.open()
    rules = policy(algorithms=("ES256",))
    here, there = (TokenVerifier(rules, keys=each, clock=clock) for each in (keys, elsewhere))
    made = await TokenIssuer(rules, keys=keys, clock=clock).issue_access("alice", client_id="web")
    token = made.token.reveal()

    await keys.rotate(immediately=True)
    assert (await here.verify(token)).kid == made.kid
    assert (await there.verify(token)).kid == made.kid

    await keys.revoke(made.kid)
    assert await reason(token, here) == "key_unknown"
    elsewhere.maintain()
    assert await reason(token, there) == "key_unknown"
    assert keys.signing_key().kid != made.kid


async def test_a_key_that_another_process_made_is_found_by_looking_again(tmp_path: Path) -> None:
    """At most once a second: unknown kids are free to make up."""
    clock = MovedClock()
    keys, elsewhere = manager(tmp_path, clock), manager(tmp_path, clock)
    await keys.open()
    await elsewhere.open()
    rules = policy(algorithms=("ES256",))
    kid = await elsewhere.rotate(immediately=True)
    issuer = TokenIssuer(rules, keys=elsewhere, clock=clock)
    token = (await issuer.issue_access("alice", client_id="web")).token.reveal()

    assert keys.find(kid, "ES256") is None
    assert (await TokenVerifier(rules, keys=keys, clock=clock).verify(token)).kid == kid

    later = await elsewhere.rotate(immediately=True)
    await keys.look_again(later)
    assert keys.find(later, "ES256") is None, "within the second"
    clock.time += 1
    await keys.look_again(later)
    assert keys.find(later, "ES256") is not None


async def test_revoking_the_signer_leaves_a_signer(tmp_path: Path) -> None:
    """The next key if it is there, else a new one; a revoked one never comes back."""
    keys = manager(tmp_path)
    await keys.open()
    first = keys.signing_key().kid
    published = await keys.rotate()
    assert keys.signing_key().kid == first

    await keys.revoke(first)
    assert keys.signing_key().kid == published
    await keys.revoke(published)
    assert keys.signing_key().kid not in {first, published}
    with pytest.raises(ConfigError):
        await keys.revoke(first)


async def test_a_second_rotation_makes_no_second_successor(tmp_path: Path) -> None:
    """Two operators at once, or one who clicks twice."""
    keys = manager(tmp_path)
    await keys.open()

    assert await keys.rotate() == await keys.rotate()
    assert states(keys) == ["signing", "next"]
    assert await keys.rotate(immediately=True) == keys.signing_key().kid
    assert states(keys) == ["grace", "signing"]


async def test_each_operation_leaves_its_event_and_no_key(tmp_path: Path) -> None:
    """An auditor reads who did what to which kid."""
    sink, clock = Events(), MovedClock()
    stop = subscribe(sink)
    keys = manager(tmp_path, clock)
    await keys.open()
    await keys.rotate()
    await keys.rotate(immediately=True)
    await keys.revoke(keys.signing_key().kid)
    clock.time += 60 * DAY
    keys.maintain()
    keys.status()
    stop()

    assert [event.name for event in sink.seen] == [
        "KEY_ROTATED",
        "KEY_CREATED",
        "KEY_ROTATED",
        "KEY_REVOKED",
        "KEY_ROTATED",
        "KEY_RETIRED",
        "KEY_CREATED",
    ]
    assert "PRIVATE" not in repr(sink.seen)


async def test_a_pem_is_parsed_once_however_often_the_folder_is_read(tmp_path: Path) -> None:
    """RSA-4096 takes a third of a second; identity also keeps verified tokens cached."""
    keys, elsewhere = manager(tmp_path), manager(tmp_path)
    await keys.open()
    await elsewhere.open()
    first = elsewhere.signing_key()

    await keys.rotate()
    elsewhere.maintain()

    assert len(elsewhere.status()) == 2
    assert elsewhere.signing_key() is first


async def test_a_manager_that_was_not_opened_serves_nothing(tmp_path: Path) -> None:
    """503, not a crash and not a key made on the event loop."""
    keys = manager(tmp_path)

    for use in (keys.signing_key, keys.jwks, keys.status, lambda: keys.find("x", "ES256")):
        with pytest.raises(UnavailableError):
            use()
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"algorithm": "HS256"},
        {"algorithm": "none"},
        {"rsa_bits": 1024},
        {"rsa_bits": 1 << 20},
        {"rotate_every": 0},
        {"publish_ahead": 31 * DAY},
        {"grace": -1},
        {"grace": float("inf")},
        {"check_every": 0},
    ],
    ids=str,
)
def test_options_that_would_leave_a_gap_are_refused_when_built(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """At start-up."""
    with pytest.raises(ConfigError):
        manager(tmp_path, **options)
    with pytest.raises(ConfigError):
        KeyManager(7)  # type: ignore[arg-type]


async def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    """0600 in 0700, whatever the umask."""
    before = os.umask(0)
    try:
        await manager(tmp_path).open()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for file in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


@pytest.mark.parametrize(("name", "mode"), [("keys", 0o750), ("keys", 0o701)])
@pytest.mark.parametrize("file_mode", [0o600, 0o640, 0o604, 0o660])
async def test_anything_wider_is_refused_and_not_mended(
    tmp_path: Path, name: str, mode: int, file_mode: int
) -> None:
    """Somebody may have looked already; a chmod would hide it."""
    await manager(tmp_path).open()
    target = tmp_path / name
    if file_mode == 0o600:
        target.chmod(mode)
    else:
        (target / "keys.json").chmod(file_mode)

    with pytest.raises(ConfigError, match="mode"):
        await manager(tmp_path).open()


async def test_links_pipes_and_damaged_files_are_refused(tmp_path: Path) -> None:
    """A link that others can turn lets them choose the key."""
    await manager(tmp_path).open()
    file = tmp_path / "keys" / "keys.json"
    good = file.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path / "keys")
    with pytest.raises(ConfigError):
        await KeyManager(tmp_path / "link").open()

    document = json.loads(good)
    other = {**document, "keys": [{**document["keys"][0], "kid": "A" * 43}]}
    twice = {**document, "keys": document["keys"] * 2}
    back = {**document, "revoked": {document["keys"][0]["kid"]: 1}}
    for bad in (b"", b"{}", good[:-9], *(json.dumps(d).encode() for d in (other, twice, back))):
        file.write_bytes(bad)
        with pytest.raises(ConfigError) as caught:
            await manager(tmp_path).open()
        assert "PRIVATE" not in str(caught.value)
    file.unlink()
    os.mkfifo(file, 0o600)
    with pytest.raises(ConfigError):
        await manager(tmp_path).open()
    file.unlink()
    file.symlink_to("/etc/hostname")
    with pytest.raises(ConfigError):
        await manager(tmp_path).open()


async def test_a_folder_that_breaks_later_leaves_the_known_keys_in_use_and_says_so(
    tmp_path: Path,
) -> None:
    """A full disk must not log everybody out, and must not go unnoticed."""
    sink, clock = Events(), MovedClock()
    keys = manager(tmp_path, clock)
    await keys.open()
    signer = keys.signing_key()
    (tmp_path / "keys").chmod(0o755)
    stop = subscribe(sink)

    clock.time += 2
    await keys.look_again("x")
    stop()

    assert keys.signing_key() is signer
    assert [event.name for event in sink.seen] == ["KEY_MAINTENANCE_FAILED"]
    (tmp_path / "keys").chmod(0o700)
    (tmp_path / "keys" / "keys.json").unlink()
    with pytest.raises(ConfigError, match="lost"):
        keys.maintain()


async def test_a_use_after_a_while_looks_by_itself(tmp_path: Path) -> None:
    """No task, no timer: a use starts a thread, and what it finds is there for the next use."""
    clock = MovedClock()
    keys, elsewhere = manager(tmp_path, clock), manager(tmp_path, clock)
    await keys.open()
    await elsewhere.open()
    kid = await elsewhere.rotate()

    keys.signing_key()
    assert not [each for each in threading.enumerate() if each.name == "asgi-guard-keys"]
    clock.time += 5
    keys.signing_key()
    for thread in threading.enumerate():
        if thread.name == "asgi-guard-keys":
            await asyncio.to_thread(thread.join)

    assert keys.find(kid, "ES256") is not None


async def test_threads_always_get_a_whole_key(tmp_path: Path) -> None:
    """A kid with another key's signature would be a torn snapshot."""
    clock = MovedClock()
    keys = manager(tmp_path, clock)
    await keys.open()
    torn, stop = [], threading.Event()

    def sign() -> None:
        while not stop.is_set():
            key = keys.signing_key()
            public = keys.find(key.kid, "ES256")
            if public is None or not public.verify(b"m", key.sign(b"m")):
                torn.append(key.kid)

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for each in threads:
        each.start()
    for _ in range(20):
        await keys.rotate(immediately=True)
    stop.set()
    for each in threads:
        await asyncio.to_thread(each.join)

    assert torn == []


async def test_an_escrow_brings_all_keys_back_and_is_nothing_without_its_passphrase(
    tmp_path: Path,
) -> None:
    """The disk is gone, and the tokens of yesterday still verify."""
    keys = manager(tmp_path)
    await keys.open()
    await keys.rotate()
    blob = await keys.export_escrow(PASSPHRASE)
    assert b"PRIVATE" not in blob
    assert keys.signing_key().kid.encode() not in blob

    fresh = manager(tmp_path / "fresh")
    (tmp_path / "fresh").mkdir()
    changed = blob[:-1] + bytes([blob[-1] ^ 1])
    for bad, words in [
        (changed, PASSPHRASE),
        (blob, Secret("another passphrase")),
        (b"", PASSPHRASE),
    ]:
        with pytest.raises(ConfigError):
            await fresh.restore_escrow(bad, words)
    with pytest.raises(ConfigError, match="fewer"):
        await keys.export_escrow(Secret("short"))
    sink = Events()
    stop = subscribe(sink)
    await fresh.restore_escrow(blob, PASSPHRASE)
    stop()

    assert [event.name for event in sink.seen] == ["KEYS_RESTORED"]
    assert fresh.status() == keys.status()
    assert fresh.signing_key().pem().reveal() == keys.signing_key().pem().reveal()
    with pytest.raises(ConfigError, match="already"):
        await fresh.restore_escrow(blob, PASSPHRASE)


def run(*arguments: str) -> list[str]:
    """Run the program of many processes and return its lines."""
    program = [sys.executable, "-m", "tests.support.jose_processes", *arguments]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split("\n")[:-1]


def test_eight_processes_on_one_empty_folder_end_with_one_key(tmp_path: Path) -> None:
    """Eight workers start at once; with eight keys, seven of eight tokens would be refused."""
    kids = run("cold", str(tmp_path / "keys"), "8")

    assert len(kids) == 8
    assert len(set(kids)) == 1


def test_a_process_killed_at_any_point_leaves_a_folder_that_loads(tmp_path: Path) -> None:
    """SIGKILL before each call to the file system, of a first start and of a rotation."""
    lines = run("kill", str(tmp_path), "200")

    assert lines.count("finished kept") == 2, "both were killed at every point until the end"
    assert lines.count("killed kept") == len(lines) - 2 > 20


def test_control_a_careless_store_loses_its_keys(tmp_path: Path) -> None:
    """The same deed on a file that is emptied before it is written must be reported."""
    assert "killed lost" in run("kill", str(tmp_path), "200", "--careless")
