"""
Programs that print a token, run without a shell and without a terminal.

A program is looked up in the absolute folders of PATH alone. An empty or relative entry, and the
current folder that Windows adds, would let whoever wrote the project one works on run a `gcloud`
of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from wheelyard_keyring.tokens import clean

GCLOUD: Final = ("gcloud", "auth", "print-access-token")
PATIENCE: Final = 10.0
"""Seconds."""


def printed_token(
    command: Sequence[str], search_path: str, *, quiet: bool, patience: float = PATIENCE
) -> str | None:
    """
    Return the token that a program prints, None if it fails or prints anything else.

    Args:
        command: A program by its name or absolute path, and its arguments.
        search_path: Folders, as in PATH.
        quiet: Whether its messages are dropped; otherwise they go to standard error.
        patience: Seconds for it to end.
    """
    program = find_program(command[0], search_path)
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the person's own settings, or gcloud
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            check=False,
            timeout=patience,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return clean(done.stdout.decode("ascii", "replace")) if done.returncode == 0 else None


def find_program(name: str, search_path: str) -> str | None:
    """Return the absolute path of a program, None if there is none."""
    if os.path.dirname(name):  # noqa: PTH120 - a Path would lose the ./ that tells
        return name if Path(name).is_absolute() else None
    folders = [each for each in search_path.split(os.pathsep) if Path(each).is_absolute()]
    found = shutil.which(name, path=os.pathsep.join(folders)) if folders else None
    return found if found and Path(found).is_absolute() else None
