"""The package is built in floors: what is below does not know what is above."""

from __future__ import annotations

import pytest

from tests.support.architecture.floors import cycles, floor_problems
from tests.support.architecture.source import Module, package_modules


def test_every_room_imports_only_lower_floors() -> None:
    """Rooms that know each other cannot be used, tested or reviewed alone."""
    assert floor_problems(package_modules()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """A circle works or breaks by the order in which a user happens to import."""
    assert cycles(package_modules()) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("asgi_guard.cors.policy", "from asgi_guard.auth import x"),
        ("asgi_guard.cors.policy", "import asgi_guard.stack"),
        ("asgi_guard.cors.policy", "from asgi_guard import Guard"),
        ("asgi_guard.cors.policy", "from ..stack import Guard"),
        ("asgi_guard.cors", "from .. import stack"),
        ("asgi_guard.cors.policy", "def late():\n    from asgi_guard.settings import x"),
        ("asgi_guard.errors", "from asgi_guard.protocols import Clock"),
        ("asgi_guard._internal.asgi", "import asgi_guard.tenancy.current as c"),
        ("asgi_guard.new_room.policy", ""),
    ],
)
def test_an_import_upwards_or_sideways_is_reported(name: str, text: str) -> None:
    """Negative control: in every spelling of an import."""
    stack = Module("asgi_guard.stack", "")

    assert floor_problems([Module(name, text, is_package=name.endswith("cors")), stack])


def test_an_import_downwards_or_within_a_room_is_not_reported() -> None:
    """A check that always fails proves nothing either."""
    text = "from asgi_guard.errors import ConfigError\nfrom . import policy\nimport os"

    assert floor_problems([Module("asgi_guard.cors.middleware", text)]) == []


def test_a_circle_is_reported_and_a_late_import_is_none() -> None:
    """Negative control: directly, and through a package's own front door."""
    direct = [
        Module("asgi_guard.rls.a", "from asgi_guard.rls import b"),
        Module("asgi_guard.rls.b", "import asgi_guard.rls.a"),
    ]
    front_door = [
        Module("asgi_guard.rls", "from asgi_guard.rls.a import A", is_package=True),
        Module("asgi_guard.rls.a", "from asgi_guard.rls import helper"),
    ]
    late = [
        Module("asgi_guard.rls.a", "def f():\n    from asgi_guard.rls import b"),
        Module("asgi_guard.rls.b", "import asgi_guard.rls.a"),
    ]

    assert cycles(direct)
    assert cycles(front_door)
    assert cycles(late) == []
