"""UserExecutionContext: frozen, narrowable only, and never on a wire."""

from __future__ import annotations

import copy
import pickle

import pytest

from asgi_guard.errors import ConfigError, ExpansionError
from asgi_guard.tenancy import UserExecutionContext
from tests.support.tenancy_world import ACME, GLOBEX, context


@pytest.mark.parametrize("field", ["tenant_id", "user_id"])
@pytest.mark.parametrize("value", ["", None, 7, b"acme", True])
def test_a_context_without_a_real_tenant_and_user_cannot_be_made(field: str, value: object) -> None:
    """An empty tenant would be bound as one, and match rows that were written without."""
    fields = {"tenant_id": ACME, "user_id": "alice", field: value}

    with pytest.raises(ConfigError, match=field):
        UserExecutionContext(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["roles", "scopes"])
def test_one_string_is_not_taken_for_a_set_of_letters(field: str) -> None:
    """roles="admin" would otherwise grant the roles a, d, m, i and n."""
    with pytest.raises(ConfigError, match=field):
        UserExecutionContext(tenant_id=ACME, user_id="alice", **{field: "admin"})  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["2030-01-01", True, [1]])
def test_an_end_that_is_no_number_is_refused_when_built(end: object) -> None:
    """It would fail at the first read instead, far from whoever made it."""
    with pytest.raises(ConfigError, match="expires_at"):
        context(expires_at=end)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["tenant_id", "user_id", "roles", "parent", "new_field"])
def test_no_field_can_be_changed_even_past_the_class(field: str) -> None:
    """A slots class without a tuple still yields to object.__setattr__."""
    acme = context()

    with pytest.raises((AttributeError, TypeError)):
        setattr(acme, field, GLOBEX)
    with pytest.raises((AttributeError, TypeError)):
        object.__setattr__(acme, field, GLOBEX)

    assert acme.tenant_id == ACME


def test_the_ways_of_a_named_tuple_to_edit_or_build_are_closed() -> None:
    """_replace, _make and Python 3.13's copy.replace would skip every check."""
    acme = context()

    with pytest.raises(ExpansionError):
        acme._replace(tenant_id=GLOBEX)
    with pytest.raises(ExpansionError):
        acme.__replace__(tenant_id=GLOBEX)
    with pytest.raises(ExpansionError):
        UserExecutionContext._make(tuple(acme))


def test_copies_are_the_context_itself() -> None:
    """Frameworks deep-copy what they keep; two objects for one identity help nobody."""
    acme = context()

    assert copy.copy(acme) is acme
    assert copy.deepcopy([acme])[0] is acme


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_context_is_not_pickled(protocol: int) -> None:
    """One that arrives from a queue, unsigned, could name anyone."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(context(), protocol)


def test_the_repr_holds_ids_and_nothing_that_grants() -> None:
    """It lands in logs, which more people read than may see scopes and sessions."""
    acme = UserExecutionContext(
        tenant_id=ACME, user_id="alice", session_id="sid-secret", scopes={"notes:write"}
    )

    assert "sid-secret" not in repr(acme)
    assert "notes:write" not in repr(acme)


def test_a_child_keeps_the_identity_and_drops_what_it_is_told_to() -> None:
    """An agent's tool should hold no more than the tool needs."""
    parent = context(roles={"admin", "editor"}, scopes={"read", "write"}, expires_at=50.0)

    child = parent.child("tool.search", roles={"editor"}, scopes={"read"}, expires_at=40.0)

    assert (child.tenant_id, child.user_id) == (ACME, "alice")
    assert child.roles == {"editor"}
    assert child.scopes == {"read"}
    assert (child.expires_at, child.parent, child.operation) == (40.0, parent, "tool.search")


def test_a_child_inherits_what_it_does_not_name() -> None:
    """Narrowing one thing must not lose another."""
    parent = context(roles={"admin"}, scopes={"read"}, expires_at=50.0)

    child = parent.child("tool")

    assert (child.roles, child.scopes, child.expires_at) == ({"admin"}, {"read"}, 50.0)


@pytest.mark.parametrize(
    "wider",
    [{"roles": {"owner"}}, {"scopes": {"read", "delete"}}, {"expires_at": 51.0}],
    ids=["role", "scope", "end"],
)
def test_a_child_never_has_more_than_its_parent(wider: dict[str, object]) -> None:
    """A prompt that talks an agent into "becoming admin" must fail here."""
    parent = context(roles={"admin"}, scopes={"read"}, expires_at=50.0)

    with pytest.raises(ExpansionError):
        parent.child("tool", **wider)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant_id": GLOBEX},
        {"user_id": "mallory"},
        {"roles": {"owner"}},
        {"scopes": {"delete"}},
        {"expires_at": None},
    ],
    ids=str,
)
def test_naming_a_parent_by_hand_expands_nothing_either(fields: dict[str, object]) -> None:
    """The constructor is public: what child() refuses must not be spelled around it."""
    parent = context(roles={"admin"}, scopes={"read"}, expires_at=50.0)
    wanted = {"tenant_id": ACME, "user_id": "alice", "expires_at": 50.0, **fields}

    with pytest.raises(ExpansionError):
        UserExecutionContext(parent=parent, **wanted)  # type: ignore[arg-type]


def test_a_parent_is_a_context() -> None:
    """Anything else would make the checks against it meaningless."""
    with pytest.raises(ConfigError, match="parent"):
        UserExecutionContext(tenant_id=ACME, user_id="alice", parent=("acme",))  # type: ignore[arg-type]


def test_the_same_user_id_in_two_tenants_is_two_identities() -> None:
    """User ids are unique within a tenant only, in many apps."""
    assert not context(ACME).same_identity(context(GLOBEX))
    assert not context(user_id="alice").same_identity(context(user_id="bob"))
    assert context().same_identity(context().child("tool"))
