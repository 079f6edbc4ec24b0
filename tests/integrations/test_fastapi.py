"""FastAPI on a real database: what is answered is what is stored, and the reverse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from asgi_guard.errors import ConfigError
from asgi_guard.integrations.fastapi import GuardedSession, guarded_session, require_scopes
from asgi_guard.rls import guarded_engine
from asgi_guard.stack import Guard
from tests.support.exchange import ask, http_scope
from tests.support.hosts_client import get, open_socket, problem
from tests.support.hosts_guard import guard_settings, token
from tests.support.hosts_notes import OneUserEach, guarded_notes
from tests.support.rls_schema import ALICE, BOB, VARIABLES, Note, RLSDatabase

pytestmark = pytest.mark.postgres

AS_ALICE = token("alice", ALICE)
AS_BOB = token("bob", BOB)

DEFERRED = (
    "ALTER TABLE notes ADD CONSTRAINT notes_body_once UNIQUE (tenant_id, body) "
    "DEFERRABLE INITIALLY DEFERRED"
)


@pytest.fixture
async def app(rls_database: RLSDatabase) -> AsyncIterator[FastAPI]:
    """Give the notes app over a database whose constraint fails at commit alone."""
    rls_database.database.execute(DEFERRED)
    async with guarded_notes(rls_database) as guarded:
        yield guarded


async def notes_of(app: FastAPI, headers: dict[str, str]) -> list[str]:
    answer = await get(app, "/notes", headers)
    assert answer.status == 200
    notes: list[str] = json.loads(answer.body)["notes"]
    return notes


async def post(app: FastAPI, path: str, body: str, headers: dict[str, str]) -> Any:
    return await get(app, path, headers, method="POST", query=f"body={body}")


async def test_each_tenant_reads_its_own_rows_and_no_others(app: FastAPI) -> None:
    """The promise, through every layer at once."""
    await post(app, "/notes", "mine", AS_ALICE)

    assert await notes_of(app, AS_ALICE) == ["note 1", "note 2", "note 3", "mine"]
    assert await notes_of(app, AS_BOB) == ["note 1", "note 2", "note 3"]


async def test_a_session_commits_when_the_handler_returns(app: FastAPI) -> None:
    """Nobody remembers to commit."""
    answer = await post(app, "/notes", "kept", AS_ALICE)

    assert answer.status == 201
    assert "kept" in await notes_of(app, AS_ALICE)


async def test_a_constraint_that_fails_at_commit_is_a_409_and_stores_nothing(app: FastAPI) -> None:
    """Committed after the response, it would be a 201 with nothing behind it."""
    answer = await post(app, "/notes", "note%201", AS_ALICE)

    assert (answer.status, problem(answer)["code"]) == (409, "conflict")
    assert await notes_of(app, AS_ALICE) == ["note 1", "note 2", "note 3"]


@pytest.mark.parametrize(("path", "status"), [("/notes/refused", 418), ("/notes/broken", 500)])
async def test_a_handler_that_raises_stores_nothing(app: FastAPI, path: str, status: int) -> None:
    """An HTTPException is an exception: what it refuses must not be kept."""
    answer = await post(app, path, "lost", AS_ALICE)

    assert answer.status == status
    assert "lost" not in await notes_of(app, AS_ALICE)


async def test_the_connection_of_a_failed_request_is_clean_for_the_next_tenant(
    app: FastAPI,
) -> None:
    """An aborted transaction that returns to the pool would fail whoever comes next."""
    for _ in range(8):
        await post(app, "/notes", "note%201", AS_ALICE)
        await post(app, "/notes/broken", "lost", AS_BOB)

    assert await notes_of(app, AS_BOB) == ["note 1", "note 2", "note 3"]


async def test_a_websocket_reads_through_a_session_of_its_tenant(app: FastAPI) -> None:
    """The same dependency, for as long as the socket is open."""
    heard = await open_socket(app, "/notes/live", AS_BOB | {"origin": "http://app.example"})

    [text] = [message["text"] for message in heard.sent if message["type"] == "websocket.send"]
    assert set(json.loads(text)) == {BOB}


async def test_an_engine_can_be_named_where_there_are_several(app: FastAPI) -> None:
    """``GuardedSession`` cannot guess between two databases."""
    assert (await get(app, "/notes/count", AS_ALICE)).body == b"3"


async def test_missing_scopes_are_a_403_that_names_them(app: FastAPI) -> None:
    """A client must learn what to ask its authorisation server for (RFC 6750 section 3.1)."""
    answer = await post(app, "/notes/scoped", "", AS_ALICE)

    assert problem(answer)["code"] == "insufficient_scope"
    assert answer.status == 403
    assert answer.header("www-authenticate") == (
        'Bearer error="insufficient_scope", scope="notes:write notes:admin"'
    )
    assert await notes_of(app, AS_ALICE) == ["note 1", "note 2", "note 3"]


async def test_openapi_names_the_credential_and_the_scopes(app: FastAPI) -> None:
    """Generated clients would else call without a token."""
    schema = app.openapi()

    scheme = schema["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert schema["paths"]["/notes/scoped"]["post"]["security"] == [
        {"bearer": ["notes:write", "notes:admin"]}
    ]
    assert schema["paths"]["/notes"]["post"]["security"] == [{"bearer": []}]
    assert "session" not in str(schema["paths"]["/notes"]["post"].get("parameters"))


async def test_a_context_that_a_public_handler_asks_for_fails_closed() -> None:
    """Making a path public by mistake must not serve it for nobody."""
    app = FastAPI()

    @app.get("/health")
    async def health(session: GuardedSession) -> None:
        raise AssertionError(session)

    Guard(guard_settings()).install(app)

    assert problem(await get(app, "/health"))["code"] == "config_invalid"


@pytest.mark.parametrize(
    ("scopes", "problem_named"),
    [((), "no scope is named"), (("notes read",), "no scope token"), (('"',), "no scope token")],
)
def test_scopes_that_are_none_are_refused(scopes: tuple[str, ...], problem_named: str) -> None:
    """No scope asked for would let everybody in; a quote would break out of the header."""
    with pytest.raises(ConfigError, match=problem_named):
        require_scopes(*scopes)


async def test_an_engine_that_is_not_guarded_is_refused_when_named() -> None:
    """Found when the module is imported, not when the first row leaks."""
    engine = create_async_engine("postgresql+asyncpg://localhost/none")

    with pytest.raises(ConfigError, match="not guarded"):
        guarded_session(engine)


async def test_without_a_guard_a_session_is_refused() -> None:
    """An app whose guard was forgotten has no tenant to run for."""
    app = FastAPI()

    @app.get("/")
    async def read(session: GuardedSession) -> None:
        raise AssertionError(session)

    with pytest.raises(ConfigError, match=r"Guard\(settings\).install"):
        await ask(app, http_scope())


async def test_two_engines_leave_guarded_session_without_an_answer(
    rls_database: RLSDatabase,
) -> None:
    """Taking the first would write to whichever was listed first."""
    other = guarded_engine(rls_database.url(), variables=VARIABLES)

    async with guarded_notes(rls_database, databases=[other, other]) as app:
        answer = await get(app, "/notes", AS_ALICE)
    await other.dispose()

    assert problem(answer)["code"] == "config_invalid"


async def test_control_a_dependency_of_the_usual_scope_answers_201_and_stores_nothing(
    rls_database: RLSDatabase,
) -> None:
    """The proof above must be able to fail: FastAPI's default commits after the response."""
    rls_database.database.execute(DEFERRED)
    engine = guarded_engine(rls_database.url(), variables=VARIABLES)
    app = FastAPI()

    async def late() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session:
            yield session
            await session.commit()

    async def add(session: AsyncSession) -> None:
        session.add(Note(body="note 1"))

    add.__annotations__["session"] = Annotated[AsyncSession, Depends(late)]
    app.post("/notes", status_code=201)(add)
    Guard(guard_settings(memberships=OneUserEach(), databases=[engine])).install(app)

    answer = await get(app, "/notes", AS_ALICE, method="POST")
    await engine.dispose()

    assert answer.status == 201
