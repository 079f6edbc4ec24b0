"""`TenantScoped`: a model that belongs to a tenant, with nothing to remember when using it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    ForeignKeyConstraint,
    Identity,
    Text,
    Uuid,
    delete,
    event,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import NullPool

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.rls import RLSVariables, guarded_engine
from asgi_guard.rls.ddl.passwords import password_statement
from asgi_guard.rls.models import TenantScoped, tenant_foreign_key
from asgi_guard.rls.policies import tenant_policies
from asgi_guard.secret import Secret
from asgi_guard.tenancy import UserExecutionContext, use_context
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, TenantIdShape
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import PASSWORD, TENANTS, Deployment, drop_roles, fresh_variables

ONE, OTHER = TENANTS["uuid"]
VARIABLES = fresh_variables()


class Base(DeclarativeBase):
    pass


class Note(TenantScoped, Base):
    __tablename__ = "notes"
    title: Mapped[str]
    id: Mapped[uuid.UUID] = mapped_column(
        primary_key=True, default=uuid.uuid4, insert_sentinel=True
    )
    comments: Mapped[list[Comment]] = relationship(back_populates="note", passive_deletes=True)


class Comment(TenantScoped, Base):
    __tablename__ = "comments"
    __table_args__ = (tenant_foreign_key("note_id", "notes.id", ondelete="SET NULL"),)
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    note_id: Mapped[uuid.UUID | None]
    note: Mapped[Note | None] = relationship(back_populates="comments")


@pytest.fixture
async def engine(postgres_database: PostgresDatabase) -> AsyncIterator[AsyncEngine]:
    policies = tenant_policies(Base.metadata, variables=VARIABLES)
    made = Deployment(postgres_database, VARIABLES, Base.metadata, policies)
    url = make_url(postgres_database.dsn()).set(drivername="postgresql+asyncpg")
    admin = create_async_engine(url, poolclass=NullPool)
    async with admin.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(policies.apply)
    await made.admin(password_statement(VARIABLES.runtime_role, Secret(PASSWORD)))
    dsn = make_url(postgres_database.dsn(VARIABLES.runtime_role, PASSWORD))
    guarded: Any = guarded_engine(
        dsn.set(drivername="postgresql+asyncpg").render_as_string(False), variables=VARIABLES
    )
    yield guarded
    await guarded.dispose()
    await admin.dispose()
    await drop_roles(made, VARIABLES.owner_role, VARIABLES.runtime_role, VARIABLES.system_role)


def tenant(tenant_id: str) -> UserExecutionContext:
    return UserExecutionContext(tenant_id=tenant_id, user_id="ada")


@pytest.mark.postgres
async def test_a_model_never_names_its_tenant(engine: AsyncEngine) -> None:
    """What nobody writes, nobody forgets: the database fills the column and hands it back."""
    with use_context(tenant(ONE)):
        async with AsyncSession(engine, expire_on_commit=False) as session:
            note = Note(title="hello", comments=[Comment(), Comment()])
            session.add(note)
            await session.commit()

        async with AsyncSession(engine) as session:
            again = await session.get(Note, Note.tenant_key(note.id))
            assert again is not None
            assert again.tenant_id == uuid.UUID(ONE)
            comments = (await session.scalars(select(Comment))).all()
            assert {comment.tenant_id for comment in comments} == {uuid.UUID(ONE)}

    with use_context(tenant(OTHER)):
        async with AsyncSession(engine) as session:
            assert await session.get(Note, Note.tenant_key(note.id)) is None
            assert (await session.scalars(select(Note))).all() == []


@pytest.mark.postgres
async def test_naming_another_tenant_is_refused_by_the_database(engine: AsyncEngine) -> None:
    """Mass assignment: a request body with tenant_id in it must not decide."""
    with use_context(tenant(ONE)):
        async with AsyncSession(engine) as session:
            session.add(Note(title="x", tenant_id=uuid.UUID(OTHER)))
            with pytest.raises(DBAPIError, match="row-level security"):
                await session.commit()


@pytest.mark.postgres
async def test_a_deleted_parent_clears_the_reference_and_not_the_tenant(
    engine: AsyncEngine,
) -> None:
    """Plain ON DELETE SET NULL would try to clear the tenant column as well."""
    with use_context(tenant(ONE)):
        async with AsyncSession(engine) as session:
            note = Note(title="x", comments=[Comment()])
            session.add(note)
            await session.commit()
            await session.execute(delete(Note))
            await session.commit()
            left = (await session.scalars(select(Comment))).one()
            assert (left.note_id, left.tenant_id) == (None, uuid.UUID(ONE))


@pytest.mark.postgres
async def test_many_objects_go_in_one_statement_where_the_id_is_a_sentinel(
    engine: AsyncEngine,
) -> None:
    """A server-made key column alone makes SQLAlchemy insert row by row."""
    sent: list[str] = []

    def note_statement(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note_statement)
    with use_context(tenant(ONE)):
        async with AsyncSession(engine) as session:
            notes = [Note(title=str(number)) for number in range(50)]
            session.add_all(notes)
            await session.flush()
            assert {note.tenant_id for note in notes} == {uuid.UUID(ONE)}

    assert len([statement for statement in sent if "INSERT INTO notes" in statement]) == 1


@pytest.mark.parametrize(
    ("shape", "kind", "key"), [(SLUG, Text, "acme"), (INTEGER, BigInteger, 7)], ids=["slug", "int"]
)
def test_names_and_id_type_come_from_the_base(
    shape: TenantIdShape, kind: type[Any], key: object
) -> None:
    """One line on the base, none on the models."""

    class OtherBase(DeclarativeBase):
        __rls_variables__ = RLSVariables(column="org", tenant_id=shape)

    class Task(TenantScoped, OtherBase):
        __tablename__ = "tasks"
        id: Mapped[int] = mapped_column(Identity(), primary_key=True)

    column = Task.__table__.columns["org"]

    assert isinstance(column.type, kind)
    assert not column.nullable
    assert [each.name for each in inspect(Task).primary_key] == ["org", "id"]
    assert not tenant_policies(OtherBase.metadata, variables=OtherBase.__rls_variables__).unindexed
    with use_context(tenant(str(key))):
        assert Task.tenant_key(3) == (key, 3)


def test_the_tenant_leads_the_key_wherever_the_model_puts_its_columns() -> None:
    """The key's index is the one that every statement's policy uses."""
    assert [column.name for column in inspect(Note).primary_key] == ["tenant_id", "id"]
    assert isinstance(Note.__table__.columns["tenant_id"].type, Uuid)


def test_a_key_without_a_context_is_refused() -> None:
    """Better an error than a look-up for nobody."""
    with pytest.raises(ContextMissingError, match=r"Note\.tenant_key"):
        Note.tenant_key(uuid.uuid4())


def test_foreign_keys_of_several_columns_and_schemas() -> None:
    """The helper writes what a careful author would."""
    key = tenant_foreign_key(
        ["shelf", "slot"],
        ["depot.places.shelf", "depot.places.slot"],
        ondelete="set null",
        variables=RLSVariables(column="org"),
        name="fk_place",
    )

    assert isinstance(key, ForeignKeyConstraint)
    assert (key.name, key.ondelete) == ("fk_place", "SET NULL (shelf, slot)")
    assert [element.target_fullname for element in key.elements] == [
        "depot.places.org",
        "depot.places.shelf",
        "depot.places.slot",
    ]


@pytest.mark.parametrize(
    ("columns", "references"),
    [("a", ["t.a", "t.b"]), (["a", "b"], ["t.a", "u.b"]), ("a", "b"), ([], [])],
)
def test_a_foreign_key_that_makes_no_sense_is_refused(columns: Any, references: Any) -> None:
    """At import, not when the first table is created."""
    with pytest.raises(ConfigError, match="tenant_foreign_key"):
        tenant_foreign_key(columns, references)


def test_an_id_type_without_a_column_type_is_refused() -> None:
    """Only types in which one tenant has one spelling."""
    shape = TenantIdShape("short", SLUG.pattern, "varchar(4)")

    class OtherBase(DeclarativeBase):
        __rls_variables__ = RLSVariables(tenant_id=shape)

    with pytest.raises(ConfigError, match="varchar"):
        type("Task", (TenantScoped, OtherBase), {"__tablename__": "tasks"})
