"""`wheelyard publisher`: trusted publishers in the store, from the command line."""

import json

import pytest

from tests.cli.conftest import Done, Typed

MATCH = ("issuer=https://i.example", "match.sub=system:x", "match.is_ci=true")


@pytest.fixture
def publisher(wheelyard: Typed) -> Typed:
    """Type a subcommand of `publisher`, for a store."""
    assert wheelyard("token", "create", "ci", "--store", "there").returncode == 0

    def run(*arguments: str) -> Done:
        return wheelyard("publisher", *arguments, "--store", "there")

    return run


def test_each_claim_is_a_word(publisher: Typed) -> None:
    """Claims of oidc are words of the command, which warns as long as no job gets a token."""
    added = publisher("add", "oi", "oidc", "projects=batch", *MATCH)

    assert "match sub=system:x is_ci=true" in added.stdout
    assert "set trusted_publishing.audience" in added.stderr
    (row,) = json.loads(publisher("list", "--json").stdout)["publishers"]
    assert row["publisher"]["match"] == {"sub": "system:x", "is_ci": True}


def test_several_are_removed_at_once(publisher: Typed) -> None:
    """One command removes all publishers that it names, and has a line for each."""
    for name in ("one", "two"):
        assert publisher("add", name, "oidc", f"projects={name}", *MATCH).returncode == 0

    assert publisher("remove", "one", "two").stdout == "one: removed\ntwo: removed\n"

    assert publisher("list").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("add x svn projects=p", "There is no provider"),
        ("add x github projects=p stream=1", "is no key of github"),
        ("add x github projects=p repository", "is no KEY=VALUE"),
        ("add x github id=y projects=p", "Leave id= out"),
        ("add x github projects=p projects=q", "'projects' is given twice"),
    ],
)
def test_what_is_refused(publisher: Typed, arguments: str, words: str) -> None:
    """Words that are no keys of a publisher are refused with the reason, and nothing is stored."""
    done = publisher(*arguments.split(" "))

    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert publisher("list").stdout == ""
