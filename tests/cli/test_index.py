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


def test_an_index_comes_changes_and_goes(index: Typed, wheelyard: Typed) -> None:
    """An index is made, changed key by key and removed, and the journal has it all."""
    assert index("add", "dev").stdout.startswith("dev: its own packages\n")
    added = index("add", "prod", "layers=prod,dev,main", "merge=acme-*", "--note", "TEAM-1")
    assert added.stdout.startswith("prod: layers prod dev main, merge acme-*\n")
    changed = index("change", "prod", "merge=", "index_size=0")
    assert changed.stdout == "prod: layers prod dev main, index_size 0\n"
    listed = json.loads(index("list", "--json").stdout)["indexes"]
    assert [row["index"] for row in listed] == [
        {},
        {"name": "dev"},
        {"name": "prod", "layers": ["prod", "dev", "main"], "index_size": 0},
    ]
    assert index("list").stdout.startswith("main\tno keys\t\ndev\tits own packages\t20")
    assert "warning: promote_from" in index("change", "prod", "promote_from=nope").stderr
    assert "\twarning: promote_from" in index("list").stdout
    assert index("change", "prod", "promote_from=").stderr == ""
    assert "is a layer of the index 'prod'" in index("remove", "dev").stderr

    assert index("remove", "prod", "dev").stdout == "prod: removed\ndev: removed\n"

    history = [line.split("\t")[2] for line in index("history").stdout.splitlines()]
    assert [line.partition(",")[0] for line in history] == [
        "index dev: made",
        "index prod: made",
        *("index prod: changed", "index prod: changed", "index prod: changed"),
        "index prod: removed",
        "index dev: removed",
    ]
    journal = wheelyard("journal", "--store", "there").stdout.splitlines()
    assert journal[-1].endswith("index dev: removed")


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
        ("add dev layers", 2, "is no KEY=VALUE"),
        ("add dev name=prod", 2, "Leave name= out"),
        ("rename dev prod", 2, "An index keeps its name"),
        ("rename main prod", 1, "No index of this store is called main"),
        ("add dev layers=upstream", 1, "needs an [upstream]"),
    ],
)
def test_what_is_refused(index: Typed, arguments: str, status: int, words: str) -> None:
    """What makes no index is refused with the reason, and nothing is stored."""
    done = index(*arguments.split(" "))

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert json.loads(index("list", "--json").stdout)["indexes"] == [{"name": "main", "index": {}}]
