"""Help texts, the page that is made from them, and completion by the shell."""

import re
import shlex
import sys

import click
import pytest

from tests.cli.conftest import called
from tests.clients.harness import REPOSITORY, Sandbox, system_program
from tools.command_reference import PAGE, commands, help_text, with_reference
from wheelyard.cli.main import COMMANDS, cli
from wheelyard.errors import DOCUMENTATION

CONTEXTS = {context.command_path: context for context in commands()}
SHELL = shlex.shlex("", punctuation_chars=True).punctuation_chars


def examples(text: str) -> list[str]:
    """Return the lines below `Examples:` of a help text."""
    return [
        line.strip() for line in text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    ]


def test_the_page_is_up_to_date() -> None:
    """docs/commands.md says what `--help` says; `nox -s commands` writes it."""
    page = PAGE.read_text(encoding="utf-8")

    assert with_reference(page) == page


@pytest.mark.parametrize("path", CONTEXTS)
def test_help_has_examples_and_names_its_page(path: str) -> None:
    """The help of each command has examples, that of a group none; both name their page."""
    text = help_text(CONTEXTS[path])

    is_group = isinstance(CONTEXTS[path].command, click.Group)
    assert len(examples(text)) in ((0,) if is_group else (2, 3))
    assert [line for line in text.splitlines() if len(line) > 80] == []
    page = re.search(rf"Documentation:\n +{DOCUMENTATION}/(\S+)\Z", text)
    assert page is not None
    assert (REPOSITORY / "docs" / page[1]).is_file()


@pytest.mark.parametrize("path", CONTEXTS)
def test_each_option_is_explained(path: str) -> None:
    """The help of each command says what each of its options is for."""
    options = (
        parameter
        for parameter in CONTEXTS[path].command.params
        if isinstance(parameter, click.Option)
    )

    assert [option.name for option in options if not (option.help or option.hidden)] == []


@pytest.mark.parametrize("path", CONTEXTS)
def test_each_example_is_understood(path: str) -> None:
    """Each example of a help text is a line that this command understands."""
    for line in examples(help_text(CONTEXTS[path])):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = [*lexer]
        typed = words[words.index("wheelyard") + 1 :]
        end = next((at for at, word in enumerate(typed) if set(word) <= set(SHELL)), len(typed))
        context = parsed(cli, CONTEXTS["wheelyard"], typed[:end])
        assert f"{context.command_path} ".startswith(f"{path} ")


def parsed(group: click.Group, context: click.Context, words: list[str]) -> click.Context:
    """Return the context of the command that the words name, after it has parsed the others."""
    name, command, rest = group.resolve_command(context, words)
    assert command is not None
    if isinstance(command, click.Group):
        return parsed(command, click.Context(command, context, name), rest)
    return command.make_context(name, rest, context, resilient_parsing="--help" in rest)


def test_each_command_is_listed_once_in_its_group() -> None:
    """`wheelyard --help` shows each command once, below the title of its group."""
    text = help_text(CONTEXTS["wheelyard"])
    groups = dict(re.findall(r"^([A-Z][\w ]+):\n((?:  [a-z].*\n)+)", text, re.MULTILINE))

    shown = re.findall(r"^  (\S+)", "".join(groups.values()), re.MULTILINE)
    assert shown == list(COMMANDS)
    assert {"Serve", "Publish and import", "Manage", "Access", "Store and checks"} <= {*groups}


def test_a_command_is_completed_with_what_it_does(sandbox: Sandbox) -> None:
    """A shell that completes the beginning of a command gets the command and its description."""
    asked = {
        "_WHEELYARD_COMPLETE": "zsh_complete",
        "COMP_WORDS": "wheelyard im",
        "COMP_CWORD": "1",
    }

    done = called(sandbox.folder, sandbox.environment() | asked)

    kind, name, description = done.stdout.splitlines()
    assert (done.returncode, kind, name) == (0, "plain", "import")
    assert description == COMMANDS["import"]


@pytest.mark.integration
def test_shells_complete_commands(sandbox: Sandbox) -> None:
    """The documented line makes bash complete commands and options; zsh and fish have theirs."""
    program = sandbox.folder / "wheelyard"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m wheelyard "$@"\n')
    program.chmod(0o755)
    lines = re.findall(r"^.*_WHEELYARD_COMPLETE=.*$", PAGE.read_text(), re.MULTILINE)
    bash = next(line for line in lines if "bash_source" in line)
    script = f"""{bash}
    complete() {{ COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
                 $function "$1"; echo "${{COMPREPLY[@]}}"; }}
    function=$(builtin complete -p wheelyard | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    complete wheelyard im; complete wheelyard check --sw
    _WHEELYARD_COMPLETE=zsh_source wheelyard; _WHEELYARD_COMPLETE=fish_source wheelyard"""
    path = f"{sandbox.folder}:{sandbox.environment()['PATH']}"

    printed = sandbox.run(
        system_program("bash"), "-c", script, PATH=path, PYTHONPATH=str(REPOSITORY / "src")
    )

    assert printed.splitlines()[:2] == ["import", "--sweep"]
    assert "#compdef wheelyard" in printed
    assert "complete --no-files --command wheelyard" in printed
    assert len(lines) == 3
