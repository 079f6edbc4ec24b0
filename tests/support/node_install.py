"""Parts written for node, installed as a committed lock file pins them, once, into ``.cache``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.availability import unavailable

__all__ = ["installed_node_parts"]

_CACHE = Path(__file__).resolve().parents[2] / ".cache"
_INSTALL_SECONDS = 300


def installed_node_parts(sources: Path, name: str) -> Path:
    """Return a folder with what *sources*' lock file names, and the scripts of *sources*.

    Args:
        sources: A folder with package.json, package-lock.json and ``*.mjs``.
        name: What the folder is called, for people.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        unavailable("node", "node and npm are not installed (Debian: apt-get install nodejs npm)")
    # Named after the scripts, too: two runs at once may be of two versions of them.
    pinned = sorted(each for each in sources.iterdir() if each.suffix in {".json", ".mjs"})
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in pinned)).hexdigest()[:16]
    folder = _CACHE / f"{name}-{digest}"
    if not folder.exists():
        _install(sources, folder, name)
    return folder


def _install(sources: Path, folder: Path, name: str) -> None:
    """Install beside *folder* and move into place, so that two runs cannot meet half-way."""
    _CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as made:
        target = Path(made) / "parts"
        shutil.copytree(sources, target, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        # Install scripts stay off: nothing here needs one, and each is a stranger's program.
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=target,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            unavailable(name, f"npm ci failed: {done.stderr[-300:]}")
        try:
            target.rename(folder)
        except OSError:
            if not folder.exists():  # another run was first, or it is a real failure
                raise
