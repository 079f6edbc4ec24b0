"""The fixture of tests that need an OpenID provider of somebody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.node_oidc.launcher import OIDCProvider, running_oidc_provider

__all__ = ["oidc_provider"]


@pytest.fixture(scope="module")
def oidc_provider() -> Iterator[Callable[..., OIDCProvider]]:
    """Give a factory of providers, each with the options of `running_oidc_provider`.

    They end with the module. Share one among its tests where you can: starting takes half a
    second. ``pytestmark = pytest.mark.timeout(400)`` for the module: the first run installs it.
    """
    with ExitStack() as stack:

        def start(**options: object) -> OIDCProvider:
            return stack.enter_context(running_oidc_provider(**options))  # type: ignore[arg-type]

        yield start
