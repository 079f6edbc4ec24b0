"""The demo's tour without a browser: real HTTP and WebSocket requests, one line per attempt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import websockets
from rich.console import Console
from rich.table import Table

from .identity import COOKIE
from .people import NORTH, SOUTH

_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Stop:
    """One line of the tour's table."""

    what: str
    came_back: str
    event: str
    held: bool


Step = Callable[["Visitor"], Awaitable[Stop]]


class Visitor:
    """A signed-in user's HTTP client."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.AsyncClient(base_url=url, timeout=_PATIENCE)

    async def sign_in(self, user: str) -> None:
        """Sign in as *user*; the cookie stays with the client."""
        (await self.http.post("/api/sign-in", json={"user": user})).raise_for_status()

    async def event_of(self, answer: httpx2.Response) -> str:
        """Return the events that the answered request left."""
        found = await self.http.get(f"/api/events/{answer.headers['x-request-id']}")
        return _names(found.json())

    async def refused(self, what: str, status: int, answer: httpx2.Response) -> Stop:
        """Return the stop of a request that must be answered with *status* and a code."""
        code = answer.json().get("code", "")
        return Stop(
            what,
            f"{answer.status_code} {code}",
            await self.event_of(answer),
            answer.status_code == status and bool(code),
        )


async def take_tour(url: str, console: Console) -> bool:
    """Visit everything, print the table, and tell whether all of it held."""
    visitor, stops = Visitor(url), list[Stop]()
    async with visitor.http:
        stops.append(await nobody(visitor))
        await visitor.sign_in("editor@north.example")
        me = (await visitor.http.get("/api/me")).json()
        for step in (own_notes, live_note, report, agent, by_header, by_path, by_id, other_site):
            stops.append(await step(visitor))
        for attack in me["attacks"]:
            stops.append(await on_the_server(visitor, attack))
        stops.append(await strict_headers(visitor))
    console.print(_table(stops))
    held = sum(stop.held for stop in stops)
    console.print(f"{held} of {len(stops)} held." + ("" if held == len(stops) else " A LEAK."))
    return held == len(stops)


async def nobody(visitor: Visitor) -> Stop:
    """Ask for notes without signing in."""
    answer = await visitor.http.get("/api/notes")
    code = answer.json().get("code", "")
    came_back = f"{answer.status_code} {code}"
    held = answer.status_code == 401
    return Stop("read notes without signing in", came_back, "(not ours to see)", held)


async def own_notes(visitor: Visitor) -> Stop:
    """Read one's own notes: all there, none of the other tenant."""
    notes = (await visitor.http.get("/api/notes")).json()
    foreign = [note for note in notes if SOUTH.name in note["author"]]
    held = len(notes) >= 4 and not foreign
    return Stop("read own notes", f"{len(notes)} notes, {len(foreign)} foreign", "", held)


async def live_note(visitor: Visitor) -> Stop:
    """Add a note and see it arrive at a colleague, and not at the other tenant."""
    colleague, stranger = Visitor(visitor.url), Visitor(visitor.url)
    async with colleague.http, stranger.http:
        await colleague.sign_in("reader@north.example")
        await stranger.sign_in("reader@south.example")
        async with _live(colleague) as near, _live(stranger) as far:
            added = await visitor.http.post("/api/notes", json={"text": "written on the tour"})
            note = json.loads(await asyncio.wait_for(near.recv(), _PATIENCE))
            # The stranger's own tenant speaks next; whatever leaked would have come before it.
            await stranger.sign_in("editor@south.example")
            await stranger.http.post("/api/notes", json={"text": "from the south"})
            first_seen = json.loads(await asyncio.wait_for(far.recv(), _PATIENCE))
    held = (
        added.status_code == 201
        and note["text"] == "written on the tour"
        and first_seen["text"] == "from the south"
    )
    return Stop(
        "add a note; a colleague and a stranger watch live",
        f"{added.status_code}; colleague saw {note['text']!r}, stranger {first_seen['text']!r}",
        "",
        held,
    )


async def report(visitor: Visitor) -> Stop:
    """Run a background report to its end."""
    begun = (await visitor.http.post("/api/reports", json={})).json()
    async with asyncio.timeout(_PATIENCE):
        while True:
            seen = (await visitor.http.get(f"/api/reports/{begun['id']}")).json()
            if seen["state"] == "done":
                return Stop("run a background report", seen["text"], "", "notes" in seen["text"])
            await asyncio.sleep(0.05)


async def agent(visitor: Visitor) -> Stop:
    """Run the agent."""
    steps = (await visitor.http.post("/api/agent", json={})).json()["steps"]
    return Stop("run an agent with two tools", steps[1], "", steps[-1].endswith("True"))


async def by_header(visitor: Visitor) -> Stop:
    """Name the other tenant in a header."""
    answer = await visitor.http.get("/api/notes", headers={"x-tenant-id": SOUTH.id})
    return await visitor.refused("name the other tenant by header", 404, answer)


async def by_path(visitor: Visitor) -> Stop:
    """Name the other tenant in the path."""
    answer = await visitor.http.get(f"/t/{SOUTH.id}/api/notes")
    return await visitor.refused("name the other tenant by path", 404, answer)


async def by_id(visitor: Visitor) -> Stop:
    """Name a note of the other tenant, which exists, and one that does not: the same answer."""
    foreign = await visitor.http.get(f"/api/notes/{SOUTH.known_note}")
    missing = await visitor.http.get(f"/api/notes/{NORTH.id}")
    return Stop(
        "name a foreign note by its id",
        f"{foreign.status_code}; an id that does not exist: {missing.status_code}",
        "",
        foreign.status_code == 404 and foreign.content == missing.content,
    )


async def other_site(visitor: Visitor) -> Stop:
    """Post as another site's page would, with the user's cookie."""
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    answer = await visitor.http.post("/api/notes", json={"text": "forged"}, headers=headers)
    return await visitor.refused("post from another site, with the cookie", 403, answer)


async def on_the_server(visitor: Visitor, attack: dict[str, str]) -> Stop:
    """Press one of the page's attack buttons."""
    outcome = (await visitor.http.post(f"/api/attacks/{attack['id']}", json={})).json()
    return Stop(
        attack["name"].lower(),
        outcome.get("answer", outcome.get("code", "?")),
        _names(outcome.get("events", [])),
        outcome.get("held") is True,
    )


async def strict_headers(visitor: Visitor) -> Stop:
    """Look at the page's own headers, on a 200 and on a 404."""
    wanted = ("content-security-policy", "x-content-type-options", "x-frame-options")
    answers = [await visitor.http.get(path) for path in ("/", "/no/such/page")]
    missing = [name for answer in answers for name in wanted if name not in answer.headers]
    came_back = f"missing: {missing}" if missing else "all there"
    return Stop("look for security headers on 200 and 404", came_back, "", not missing)


def _live(visitor: Visitor) -> Any:
    cookie = f"{COOKIE}={visitor.http.cookies[COOKIE]}"
    return websockets.connect(
        visitor.url.replace("http", "ws", 1) + "/api/notes/live",
        additional_headers={"cookie": cookie},
        origin=visitor.url,
    )


def _names(events: list[dict[str, str]]) -> str:
    return ", ".join(dict.fromkeys(event["name"] for event in events))


def _table(stops: list[Stop]) -> Table:
    table = Table("tried", "came back", "event left", "held", title="The tour", show_lines=True)
    for stop in stops:
        verdict = "[green]yes[/green]" if stop.held else "[bold red]NO[/bold red]"
        table.add_row(stop.what, stop.came_back, stop.event, verdict)
    return table
