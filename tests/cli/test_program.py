"""How a command line starts wheelyard again."""

import sys
from pathlib import Path

import pytest

from wheelyard.cli.program import program_words

CLONE = ".venv/bin/wheelyard"


@pytest.mark.parametrize(
    ("argv_0", "prefix", "environment", "words"),
    [
        (CLONE, "/home/ana/clone/.venv", {}, [CLONE]),
        ("/opt/wheelyard/bin/wheelyard", "/opt/wheelyard", {}, ["/opt/wheelyard/bin/wheelyard"]),
        ("/c/uv/archive-v0/x1/bin/wheelyard", "/c/uv/archive-v0/x1", {}, ["uvx", "wheelyard"]),
        ("/c/bin/wheelyard", "/h/.cache/pipx/x1", {}, ["pipx", "run", "wheelyard"]),
        (
            "/c/.venv/bin/wheelyard",
            "/c/.venv",
            {"UV_RUN_RECURSION_DEPTH": "1"},
            ["uv", "run", "wheelyard"],
        ),
        (
            "/c/lib/wheelyard/__main__.py",
            "/c",
            {},
            [sys.executable, "-m", "wheelyard"],
        ),
        ("/usr/bin/pytest", "/usr", {}, ["wheelyard"]),
    ],
)
def test_the_words_that_started_it(
    argv_0: str, prefix: str, environment: dict[str, str], words: list[str]
) -> None:
    """A command that a message names begins as the one did that printed the message."""
    assert list(program_words(argv_0, prefix, environment)) == words


def test_a_program_on_the_path(tmp_path: Path) -> None:
    """Where PATH has the program, its name alone is enough."""
    program = tmp_path / "wheelyard"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    environment = {"PATH": str(tmp_path)}
    assert program_words(str(program), "/usr", environment) == ("wheelyard",)
    assert program_words("other/wheelyard", "/usr", environment) == ("other/wheelyard",)
