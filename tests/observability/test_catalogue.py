"""The catalogue says what the package emits, all of it and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi_guard.errors import RLSViolationError
from asgi_guard.observability.catalogue import CATALOGUE, EVENTS, events_page
from tests.support.architecture.source import Module, package_modules
from tests.support.audit_event_names import emitted_names

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def test_every_emitted_name_is_in_the_catalogue_and_the_other_way_round() -> None:
    """An alert on a name that nobody emits is silent for ever; so is a name nobody knows of."""
    emitted = emitted_names(package_modules())

    assert {name: place for name, place in emitted.items() if name not in EVENTS} == {}
    assert sorted(set(EVENTS) - set(emitted)) == []


@pytest.mark.parametrize(
    "text",
    [
        "report('NEW_NAME')",
        "events.emit('NEW_NAME', outcome='denied')",
        "emit('NEW_NAME' if x else 'OTHER_NAME', outcome='denied')",
        "NAME = 'NEW_NAME'\nemit(NAME, outcome='denied')",
        "class E(Exception):\n    code = 'NEW_NAME'\nreport(E.code)",
        "SecurityEvent(name='NEW_NAME', outcome='denied')",
        "_report_about(slot, 'NEW_NAME')",
        "self._note('NEW_NAME', kid)",
    ],
)
def test_a_name_is_seen_however_it_is_passed(text: str) -> None:
    """Negative control of the reading."""
    seen = emitted_names([Module("asgi_guard.x.y", text)])

    assert "NEW_NAME" in seen


def test_names_are_unique_and_their_outcomes_known() -> None:
    """A table with two rows for one name says two things."""
    assert len(EVENTS) == len(CATALOGUE)
    used = {outcome for kind in CATALOGUE for outcome in kind.outcomes}
    assert used == {"allowed", "denied", "error"}
    assert set(EVENTS) >= RLSViolationError.CODES


def test_the_page_is_the_table() -> None:
    """What operators read is what is emitted."""
    assert events_page() == PAGE.read_text()
