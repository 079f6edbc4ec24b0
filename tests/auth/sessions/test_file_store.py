"""FileSessionStore: what is kept on a person's machine is read by that person, in time, whole."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

from asgi_guard.auth.sessions.file_required import requires_session
from asgi_guard.auth.sessions.file_session import LocalSession
from asgi_guard.auth.sessions.file_store import FileSessionStore
from asgi_guard.errors import AuthenticationError, ConfigError, GuardError
from tests.support.headers_clock import MovedClock
from tests.support.rls_fixtures import EventList

TOKEN = b"canary-" + bytes(range(33, 127))
PROGRAM = [sys.executable, "-m", "tests.support.file_session_process"]


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def store(tmp_path: Path, clock: MovedClock) -> FileSessionStore:
    return FileSessionStore(tmp_path / "files", key_folder=tmp_path / "keys", clock=clock)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "files" / "default.session"


def save(store: FileSessionStore, name: str = "default", **changes: Any) -> None:
    given: dict[str, Any] = {
        "issuer": "https://id.example",
        "client_id": "cli",
        "scopes": frozenset({"notes:read"}),
        "secrets": {"access_token": TOKEN, "refresh_token": b"r"},
        "ends_at": store._clock.now() + 600,
    }
    store.save(name, **{**given, **changes})


def reason_of(call: Callable[[], object]) -> str:
    with pytest.raises(GuardError) as refused:
        call()
    assert "canary" not in str(refused.value)
    return str(getattr(refused.value, "reason", "unsafe"))


def test_a_session_comes_back_and_is_sealed_on_the_disk(
    store: FileSessionStore, tmp_path: Path, rls_events: EventList
) -> None:
    """Mode 0600 in folders of 0700; no token, issuer or scope in plain sight."""
    save(store)
    with store.load() as session:
        assert session.facts.issuer == "https://id.example"
        assert session.facts.scopes == {"notes:read"}
        assert session.seconds_left == 600
        assert session.secrets == {"access_token", "refresh_token"}
        assert session.view("access_token") == TOKEN
        assert session.reveal("refresh_token") == "r"

    for path in tmp_path.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
        if path.is_file():
            content = path.read_bytes()
            assert not [text for text in (b"canary", b"id.example", b"notes:") if text in content]
    assert rls_events.names == ["SESSION_FILE_SAVED"]


def test_each_save_has_another_key_and_another_nonce(store: FileSessionStore, file: Path) -> None:
    """One nonce used twice under one key gives both plaintexts away (NIST SP 800-38D)."""
    written = set()
    for _ in range(20):
        save(store)
        content = file.read_bytes()
        written |= {content[5:13], content[33:45]}

    assert len(written) == 40
    assert len((file.parent.parent / "keys" / "keys").read_bytes()) == 5 + 48, "one key is left"


def test_every_flipped_bit_and_every_torn_end_is_refused(
    store: FileSessionStore, file: Path, rls_events: EventList
) -> None:
    """Of the file; nothing but a refusal comes out, and each is reported."""
    save(store)
    whole = file.read_bytes()
    reasons = set()
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        reasons.add(reason_of(store.load))
        file.write_bytes(whole[:position])
        reasons.add(reason_of(store.load))
    file.write_bytes(whole + b"x")
    reasons.add(reason_of(store.load))

    assert reasons == {
        "session_file_format",
        "session_file_torn",
        "session_file_altered",
        "session_key_gone",
    }
    assert {event.name for event in rls_events[1:]} == {"SESSION_FILE_REFUSED"}
    assert len(rls_events) == 2 * len(whole) + 2
    file.write_bytes(whole)
    store.load().close()


def test_a_key_ring_that_is_torn_or_another_opens_nothing(
    store: FileSessionStore, tmp_path: Path
) -> None:
    """And logging out mends it."""
    save(store)
    ring = tmp_path / "keys" / "keys"
    whole = ring.read_bytes()
    for position in range(len(whole)):
        ring.write_bytes(whole[:position])
        assert reason_of(store.load) in {"session_keys_torn", "session_key_gone"}
        ring.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        # The end in the ring is not sealed: a later one changes nothing, the file has its own.
        if not 13 <= position < 21:
            assert reason_of(store.load).startswith("session_")
    ring.write_bytes(whole[:20])

    assert store.remove()
    save(store)
    store.load().close()


def refused_places(file: Path) -> dict[str, Callable[[], object]]:
    elsewhere = file.with_name("elsewhere")

    def linked() -> None:
        file.rename(elsewhere)
        file.symlink_to(elsewhere)

    def piped() -> None:
        file.unlink()
        os.mkfifo(file, 0o600)

    return {
        "group may read": lambda: file.chmod(0o640),
        "others may read": lambda: file.chmod(0o604),
        "others may write": lambda: file.chmod(0o602),
        "a link": linked,
        "a pipe": piped,
        "the folder is open": lambda: file.parent.chmod(0o755),
        "too long": lambda: file.write_bytes(b"x" * 70_000),
    }


@pytest.mark.parametrize("how", refused_places(Path("none")))
def test_a_file_that_others_could_have_read_or_put_there_is_refused(
    store: FileSessionStore, file: Path, how: str, rls_events: EventList
) -> None:
    """Refused and not mended, for somebody may have been there already."""
    save(store)
    refused_places(file)[how]()

    assert reason_of(store.load) == "unsafe"
    assert rls_events[-1].name == "SESSION_FILE_REFUSED"
    assert rls_events[-1].reason == "session_file_unsafe"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("which", ["files/default.session", "keys/keys", "files", "keys"])
def test_what_belongs_to_another_user_is_refused(
    store: FileSessionStore, tmp_path: Path, which: str
) -> None:
    """Whoever owns the key file chooses the key."""
    save(store)
    os.chown(tmp_path / which, 12345, 12345)

    assert reason_of(store.load) == "unsafe"


@pytest.mark.parametrize("ring", [False, True], ids=["file", "ring"])
def test_a_link_in_the_place_of_a_file_is_not_followed_by_a_write(
    store: FileSessionStore, file: Path, tmp_path: Path, *, ring: bool
) -> None:
    """A link to somebody's file must not have it overwritten."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("default.session", "default.session.new"):
        (tmp_path / "files" / name).symlink_to(precious)
    if ring:
        (tmp_path / "keys" / "keys.new").symlink_to(precious)

    with pytest.raises(OSError, match=r"symbolic link|Too many levels"):
        save(store)
    assert precious.read_text() == "precious"


def test_nothing_is_readable_after_the_end(
    store: FileSessionStore, file: Path, clock: MovedClock, tmp_path: Path, rls_events: EventList
) -> None:
    """Not through the store; not from a copy of the file; not with the clock set back."""
    save(store)
    shutil.copy2(file, tmp_path / "copy")
    session = store.load()
    view = session.view("access_token")
    clock.move(599.9)
    assert session.view("access_token") == TOKEN
    clock.move(0.1)

    with pytest.raises(AuthenticationError):
        session.view("access_token")
    assert bytes(view) == bytes(len(TOKEN)), "overwritten under whoever still looks"
    assert reason_of(store.load) == "session_expired"
    assert reason_of(store.load) == "session_missing"
    assert not file.exists()
    shutil.copy2(tmp_path / "copy", file)
    clock.move(-300)
    assert reason_of(store.load) == "session_key_gone"
    assert [event.reason for event in rls_events[1:]] == ["session_expired", "session_key_gone"]


def test_a_key_is_destroyed_by_whichever_command_comes_next(
    store: FileSessionStore, clock: MovedClock, tmp_path: Path
) -> None:
    """Also when nobody asks for the session that has ended."""
    save(store, "work")
    clock.move(601)
    save(store, "home")

    assert len((tmp_path / "keys" / "keys").read_bytes()) == 5 + 48
    assert store.names() == ["home", "work"]


def test_an_older_file_that_is_put_back_does_not_open(
    store: FileSessionStore, file: Path, tmp_path: Path
) -> None:
    """Revoked tokens, or those of another account, must not come back."""
    save(store)
    shutil.copy2(file, tmp_path / "older")
    save(store)
    shutil.copy2(tmp_path / "older", file)

    assert reason_of(store.load) == "session_key_gone"


def test_a_file_under_another_name_does_not_open(store: FileSessionStore, file: Path) -> None:
    """Production's tokens must not be used where staging's were meant."""
    save(store, "production")
    save(store, "staging")
    (file.parent / "production.session").replace(file.parent / "staging.session")

    assert reason_of(lambda: store.load("staging")) == "session_file_altered"


def test_a_clock_that_was_set_back_opens_nothing(
    store: FileSessionStore, clock: MovedClock
) -> None:
    """A session from the future has an end that is too late."""
    save(store)
    clock.move(-3600)

    assert reason_of(store.load) == "session_file_future"


def test_no_session_lasts_longer_than_it_may(store: FileSessionStore, clock: MovedClock) -> None:
    """Whatever its server says."""
    save(store, ends_at=clock.now() + 10**9)

    assert store.load().seconds_left == 12 * 3600


def test_logging_out_destroys_file_and_key(
    store: FileSessionStore, file: Path, tmp_path: Path, rls_events: EventList
) -> None:
    """Whatever state they are in."""
    save(store)
    shutil.copy2(file, tmp_path / "copy")

    assert store.remove()
    assert not store.remove()
    shutil.copy2(tmp_path / "copy", file)
    assert reason_of(store.load) == "session_key_gone"
    file.chmod(0o644)
    assert store.remove()
    assert "SESSION_FILE_REMOVED" in rls_events.names


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("../../etc/passwd", {}),
        ("a/b", {}),
        ("", {}),
        (".hidden", {}),
        ("A", {}),
        ("a" * 65, {}),
        ("default", {"ends_at": 0.0}),
        ("default", {"secrets": {"no name": b""}}),
        ("default", {"secrets": {f"s{n}": b"" for n in range(17)}}),
        ("default", {"secrets": {"access_token": b"x" * 70_000}}),
    ],
    ids=str.split("up slash empty hidden upper long ended secret secrets big"),
)
def test_what_cannot_be_kept_is_refused(
    store: FileSessionStore, name: str, changes: dict[str, Any]
) -> None:
    """Before anything is written."""
    with pytest.raises(ConfigError):
        save(store, name, **changes)
    assert store.names() == []


def test_both_folders_are_the_users_own_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XDG Base Directory: state and data, apart."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    save(FileSessionStore(app="notes", clock=MovedClock()))

    assert (tmp_path / "state" / "notes" / "sessions" / "default.session").is_file()
    assert (tmp_path / "data" / "notes" / "session-keys" / "keys").is_file()
    with pytest.raises(ConfigError, match="Part them"):
        FileSessionStore(tmp_path / "one", key_folder=tmp_path / "one")


def test_a_session_shows_itself_to_nobody(store: FileSessionStore) -> None:
    """In a log line, a traceback, a pickle."""
    save(store)
    session = store.load()

    assert "canary" not in f"{session!r} {session}"
    with pytest.raises(TypeError):
        pickle.dumps(session)
    session.close()
    assert reason_of(lambda: session.view("access_token")) == "session_closed"


def test_killed_at_any_step_a_save_leaves_one_session_or_the_other(tmp_path: Path) -> None:
    """Power fails while the token is renewed: the person is logged in, as before or anew."""
    command = [*PROGRAM, "kill", str(tmp_path / "files"), str(tmp_path / "keys"), "60"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)

    ends = [line.split(" ", 1) for line in run.stdout.splitlines()]
    assert len(ends) > 12
    assert ends[-1] == ["finished", "new"]
    assert {found for _, found in ends} == {"old", "new"}


def test_programs_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    """Two terminals, two logins: each opens the other's key ring."""

    def work(name: str) -> list[bytes]:
        mine = FileSessionStore(tmp_path / "files", key_folder=tmp_path / "keys")
        found = []
        for number in range(10):
            save(mine, name, secrets={"access_token": f"{name}{number}".encode()})
            with mine.load(name) as session:
                found.append(bytes(session.view("access_token")))
        return found

    names = [f"s{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        found = list(pool.map(work, names))

    assert found == [[f"{name}{number}".encode() for number in range(10)] for name in names]
    assert len((tmp_path / "keys" / "keys").read_bytes()) == 5 + 6 * 48


def found_in(process: subprocess.Popen[str], needle: bytes) -> int:
    """Count *needle* in the memory of a running process."""
    count = 0
    memory = Path(f"/proc/{process.pid}")
    with (memory / "mem").open("rb", buffering=0) as reader:
        for line in (memory / "maps").read_text().splitlines():
            bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if bounds is None:
                continue
            start, end = (int(each, 16) for each in bounds.groups())
            reader.seek(start)
            count += (reader.read(end - start) or b"").count(needle)
    return count


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="reads memory as Linux shows it")
@pytest.mark.parametrize("way", ["hold", "copy"])
def test_tokens_and_keys_are_gone_from_memory_when_the_session_is_closed(
    tmp_path: Path, way: str
) -> None:
    """A core dump, swap, a tracer: what was overwritten is in none. Control: a copy as text is."""
    files, keys = tmp_path / "files", tmp_path / "keys"
    real = FileSessionStore(files, key_folder=keys)
    save(real)
    key = (keys / "keys").read_bytes()[-32:]
    command = [*PROGRAM, way, str(files), str(keys)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        output, entry = needed(child.stdout), needed(child.stdin)
        assert output.readline() == "open\n"
        while_open = found_in(child, TOKEN), found_in(child, key)
        entry.write("\n")
        entry.flush()
        assert output.readline() == "closed\n"
        when_closed = found_in(child, TOKEN), found_in(child, key)
        entry.write("\n")

    assert while_open == ((1, 0) if way == "hold" else (2, 0))
    assert when_closed == ((0, 0) if way == "hold" else (1, 0))


def needed(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def test_a_command_runs_with_a_session_or_not_at_all(
    store: FileSessionStore, clock: MovedClock, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and an exit code of its own for each way of having none."""
    seen: list[LocalSession] = []

    @requires_session(lambda: store)
    def upload(path: str, session: LocalSession) -> str:
        seen.append(session)
        return f"{path} {session.reveal('refresh_token')}"

    @requires_session(store, scopes=frozenset({"notes:write"}))
    def write() -> None:
        raise AssertionError("must not run")

    def code_of(call: Callable[[], object]) -> object:
        with pytest.raises(SystemExit) as left:
            call()
        return left.value.code

    assert code_of(lambda: upload("a")) == 3
    save(store)
    assert upload("a") == "a r"
    assert reason_of(lambda: seen[0].view("refresh_token")) == "session_closed"
    assert code_of(write) == 6
    file.chmod(0o644)
    assert code_of(lambda: upload("a")) == 5
    file.chmod(0o600)
    clock.move(600)
    assert code_of(lambda: upload("a")) == 4
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("session_")] == [
        "session_missing",
        "session_scope_missing",
        "session_file_unsafe",
        "session_expired",
    ]


async def test_an_async_command_keeps_its_session_until_it_is_done(
    store: FileSessionStore,
) -> None:
    """And the parameter is not shown to what reads signatures."""
    save(store)

    @requires_session(store)
    async def fetch(url: str, *, session: LocalSession) -> str:
        return url + session.reveal("refresh_token")

    assert await fetch("x") == "xr"
    assert "session" not in str(getattr(fetch, "__signature__"))  # noqa: B009 - not of its type
