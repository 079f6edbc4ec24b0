"""Finding a headless browser."""

from __future__ import annotations

import shutil

__all__ = ["find_chromium"]


def find_chromium() -> str | None:
    """Find Chromium's program, by the names that distributions give it."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)
