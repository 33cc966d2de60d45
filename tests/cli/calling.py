"""
Commands that run inside the process of the tests.

A process of its own takes half a second of processor time to start, and more where the command
imports Google's library. What `wheelyard` does in one is done here: arguments, environment, working
directory, output and exit status are the command's own.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from wheelyard.cli.main import main


def called(
    folder: Path, environment: Mapping[str, str], *arguments: str | Path
) -> CompletedProcess[str]:
    """Run a command to its end; servers need a process of their own."""
    typed = [str(each) for each in arguments]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as errors,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        patch.setattr(os, "environ", dict(environment))
        patch.setattr(tempfile, "tempdir", environment["TMPDIR"])
        patch.setattr(sys, "argv", ["wheelyard", *typed])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        with pytest.raises(SystemExit) as ended:
            main()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for file in (out, errors):
            file.seek(0)
        return CompletedProcess(typed, int(str(ended.value.code)), out.read(), errors.read())
