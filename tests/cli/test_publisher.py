"""`wheelyard publisher`: trusted publishers in the store, from the command line."""

import json

import pytest

from tests.cli.conftest import Done, Typed

GITHUB = (
    *("repository=octo-org/octo-repo", "repository_id=456789", "owner_id=123456"),
    *("workflow=release.yml", "environment=release"),
)


@pytest.fixture
def publisher(wheelyard: Typed) -> Typed:
    """Type a subcommand of `publisher`, for a store."""
    assert wheelyard("token", "create", "ci", "--store", "there").returncode == 0

    def run(*arguments: str) -> Done:
        return wheelyard("publisher", *arguments, "--store", "there")

    return run


def test_a_publisher_comes_changes_and_goes(publisher: Typed, wheelyard: Typed) -> None:
    """A publisher is added, changed key by key and removed, and the journal has it all."""
    added = publisher("add", "gh", "github", "projects=mylib", *GITHUB)
    assert added.returncode == 0, added.stderr
    assert "set trusted_publishing.audience" in added.stderr
    match = ("issuer=https://i.example", "match.sub=system:x", "match.is_ci=true")
    other = publisher("add", "oi", "oidc", "projects=batch", *match)
    assert "match sub=system:x is_ci=true" in other.stdout
    changed = publisher("change", "gh", "environment=", "ref=refs/tags/v*", "--note", "by tag")
    assert "environment" not in changed.stdout
    assert "ref refs/tags/v*" in changed.stdout
    listed = json.loads(publisher("list", "--json").stdout)["publishers"]
    assert [row["publisher"].get("match") for row in listed] == [
        None,
        {"sub": "system:x", "is_ci": True},
    ]
    assert [row["note"] for row in listed if "note" in row] == ["by tag"]
    assert publisher("list").stdout.startswith("gh\tprovider github, projects mylib, rep")

    assert publisher("remove", "gh", "oi").stdout == "gh: removed\noi: removed\n"

    history = [line.split("\t")[2] for line in publisher("history").stdout.splitlines()]
    assert [line.partition(",")[0] for line in history[-3:]] == [
        "publisher gh: changed",
        "publisher gh: removed",
        "publisher oi: removed",
    ]
    journal = wheelyard("journal", "--store", "there").stdout.splitlines()
    assert journal[-1].endswith("publisher oi: removed")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("add x svn projects=p", 2, "There is no provider"),
        ("add x github projects=p stream=1", 2, "is no key of github"),
        ("add x github projects=p repository", 2, "is no KEY=VALUE"),
        ("add x github projects=p repository=octo", 1, "expected OWNER/NAME"),
        ("add x github id=y projects=p", 2, "Leave id= out"),
        ("add x github projects=p projects=q", 2, "'projects' is given twice"),
    ],
)
def test_what_is_refused(publisher: Typed, arguments: str, status: int, words: str) -> None:
    """What makes no publisher is refused with the reason, and nothing is stored."""
    done = publisher(*arguments.split(" "))

    assert (done.returncode, words in done.stderr) == (status, True), done.stderr
    assert publisher("list").stdout == ""
