"""``asgi-guard login``, ``status``, ``renew`` and ``logout``, against a real server on loopback."""

from __future__ import annotations

import json
import ssl
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from click.testing import Result
from typer.testing import CliRunner

from asgi_guard.auth.sessions import FileSessionStore
from asgi_guard.cli.app import app
from tests.support.headers_clock import MovedClock
from tests.support.login_server import Provider, running_provider

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no authorities to load: all is http here


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Give a server, and a person with a home and a browser."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def visit(address: str) -> bool:
        threading.Thread(
            target=httpx2.get, args=(address,), kwargs={"follow_redirects": True, "verify": PLAIN}
        ).start()
        return True

    monkeypatch.setattr(webbrowser, "open", visit)
    with running_provider() as served:
        monkeypatch.setenv("ASGI_GUARD_ISSUER", served.issuer)
        monkeypatch.setenv("ASGI_GUARD_CLIENT_ID", "cli")
        yield served


def run(*arguments: str, text: str = "") -> Result:
    more = [] if arguments[0] == "status" else ["--insecure-http"]
    return CliRunner().invoke(app, [*arguments, *more], input=text)


def tokens() -> dict[str, str]:
    with FileSessionStore().load() as session:
        return {name: session.reveal(name) for name in session.secrets}


def test_a_person_logs_in_works_and_logs_out(provider: Provider) -> None:
    """And at the end the server knows it too (RFC 7009), the refresh token first."""
    assert run("status").exit_code == 3
    logged_in = run("login", "--scope", "notes:read")
    assert logged_in.exit_code == 0, logged_in.output
    assert "access-" not in logged_in.output

    shown = run("status")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"default: {provider.issuer}, 719 min ")
    facts = json.loads(run("status", "--json").output)
    assert facts["scopes"] == ["notes:read"]
    assert 43_000 < facts["seconds_left"] <= 43_200

    before = tokens()
    assert run("renew").exit_code == 0
    after = tokens()
    assert before["access_token"] != after["access_token"]
    assert before["refresh_token"] != after["refresh_token"]

    out = run("logout")
    assert (out.exit_code, out.output) == (0, "logged out\n")
    assert provider.revoked == ["refresh", "access"]
    assert run("status").exit_code == 3
    assert run("logout").exit_code == 3


def test_login_on_another_device_and_by_password(provider: Provider) -> None:
    """Each flow keeps the same session file; sessions have names."""
    provider.device_answer = {"interval": 1}
    device = run("login", "--flow", "device", "--session", "work")
    assert device.exit_code == 0, device.output
    assert "enter the code WDJB-MJHT" in device.output

    password = run("login", "--flow", "password", text="alice\nright\n")
    assert password.exit_code == 0, password.output
    assert "right" not in password.output
    assert FileSessionStore().names() == ["default", "work"]
    wrong = run("login", "--flow", "password", text="alice\nwrong\n")
    assert wrong.exit_code == 1
    assert "login_invalid_grant" in wrong.output


def test_logging_out_while_the_server_is_busy_deletes_all_the_same(provider: Provider) -> None:
    """Section 2.2.1: the person is told that the tokens live on."""
    run("login")
    provider.hostile = "busy"

    out = run("logout")

    assert out.exit_code == 7
    assert "could not be told" in out.output
    assert run("status").exit_code == 3


def test_a_refused_renewal_ends_the_session(provider: Provider) -> None:
    """A refresh token that was used by somebody else is worth nothing to keep."""
    run("login")
    provider.hostile = "busy"
    assert run("renew").exit_code == 2, "busy is no refusal"
    assert run("status").exit_code == 0
    provider.hostile = ""
    provider.refresh.clear()

    assert run("renew").exit_code == 1
    assert run("status").exit_code == 3


def test_a_file_that_others_could_read_is_not_used_and_can_be_cleared(
    provider: Provider, tmp_path: Path
) -> None:
    """With what is wrong, and the command that mends it."""
    run("login")
    file = tmp_path / "state" / "asgi-guard" / "sessions" / "default.session"
    file.chmod(0o644)

    shown = run("status")
    assert shown.exit_code == 5
    assert "chmod" in shown.output
    assert run("logout").exit_code == 5, "nothing could be revoked"
    assert not file.exists()
    run("login")
    file.write_bytes(file.read_bytes()[:-1])
    assert run("status").exit_code == 5
    assert run("status").output == "session_file_torn\n"


def test_a_server_that_refuses_or_is_none_leaves_no_session(provider: Provider) -> None:
    """Nothing half-done stays behind."""
    provider.hostile = "denied"
    denied = run("login")
    assert (denied.exit_code, denied.output) == (1, "login_access_denied\n")
    provider.metadata = {"device_authorization_endpoint": None}
    assert run("login", "--flow", "device").exit_code == 2
    assert run("login", "--issuer", "http://127.0.0.1:9").exit_code == 2
    assert CliRunner().invoke(app, ["login"]).exit_code == 2, "plain http must be asked for"
    assert FileSessionStore().names() == []


def test_an_access_token_that_has_ended_is_not_given_out(tmp_path: Path) -> None:
    """The session goes on: its refresh token brings another."""
    clock = MovedClock()
    store = FileSessionStore(tmp_path / "f", key_folder=tmp_path / "k", clock=clock)
    store.save(
        issuer="https://id.example",
        client_id="cli",
        secrets={"access_token": b"a", "refresh_token": b"r"},
        ends_at=clock.now() + 3600,
        access_ends_at=clock.now() + 60,
    )
    clock.move(60)
    session = store.load()

    assert not session.has("access_token")
    assert session.reveal("refresh_token") == "r"
