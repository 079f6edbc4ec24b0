"""The master key from the environment: read in the one place that may, and masked at once."""

from __future__ import annotations

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.settings.env import read_vault_master_key
from asgi_guard.vault import LocalMasterKey, new_master_key

NAME = "ASGI_GUARD_VAULT_MASTER_KEY"


def test_the_key_comes_masked_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Platforms that mount no files hand secrets over so."""
    text = new_master_key()
    monkeypatch.setenv(NAME, f" {text.reveal()}\n")

    read = read_vault_master_key()

    assert LocalMasterKey(read).master_id == LocalMasterKey(text).master_id
    assert text.reveal() not in repr(read)


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "is not set"), ({NAME: " "}, "is not set"), ({NAME[:-1]: "x"}, f"Did you mean {NAME}")],
)
def test_a_missing_key_stops_the_start(given: dict[str, str], told: str) -> None:
    """A key made up on the spot would be lost with the process."""
    with pytest.raises(ConfigError, match=told):
        read_vault_master_key(given)
