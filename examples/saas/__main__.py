"""``python -m examples.saas [--once] [--port 8000]``."""

from __future__ import annotations

import argparse
import sys

from .serve import run


def main() -> int:
    """Run the demo; 0 if it was served, or if everything held."""
    parser = argparse.ArgumentParser(description="The asgi-guard demo.")
    parser.add_argument("--once", action="store_true", help="take the tour over HTTP and stop")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    return 0 if run(once=options.once, port=options.port) else 1


if __name__ == "__main__":
    sys.exit(main())
