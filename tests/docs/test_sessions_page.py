"""The page of sessions runs: its login lets in, its logout shuts out, its tables are whole."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, fields
from pathlib import Path

from starlette.testclient import TestClient

from asgi_guard.auth.passwords import PasswordLogin
from asgi_guard.auth.sessions import SessionAuthenticator, SessionLimits
from asgi_guard.auth.throttle import Throttle
from asgi_guard.protocols import Principal
from tests.support.pages import Page
from tests.support.passwords_people import GOOD, cheap_hasher
from tests.support.sessions_served import Bearer
from tests.support.sessions_world import alive, world

TENANT = str(uuid.uuid4())
ROOM = Path(__file__).resolve().parents[2] / "asgi_guard" / "auth" / "sessions"


@dataclass
class User:
    id: str
    tenant_id: str
    password_hash: str


class Users:
    """One user."""

    def __init__(self, user: User) -> None:
        self.user = user

    async def find(self, email: str) -> User | None:
        return self.user if email == "alice@example.com" else None


async def test_the_login_of_the_page_lets_in_and_its_logout_shuts_out() -> None:
    """Twenty lines that every app will start from."""
    hasher = cheap_hasher()
    stored = await hasher.hash(GOOD)
    names = Page("sessions.md").run(1)
    names["passwords"] = PasswordLogin(hasher, throttle=Throttle())
    app = names["build"](Users(User("alice", TENANT, stored)))

    @app.get("/notes")
    async def notes() -> str:
        return "mine"

    with TestClient(app, base_url="https://app.example") as browser:
        who = {"email": "alice@example.com"}
        assert browser.get("/notes").status_code == 401
        assert browser.post("/login", json={**who, "password": "wrong"}).status_code == 401
        first = browser.post("/login", json={**who, "password": GOOD})
        sid = browser.cookies["__Host-sid"]
        assert (first.status_code, browser.get("/notes").json()) == (200, "mine")
        assert browser.post("/login", json={**who, "password": GOOD}).status_code == 200
        assert browser.cookies["__Host-sid"] != sid, "a new sid at each login"
        assert not await alive(names["sessions"], sid)
        sid = browser.cookies["__Host-sid"]

        assert browser.post("/logout").json() == "bye"

        assert "__Host-sid" not in browser.cookies
        browser.cookies.set("__Host-sid", sid)
        assert browser.get("/notes").status_code == 401, "the copied cookie is dead"


async def test_the_life_and_the_ways_in_of_the_page_run() -> None:
    """What is shown of the operations is how they are called."""
    made = world()
    issued = await made.login()
    names = Page("sessions.md").run(2, 3)

    await names["life"](made.sessions, issued.sid, made.members)
    _, authenticators = names["ways_in"](made.sessions, made.store, Bearer(Principal(user_id="r")))

    assert not await alive(made.sessions, issued.sid)
    assert isinstance(authenticators[-1], SessionAuthenticator)


def test_the_page_names_every_limit_and_reason() -> None:
    """An operator finds the reason of the event that woke them."""
    page = Page("sessions.md").text
    table = page.partition("## How long")[2].partition("##")[0]
    code = "".join(file.read_text() for file in ROOM.glob("*.py") if "file_" not in file.name)
    reasons = set(re.findall(r'(?:Gone\([^)]*|return |reason=|if )"(session_\w+)"', code))

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [
        each.name for each in fields(SessionLimits)
    ]
    assert {"session_unknown", "session_idle"} <= reasons
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in page] == []
