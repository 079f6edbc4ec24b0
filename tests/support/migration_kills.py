"""Steps of a migration, each killed with SIGKILL one call to the file system later.

    SECRET_FILE=... python -m tests.support.migration_kills WORK FOLDER

FOLDER may be switched. For ``switch`` and for ``resign`` of a file, copies of it are worked on
until a run comes to its end. Prints what became of the process, and whether everything is whole
after it, and complete after another run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import jwt
from typer.testing import CliRunner

from asgi_guard.cli.app import app

FILES = ("open", "os.rename", "os.chmod", "os.truncate", "fcntl.flock")
MOST = 60
SECRET = "an old secret that every service has had for years"


def run(*words: str) -> int:
    """Run one command of the migration."""
    return CliRunner().invoke(app, ["keys", "migrate-hs256", *words]).exit_code


def killed(words: list[str], step: int, place: str) -> str:
    """Run a command in a child that dies at the *step*-th call to a file below *place*."""
    child = os.fork()
    if not child:
        left = step

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            elsewhere = event == "open" and place not in str(arguments[0])
            if event in FILES and not elsewhere:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        os._exit(run(*words))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {0: "finished", -signal.SIGKILL: "killed"}.get(status, f"failed {status}")


def is_whole(folder: Path, tokens: Path) -> bool:
    """Tell whether state and tokens can be read, and each token is one that was signed."""
    state = json.loads((folder / "migration.json").read_text())
    heads = [jwt.get_unverified_header(each)["alg"] for each in tokens.read_text().split()]
    return state["phase"] in {"published", "switched"} and len(heads) == 3 and len(set(heads)) == 1


def main(work: Path, origin: Path) -> None:
    """Kill each command at every step."""
    token = jwt.encode({"sub": "a", "exp": int(time.time()) + 600}, SECRET, "HS256")
    for command in ("switch", "resign"):
        for step in range(MOST):
            folder, tokens = work / f"{command}-{step}", work / f"{command}-{step}.tokens"
            shutil.copytree(origin, folder)
            tokens.touch(0o600)
            tokens.write_text("\n".join([token] * 3))
            further = ["--secret-file", os.environ["SECRET_FILE"], "--file", str(tokens)]
            words = [command, str(folder), *(further if command == "resign" else [])]
            if command == "resign":
                run("switch", str(folder))
            word = killed(words, step, str(work))
            whole = is_whole(folder, tokens)
            again = run(*words) if word == "killed" else 0
            state = json.loads((folder / "migration.json").read_text())
            complete = state["phase"] == "switched" and again in {0, 2}
            if command == "resign":
                head = jwt.get_unverified_header(tokens.read_text().split()[0])
                complete = head["alg"] == "ES256" and again == 0
            sys.stdout.write(f"{word} {'whole' if whole and complete else 'torn'}\n")
            sys.stdout.flush()
            if word != "killed":
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
