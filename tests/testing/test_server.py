"""Addresses and names are quoted where they are written, and refused where they cannot be."""

from __future__ import annotations

import os

import psycopg
import pytest

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.testing import PostgresServer
from asgi_guard.testing.embedded import EmbeddedPostgres
from asgi_guard.testing.postmaster import _is_server_by_proc, _is_server_by_ps
from asgi_guard.testing.server import quote_identifier


def test_a_url_survives_being_read_and_written() -> None:
    """Passwords hold every character that means something in a URL."""
    server = PostgresServer("127.0.0.1", 6000, "ad@min", "p:/?#[]@ %", "sslmode=disable")

    assert PostgresServer.from_dsn(server.dsn("a/b")) == server


def test_an_ipv6_host_is_bracketed() -> None:
    """Without brackets the port would be read as part of the address (RFC 3986)."""
    assert (
        PostgresServer.from_dsn("postgresql://u:p@[::1]:6000/x")
        .dsn()
        .endswith("@[::1]:6000/postgres")
    )


@pytest.mark.parametrize(
    "dsn", ["", "mysql://u@h/x", "postgresql:///x", "postgresql://h/x", "postgresql://u@h:port/x"]
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(dsn: str) -> None:
    """It may hold a password, and errors end in logs."""
    with pytest.raises(ConfigError) as caught:
        PostgresServer.from_dsn(dsn)
    assert not dsn or dsn not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_identifier_may_have_is_refused(name: str) -> None:
    """PostgreSQL would cut it at the zero character and name something else."""
    with pytest.raises(ConfigError):
        quote_identifier(name)


@pytest.mark.postgres
def test_hostile_names_stay_names(postgres_server: PostgresServer) -> None:
    """A database name from a test id may hold anything."""
    name = 'x"; DROP DATABASE postgres; --/?%'
    database = postgres_server.create_database(name)
    try:
        with psycopg.connect(database.dsn()) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (name,)
    finally:
        postgres_server.drop_database(name)
    postgres_server.drop_database(name)


def test_an_unreachable_server_is_an_error_of_its_own() -> None:
    """Nothing listens: the operator's matter, not a wrong statement."""
    with pytest.raises(UnavailableError):
        PostgresServer("127.0.0.1", 1, "u", "p").execute("SELECT 1")


@pytest.mark.postgres
def test_both_ways_to_recognise_a_server_agree() -> None:
    """Systems without /proc ask ps; the answer must be the same."""
    with EmbeddedPostgres(durable=False) as one, EmbeddedPostgres(durable=False) as other:
        for ask in (_is_server_by_proc, _is_server_by_ps):
            assert ask(one.home / "data", one.pid)
            assert not ask(one.home / "data", other.pid)
            assert not ask(one.home / "data", os.getpid())
