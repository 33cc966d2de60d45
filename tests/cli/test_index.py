"""`wheelyard index`: indexes of the store, from the command line."""

import json

import pytest

from tests.cli.conftest import Done, Typed


@pytest.fixture
def index(wheelyard: Typed) -> Typed:
    """Type a subcommand of `index`, for a store."""
    assert wheelyard("token", "create", "ci", "--store", "there").returncode == 0

    def run(*arguments: str) -> Done:
        return wheelyard("index", *arguments, "--store", "there")

    return run


def test_a_warning_is_told_until_it_is_mended(index: Typed) -> None:
    """A name of no index in promote_from is warned of at once, and in the list."""
    assert index("add", "prod").returncode == 0
    assert index("list").stdout.startswith("main\tno keys\t\nprod\tits own packages\t20")

    changed = index("change", "prod", "promote_from=nope")

    assert "warning: promote_from" in changed.stderr
    assert "\twarning: promote_from" in index("list").stdout
    assert index("change", "prod", "promote_from=").stderr == ""


def test_a_layer_that_only_the_server_knows(index: Typed) -> None:
    """An index with a layer that only a server can know is made, with a warning that names it."""
    added = index("add", "ml", "layers=ml,pytorch", "merge=torch*")

    assert added.stdout.startswith("ml: layers ml pytorch, merge torch*\n")
    why = "'pytorch' is no index of this store, so it has to be the label of an [[upstream.index]]"
    assert why in added.stderr
    assert f"not served: The index 'ml' is wrong: {why}" in index("list").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("add dev colour=red", 2, "is no key of an index"),
        ("add dev name=prod", 2, "Leave name= out"),
        ("rename dev prod", 2, "An index keeps its name"),
        ("rename main prod", 1, "No index of this store is called main"),
    ],
)
def test_what_is_refused(index: Typed, arguments: str, status: int, words: str) -> None:
    """Words that are no keys, and other names, are refused, and nothing is stored."""
    done = index(*arguments.split(" "))

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert json.loads(index("list", "--json").stdout)["indexes"] == [{"name": "main", "index": {}}]
