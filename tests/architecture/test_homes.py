"""What must be done in one place is done there only."""

from __future__ import annotations

import pytest

from tests.support.architecture.homes import HOMES, home_problems
from tests.support.architecture.source import Module, package_modules


def test_everything_with_a_single_home_stays_there() -> None:
    """An auditor reads one file and knows that there is no second."""
    assert home_problems(package_modules()) == []


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['A']",
        "import os as o\no.getenv('A')",
        "from os import environ",
        "from contextvars import ContextVar\nx = ContextVar('x')",
        "import contextvars\nx = contextvars.ContextVar[int]('x')",
        "import time\ntime.time()",
        "import time as t\nt.monotonic()",
        "from time import perf_counter_ns",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "from datetime import date\ndate.today()",
        "import asyncio\nasyncio.get_running_loop().time()",
        "sql = \"SELECT set_config('app.t', '1', false)\"",
        "sql = f'set  local {name} = 1'",
        "import hmac\nhmac.compare_digest(a, b)",
        "from secrets import compare_digest",
    ],
)
def test_a_use_elsewhere_is_reported(text: str) -> None:
    """Negative control: under other names, too."""
    assert home_problems([Module("asgi_guard.cors.policy", text)])


@pytest.mark.parametrize(
    "text",
    [
        '"""Why SET LOCAL and not set_config( here."""',
        "clock.now()\nclock.monotonic()",
        "import time\ntime.sleep(1)",
        "import os\nos.path",
    ],
)
def test_what_only_looks_alike_is_not_reported(text: str) -> None:
    """A check that always fails proves nothing either."""
    assert home_problems([Module("asgi_guard.cors.policy", text)]) == []


def test_every_home_is_used() -> None:
    """A rule for a file that is gone, or a pattern that no longer matches, guards nothing."""
    modules = {module.file: module for module in package_modules()}
    for home in HOMES:
        for file in home.files & set(modules):
            if home.what != "the date":
                assert list(home.uses(modules[file])), f"{file} has no {home.what}"
