"""What `tenant_policies` refuses before any SQL is written, naming the mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import CITEXT, ExcludeConstraint

from asgi_guard.errors import ConfigError
from asgi_guard.rls import RLSVariables
from asgi_guard.rls.policies import tenant_policies
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, TenantIdShape


def notes(metadata: MetaData, *extra: Any) -> Table:
    """A well-made tenant table, plus whatever a test adds to spoil it."""
    return Table(
        "notes",
        metadata,
        Column("tenant_id", Uuid, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("title", Text),
        *extra,
    )


def refusal_of(metadata: Any, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        tenant_policies(metadata, **options)
    return refused.value


def test_a_well_made_table_is_taken() -> None:
    """The control: without it every refusal below could be the rule that refuses all."""
    metadata = MetaData()
    notes(metadata, UniqueConstraint("tenant_id", "title"), CheckConstraint("title <> ''"))

    assert "ON public.notes" in str(tenant_policies(metadata))


def test_a_table_without_the_tenant_column_is_named_with_the_ways_out() -> None:
    """A forgotten table must not become an unguarded one in silence."""
    metadata = MetaData()
    Table("countries", metadata, Column("code", Text, primary_key=True))

    refused = refusal_of(metadata)

    assert "public.countries" in refused.setting
    assert "'tenant_id'" in refused.problem
    assert "shared=['countries']" in refused.remedy
    assert "system_only=['countries']" in refused.remedy


@pytest.mark.parametrize(
    "loose", [CITEXT(), CHAR(36), Text(collation="nocase"), BigInteger(), Text()], ids=repr
)
def test_a_tenant_column_that_compares_loosely_is_refused(loose: Any) -> None:
    """``citext`` finds 'Acme' and 'acme' equal: two tenants would be one."""
    metadata = MetaData()
    Table("notes", metadata, Column("tenant_id", loose, primary_key=True))

    assert "tenant ids are uuid" in refusal_of(metadata).problem


def test_a_collated_text_column_is_refused_where_ids_are_text() -> None:
    """A nondeterministic collation equates ids that the app keeps apart."""
    metadata = MetaData()
    Table("notes", metadata, Column("tenant_id", Text(collation="nocase"), primary_key=True))

    assert "collations" in refusal_of(metadata, variables=RLSVariables(tenant_id=SLUG)).remedy


SPOILED = {
    "unique constraint": lambda: UniqueConstraint("title"),
    "unique index": lambda: Index("one_title", "title", unique=True),
    "unique expression": lambda: Index("one_lower", func.lower(text("title")), unique=True),
    "exclusion": lambda: ExcludeConstraint(("title", "="), name="no_two"),
}


@pytest.mark.parametrize("key", SPOILED.values(), ids=SPOILED.keys())
def test_a_unique_key_without_the_tenant_is_refused(key: Callable[[], Any]) -> None:
    """Its failing insert tells one tenant what another has, and no policy stops that."""
    metadata = MetaData()
    notes(metadata, key())

    refused = refusal_of(metadata)

    assert "lacks 'tenant_id'" in refused.problem
    assert "tenant_id" in refused.remedy


def test_a_primary_key_without_the_tenant_is_refused() -> None:
    """The commonest form of the same oracle."""
    metadata = MetaData()
    Table("notes", metadata, Column("tenant_id", Uuid), Column("id", Integer, primary_key=True))

    refused = refusal_of(metadata)

    assert "(id)" in refused.problem
    assert "(tenant_id, id)" in refused.remedy


def test_a_foreign_key_without_the_tenant_is_refused_with_the_right_one() -> None:
    """Key checks ignore policies: it would point at, and cascade into, another tenant's rows."""
    metadata = MetaData()
    notes(metadata, Column("parent", Uuid, ForeignKey("notes.id")))

    refused = refusal_of(metadata)

    assert "reaches into other tenants" in refused.problem
    assert "notes (tenant_id, id)" in refused.remedy


def test_a_foreign_key_that_pairs_the_tenant_with_another_column_is_refused() -> None:
    """Carrying the column is not enough: it must meet its own kind."""
    metadata = MetaData()
    notes(
        metadata,
        Column("parent", Uuid),
        ForeignKeyConstraint(["tenant_id", "parent"], ["notes.id", "notes.tenant_id"]),
    )

    assert "does not carry" in refusal_of(metadata).problem


def test_set_null_that_would_clear_the_tenant_is_refused() -> None:
    """The delete of a parent would fail on NOT NULL, in production, months later."""
    metadata = MetaData()
    notes(
        metadata,
        Column("parent", Uuid),
        ForeignKeyConstraint(
            ["tenant_id", "parent"], ["notes.tenant_id", "notes.id"], ondelete="set null"
        ),
    )

    assert 'ondelete="SET NULL (parent)"' in refusal_of(metadata).remedy


def test_references_to_shared_and_system_tables_are_judged_by_what_they_reveal() -> None:
    """Reference data has no tenant; a users table that only the system reads is an oracle."""
    metadata = MetaData()
    Table("countries", metadata, Column("code", Text, primary_key=True))
    Table("users", metadata, Column("id", Uuid, primary_key=True))
    Table("tenants", metadata, Column("id", Uuid, primary_key=True))
    notes(
        metadata,
        Column("country", Text, ForeignKey("countries.code")),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"]),
    )
    kinds: Any = {"shared": ["countries"], "system_only": ["users", "tenants"]}

    assert tenant_policies(metadata, **kinds).inventory.guarded

    metadata.tables["notes"].append_column(Column("author", Uuid, ForeignKey("users.id")))
    assert "(author) to public.users" in refusal_of(metadata, **kinds).problem


def test_global_keys_pass_only_under_a_name_that_says_what_they_weaken() -> None:
    """An existing schema needs a way in; a reader must see what it costs."""
    metadata = MetaData()
    table = Table(
        "notes", metadata, Column("tenant_id", Uuid), Column("id", Integer, primary_key=True)
    )

    policies = tenant_policies(metadata, insecure_global_keys=["notes"])

    assert policies == tenant_policies(table, insecure_global_keys=[table])
    assert "CREATE INDEX IF NOT EXISTS ix_notes_tenant" in str(policies)
    assert (
        "no guarded table 'public.tags'"
        in refusal_of(metadata, insecure_global_keys=["tags"]).problem
    )


def test_a_reference_to_a_table_nobody_described_must_carry_the_tenant() -> None:
    """Tables of another metadata are judged by the only thing that is known of them."""
    metadata = MetaData()
    notes(metadata, Column("plan", Uuid, ForeignKey("billing.plans.id")))

    assert "(plan) to billing.plans" in refusal_of(metadata).problem


def test_an_index_that_serves_only_some_rows_does_not_count_as_leading() -> None:
    """A partial or hash index leaves the rest to a scan over every tenant."""
    partial = Index("ix_part", "tenant_id", postgresql_where=text("done = 0"))
    whole = Index("ix_whole", "tenant_id", "done")

    for index, wanting in ((partial, True), (whole, False)):
        table = Table("jobs", MetaData(), Column("tenant_id", Uuid), Column("done", Integer), index)
        assert bool(tenant_policies(table).unindexed) is wanting


def test_names_that_do_not_exist_or_stand_twice_are_refused() -> None:
    """A misspelt exception would be believed by every later reader."""
    metadata = MetaData()
    notes(metadata)

    assert "no table 'public.countrys'" in refusal_of(metadata, shared=["countrys"]).problem
    assert (
        "shared too" in refusal_of(metadata, shared=["notes"], system_only=["public.notes"]).problem
    )
    assert "one string" in refusal_of(metadata, shared="notes").problem


@pytest.mark.parametrize("name", ["a\nDROP TABLE b", "a$asgi_guard$b", ""])
def test_a_name_that_could_leave_its_comment_or_block_is_refused(name: str) -> None:
    """Names become SQL text; a newline would end the comment above the statement."""
    table = Table(name, MetaData(), Column("tenant_id", Uuid, primary_key=True))

    assert "cannot be a table's" in refusal_of(table).problem


def test_an_id_type_that_a_cast_could_cut_is_refused() -> None:
    """``'acme-two'::varchar(4)`` is 'acme', silently."""
    shape = TenantIdShape("short", SLUG.pattern, "varchar(4)")
    metadata = MetaData()
    Table("notes", metadata, Column("tenant_id", Text, primary_key=True))

    refused = refusal_of(metadata, variables=RLSVariables(tenant_id=shape))

    assert "varchar(4)" in refused.problem


def test_integer_and_text_tenants_are_taken_too() -> None:
    """The id type is an option of the variables, not of each table."""
    for shape, kind in ((INTEGER, BigInteger), (SLUG, Text)):
        metadata = MetaData()
        Table("notes", metadata, Column("org", kind, primary_key=True))
        variables = RLSVariables(column="org", tenant_id=shape)

        script = str(tenant_policies(metadata, variables=variables))

        assert f"RETURNS {shape.sql_type}" in script
        assert "org = (SELECT asgi_guard.current_tenant())" in script


def test_something_that_is_no_table_is_refused() -> None:
    """A model class passed by habit must not become a list of nothing."""
    assert "'notes' is neither a MetaData nor a table" in refusal_of(["notes"]).problem
