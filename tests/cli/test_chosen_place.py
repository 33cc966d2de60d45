"""`$WHEELYARD_URL` and `$WHEELYARD_INDEX`: the server and the index of commands about packages."""

from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.distributions import make_wheel

NOWHERE = {"WHEELYARD_URL": "http://127.0.0.1:9"}
"""A server that does not run."""
IN_DEV = {"WHEELYARD_INDEX": "dev"}


@pytest.fixture
def in_dev(wheelyard: Typed, tmp_path: Path) -> Typed:
    """Type a command where the store `there` has the project demo in the index dev."""
    assert wheelyard("token", "create", "ci", "--store", "there").returncode == 0
    assert wheelyard("index", "add", "dev", "--store", "there").returncode == 0
    file = make_wheel().write(tmp_path)
    assert wheelyard("upload", file, "--index", "dev", "--store", "there").returncode == 0
    return wheelyard


@pytest.mark.integration
def test_url_names_the_server(wheelyard: Typed) -> None:
    """A command about packages asks the server of the variable, as with the option."""
    answer = wheelyard("list", **NOWHERE)

    assert "No answer from http://127.0.0.1:9/" in answer.stderr


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_store_that_is_named_wins(in_dev: Typed, how: str) -> None:
    """Who names a store, by the option or its variable, gets that and not the server."""
    arguments = ("--store", "there") if how == "option" else ()
    environ = {**NOWHERE, **IN_DEV}
    if how == "variable":
        environ["WHEELYARD_STORE"] = "there"

    assert in_dev("list", *arguments, **environ).stdout.startswith("demo")


def test_index_is_the_default_of_the_option(in_dev: Typed) -> None:
    """The variable names the index of a command about packages, and the option wins."""
    place = ("--store", "there")

    assert in_dev("list", *place, **IN_DEV).stdout.startswith("demo")
    assert in_dev("list", *place, "--index", "main", **IN_DEV).stdout == ""


def test_promotion_is_from_the_index(in_dev: Typed) -> None:
    """A promotion is from the index of the variable, unless `--from` names another."""
    release = ("demo", "1.0", "--to", "main", "--store", "there")

    assert "promoted to main" in in_dev("promote", *release, "--dry-run", **IN_DEV).stdout
    assert in_dev("promote", *release, "--from", "main", **IN_DEV).returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "list"),
        ("token", "create", "x"),
        ("access", "show"),
        ("access", "grant", "htpasswd:ana", "--project", "*", "--can", "read"),
        ("publisher", "list"),
        ("index", "list"),
    ],
)
def test_rights_and_tokens_take_no_variable(in_dev: Typed, arguments: tuple[str, ...]) -> None:
    """A command about rights asks no server of the variable, and gives no right in its index."""
    answer = in_dev(*arguments, "--store", "there", **NOWHERE, **IN_DEV)

    assert answer.returncode == 0
    assert "in the index dev" not in answer.stdout + answer.stderr


def test_settings_of_clients_are_those_of_the_index(in_dev: Typed) -> None:
    """The text for a client names the server and the index of the variables."""
    url = ("--url", "https://packages.acme.dev")
    printed = in_dev("print-settings", "pip", *url, "--store", "there", **IN_DEV)

    assert "https://packages.acme.dev/dev/simple/" in printed.stdout


def test_login_is_to_the_server_of_the_variable(wheelyard: Typed) -> None:
    """A login without a URL is one at the server and the index of the variables."""
    environ = {**NOWHERE, **IN_DEV}

    answer = wheelyard("login", "--no-browser", **environ)

    assert "http://127.0.0.1:9/-/account/tokens/" in answer.stderr
    assert "index=dev" in answer.stderr


def test_advice_names_the_server_of_the_variable(in_dev: Typed) -> None:
    """An advised command that takes no variable names the store, and the index by an option."""
    added = in_dev("index", "add", "prod", "--store", "there", **IN_DEV)

    assert "token create NAME --index prod --store there' makes a token for it" in added.stdout


@pytest.mark.integration
@pytest.mark.parametrize("command", ["why", "upstream why"])
def test_why_asks_the_server_of_the_variable(wheelyard: Typed, command: str) -> None:
    """`why` asks the server of the variable what an index shows."""
    answer = wheelyard(*command.split(), "demo", **NOWHERE)

    assert "No answer from http://127.0.0.1:9/" in answer.stderr


def test_an_import_is_into_a_store(wheelyard: Typed, tmp_path: Path) -> None:
    """An import is refused while the variable names a server, unless a store is named."""
    refused = wheelyard("import", tmp_path, **NOWHERE)
    done = wheelyard("import", tmp_path, "--store", "here", **NOWHERE)

    assert (refused.returncode, "Name the store of that server" in refused.stderr) == (1, True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "wheelyard-data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--index", ""),
        ("upload", "no-file", "--index", " "),
        ("promote", "demo", "1.0", "--from", "dev", "--to", ""),
        ("promote", "demo", "1.0", "--from", "", "--to", "main"),
        ("print-settings", "pip", "--index", ""),
        ("token", "create", "ci", "--index", ""),
    ],
)
def test_an_empty_name_of_an_index_is_refused(in_dev: Typed, arguments: tuple[str, ...]) -> None:
    """An empty name of an index is refused, and does not choose main."""
    answer = in_dev(*arguments, "--store", "there")

    assert (answer.returncode, "It is empty. Name an index" in answer.stderr) == (2, True)
