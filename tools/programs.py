"""Programs that a release runs, and the one line that says why it cannot be made."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

OF_ONE_MACHINE: Final = ("SOURCE_DATE_EPOCH", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Variables that would change what is built."""


class Refused(Exception):
    """The release cannot be made, for the reason of the message: one line."""


def run(*command: str | Path, cwd: Path, umask: int = -1, **variables: str) -> str:
    """Return what a program prints; refuse to go on if it fails."""
    environment = {name: text for name, text in os.environ.items() if name not in OF_ONE_MACHINE}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment | variables,
        umask=umask,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise Refused(f"{' '.join(map(str, command[:3]))} failed, see above")
    return done.stdout.rstrip()


def run_module(module: str, *arguments: str | Path, cwd: Path) -> None:
    """Run a module of this environment, which prints what it has to say itself."""
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=cwd, check=False)
    if done.returncode:
        raise Refused(f"{module} failed, see above")


def say(message: str) -> None:
    """Print progress."""
    print(f"release: {message}", flush=True)
