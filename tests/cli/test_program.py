"""How a command line starts wheelyard again."""

import sys
from pathlib import Path

import click
import pytest

from wheelyard.cli import program
from wheelyard.cli.program import program_words, this_terminal
from wheelyard.cli.shared_options import keep_option
from wheelyard.remedies import Advice, Remedy

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


@pytest.mark.parametrize(
    ("yes", "dry_run", "can_ask", "asks"),
    [
        (False, False, True, True),
        (False, False, False, False),
        (True, False, True, False),
        (False, True, False, True),
        (True, True, True, False),
    ],
    ids=["person", "script", "agreed", "trial of a script", "agreed trial"],
)
def test_a_command_in_a_message_asks_as_the_one_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, *, yes: bool, dry_run: bool, can_ask: bool, asks: bool
) -> None:
    """A message names a deletion with --yes after one with --yes, or where nobody can be asked."""
    monkeypatch.setattr(program, "is_interactive", lambda: can_ask)
    with click.Context(click.Command("delete")) as context:
        context.params["dry_run"] = dry_run
        keep_option(context, click.Option(["--yes"]), yes)
        (line,) = this_terminal().commands(Advice(Remedy.DELETE, "demo"))

    assert ("--yes" not in line) == asks


@pytest.mark.parametrize(
    ("option", "advice", "expected"),
    [
        ("server", Advice(Remedy.RESTORE, "demo"), "restore demo --server x"),
        ("server", Advice(Remedy.CHECK_STORE), "check"),
        ("store", Advice(Remedy.CHECK_STORE), "check --store x"),
    ],
    ids=["packages of a server", "store of a server", "store"],
)
def test_a_command_in_a_message_is_about_the_place_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, option: str, advice: Advice, expected: str
) -> None:
    """A message names a command for the typed server or store, but none that checks a server."""
    with click.Context(click.Command("delete")) as context:
        keep_option(context, click.Option([f"--{option}"]), "x")
        monkeypatch.setattr(sys, "argv", ["/c/lib/wheelyard/__main__.py"])
        (line,) = this_terminal().commands(advice)

    _, _, words = line.partition(" wheelyard ")
    assert words == expected
