"""What helps against an error or a warning, in a terminal and on a page."""

import ast
import re
from pathlib import Path
from typing import Final

import click
import pytest

from tests.advice import texts_of
from wheelyard.catalog.removed import removed_rules_warning
from wheelyard.cli.main import COMMANDS, cli
from wheelyard.errors import NotFound, about_index
from wheelyard.remedies import Advice, Remedy
from wheelyard.rendering.advice import (
    ASKING,
    IN_INDEX,
    NOTHING,
    ON_STORE,
    WORDINGS,
    Terminal,
    caution_on_page,
    error_on_page,
    message_on_page,
)
from wheelyard.rendering.web.admin.navigation import SECTIONS

SOURCE: Final = Path(__file__).parents[2] / "src" / "wheelyard"
SERVER: Final = ("--server", "https://packages.acme.dev")
WITHOUT_COMMANDS: Final = (
    "model",
    "catalog",
    "operations",
    "storage",
    "downloads",
    "retention",
    "sources",
    "settings",
    "authentication",
    "upstream",
    "views",
    "wiring",
    "cli",
)
"""The packages whose messages have no command in them: `Terminal` writes it, as it was started."""
EMPTIED: Final = {
    Remedy.EMPTY_KEYS: ("promote_approvals",),
    Remedy.REPLACE_FILTER: ("filter=", "cooldown_days=7"),
}
_PAGES: Final = re.compile(r"\bpages? ([A-Z].*)")
_COMMAND: Final = re.compile(rf"(?<!\ba )\bwheelyard ({'|'.join(COMMANDS)})\b")


@pytest.mark.parametrize("remedy", Remedy)
def test_what_helps_has_words_for_both_places(remedy: Remedy) -> None:
    """Whoever reads an error in a terminal gets a command, and in a browser no command."""
    wording = WORDINGS[remedy]

    assert wording.terminal.count("{}") == len(Terminal().commands(Advice(remedy, "demo")))
    assert "wheelyard" not in wording.page
    assert wording.page == NOTHING or wording.page.endswith(".")


@pytest.mark.parametrize("remedy", Remedy)
def test_a_page_of_advice_has_that_title(remedy: Remedy) -> None:
    """Whoever is sent to a page of the administration finds it by that title in the navigation."""
    titles = tuple(section.title for section in SECTIONS if section.path)

    for named in _PAGES.findall(WORDINGS[remedy].page):
        assert all(text.startswith(titles) for text in named.split(" and "))


@pytest.mark.parametrize(
    ("right", "index", "option"),
    [
        ("upload", "main", ""),
        ("upload", "dev", " --index dev"),
        ("admin", "main", " --index main"),
    ],
)
def test_a_token_that_helps_is_of_that_index(right: str, index: str, option: str) -> None:
    """A command for a token names its index, also where `$WHEELYARD_INDEX` does for other ones."""
    terminal = Terminal("dev", default_index="dev")

    advice = Advice(Remedy.CREATE_TOKEN, "demo", index, right=right)

    (command,) = terminal.commands(advice)
    assert command.endswith(f" --can {right} --project demo{option}")


@pytest.mark.parametrize(
    ("index", "option"), [("dev", ""), ("main", " --index main"), ("lab", " --index lab")]
)
def test_a_command_names_an_index_that_the_variable_does_not(index: str, option: str) -> None:
    """A command is about the index of the message, also where `$WHEELYARD_INDEX` is another one."""
    terminal = Terminal("dev", default_index="dev")

    (command,) = terminal.commands(Advice(Remedy.RESTORE, "demo", index, "1.0"))

    assert command == f"wheelyard restore demo 1.0{option}"


@pytest.mark.parametrize("remedy", Remedy)
def test_commands_can_be_pasted(remedy: Remedy) -> None:
    """Each command that a message names is one of the command line, with options that it has."""
    terminal = Terminal("dev", place=SERVER, has_server=True, asks_nobody=True)
    for line in terminal.commands(Advice(remedy, "demo", keys=EMPTIED.get(remedy, ()))):
        _, *words = line.split()
        command: click.Command = cli
        context = click.Context(command)
        while isinstance(command, click.Group):
            name, *words = words
            found = command.get_command(context, name)
            assert found is not None
            command = found
        # it raises an error if the command has no such option or argument
        assert command.make_context(command.name, words, parent=context).command is command


def test_a_command_is_about_the_index_and_the_place_of_the_message() -> None:
    """A command in a message has the program, the index and the server of whoever reads it."""
    terminal = Terminal("dev", (".venv/bin/wheelyard",), SERVER, has_server=True)
    restore = Advice(Remedy.RESTORE, "demo", versions="<2", filename="demo-1.0.tar.gz")

    (command,) = terminal.commands(restore)
    assert command == (
        ".venv/bin/wheelyard restore demo --versions '<2' --file demo-1.0.tar.gz --index dev "
        "--server https://packages.acme.dev"
    )
    assert Terminal().commands(Advice(Remedy.RESTORE, "demo", "lab", "1.0")) == [
        "wheelyard restore demo 1.0 --index lab"
    ]
    # the store is the operator's, and no server can be asked to check it
    assert terminal.commands(Advice(Remedy.CHECK_STORE)) == [".venv/bin/wheelyard check"]
    assert Remedy.CHECK_STORE in ON_STORE - IN_INDEX


def test_a_command_about_a_file_of_this_machine_names_no_place() -> None:
    """A command that has no option for a server or a store is printed without one."""
    terminal = Terminal("dev", place=("--store", "packages"))

    assert terminal.commands(Advice(Remedy.REPLACE_PASSWORDS, "/etc/a b/htpasswd")) == [
        "wheelyard password NAME --file '/etc/a b/htpasswd' --replace"
    ]


@pytest.mark.parametrize("remedy", sorted(ASKING))
def test_a_command_for_a_program_asks_nobody(remedy: Remedy) -> None:
    """Only where nobody was asked, a command that would ask is printed with the option --yes."""
    asking, unasked = Terminal(), Terminal(asks_nobody=True)

    assert not any("--yes" in line for line in asking.commands(Advice(remedy, "demo")))
    assert all("--yes" in line for line in unasked.commands(Advice(remedy, "demo")))
    assert unasked.commands(Advice(Remedy.RESTORE, "demo")) == ["wheelyard restore demo"]


def test_a_warning_has_words_for_both_places() -> None:
    """What helps against a warning is a command in a terminal, and on a page a sentence."""
    warning = removed_rules_warning("prod", ("promote_approvals",))
    fact = (
        "Nothing is promoted to the index prod, as it has rules that were removed: "
        "promote_approvals. Take them away"
    )

    (text,) = texts_of([warning])
    assert text == f"{fact}: 'wheelyard index change prod promote_approvals='."
    assert caution_on_page(warning) == f"{fact} on the page of indexes."


def test_a_request_names_the_command_of_whoever_answers() -> None:
    """Who asks for a hidden package sees the command for that, and the one that shows it."""
    message = Terminal().message(
        "requests 2.0 is hidden.", Advice(Remedy.REQUEST_PACKAGE, "requests", version="2.0")
    )

    assert message == (
        "requests 2.0 is hidden. Ask at /-/request/ or by 'wheelyard upstream request --reason WHY "
        "requests 2.0', which 'wheelyard upstream approve requests 2.0' answers."
    )


def test_a_name_that_a_server_sends_ends_no_command() -> None:
    """Whatever a server names in an advice is one word of the command, without escapes."""
    commands = Terminal().commands(Advice(Remedy.LIST_FILES, "demo; rm -rf ~ \x1b[2J"))

    assert commands == [r"wheelyard list 'demo; rm -rf ~ \x1b[2J'"]


def test_an_error_of_another_index() -> None:
    """What helps against an error of a promotion is about the index that it comes from."""
    fault = NotFound("demo has no version 2.", advice=Advice(Remedy.LIST_FILES, "demo"))

    with pytest.raises(NotFound), about_index("dev"):
        raise fault

    assert fault.advice == Advice(Remedy.LIST_FILES, "demo", "dev")
    assert error_on_page(fault) == "demo has no version 2. Its page shows what it has."
    assert message_on_page("Nothing helps.", None) == "Nothing helps."


@pytest.mark.slow
@pytest.mark.parametrize("package", WITHOUT_COMMANDS)
def test_a_message_has_no_command_in_it(package: str) -> None:
    """Whoever is told of a command reads it as they have to type it, as it is added to the fact."""
    named = {
        f"{path.relative_to(SOURCE)}: {text}"
        for path in (SOURCE / package).rglob("*.py")
        for text in _messages(ast.parse(path.read_text()))
        if _COMMAND.search(text)
    }

    assert named == set()


def _messages(tree: ast.Module) -> set[str]:
    """Return the texts of a module that are no docstrings, and no examples of commands."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    documentation |= {
        id(example)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "examples"
        for example in ast.walk(node.value)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documentation
    }
