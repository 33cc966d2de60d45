"""`wheelyard access`: grants and groups in the store, from the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import TABLES, Done, Typed
from tests.clients.harness import Sandbox
from tests.index_tables import put_tables_at

OPEN = "anybody may read the index main all the same"


@pytest.fixture
def access(wheelyard: Typed, settings: Path, sandbox: Sandbox) -> Typed:
    """Type a subcommand of `access`, for an index that has five grants."""
    put_tables_at(sandbox.folder / "there", TABLES, settings)

    def run(*arguments: str) -> Done:
        return wheelyard("access", *arguments, "--config", settings, "--store", "there")

    return run


def test_a_team_gets_and_loses_rights(access: Typed, wheelyard: Typed) -> None:
    """A team gets rights to projects, and loses them, and each change has its line."""
    assert access("group", "set", "team", "htpasswd:ml-ci", "user:Bo@acme.dev").returncode == 0
    granted = access("grant", "group:team", "--project", "ml-*", "--can", "upload", "--note", "why")
    grant_id = granted.stdout.strip()
    scope = "read and upload to ml-* in the index main (why)"
    who = f"grant {grant_id}: group:team may {scope}; user:bo@acme.dev is in"
    assert who in access("explain", "user:bo@acme.dev", "ml-core", "upload").stdout
    assert f"Grant {grant_id}: group:team may" in granted.stderr

    shown = access("show").stdout.splitlines()
    assert shown[0].endswith(
        " by local:test): domain:acme.dev may read acme-* in the index main (everyone employed)"
    )
    assert shown[-2].startswith(f"grant {grant_id} (20")
    assert shown[-1] == "group team: htpasswd:ml-ci, user:bo@acme.dev"
    listed = json.loads(access("show", "--json").stdout)
    assert (listed["grants"][-1]["id"], listed["grants"][-1]["note"]) == (grant_id, "why")

    assert access("group", "add", "team", "user:ana@acme.dev").returncode == 0
    assert access("group", "remove", "team", "user:bo@acme.dev").returncode == 0
    assert access("explain", "user:bo@acme.dev", "ml-core", "upload").returncode == 1
    assert access("revoke", grant_id).stdout == f"{grant_id}: revoked\n"
    assert access("group", "delete", "team", "--note", "it is over").returncode == 0
    history = [line.split("\t") for line in access("show", "--history").stdout.splitlines()]
    assert [line[2] for line in history[-2:]] == [
        f"revoked {grant_id}",
        "group team: deleted (it is over)",
    ]
    assert all(line[1].startswith("local:") for line in history)
    changes = json.loads(access("show", "--history", "--json").stdout)["changes"]
    assert [change["what"] for change in changes[-2:]] == ["revoked", "group-deleted"]
    journal = wheelyard("journal", "--store", "there").stdout.splitlines()
    assert [line.split("\t")[1:3] for line in journal[-2:]] == [
        ["-", "revoked"],
        ["-", "group-deleted"],
    ]
    assert journal[-1].endswith("\tcommand line\tgroup team: deleted (it is over)")
    entries = wheelyard("journal", "--store", "there", "--by", "nobody", "--json")
    assert (entries.returncode, entries.stdout) == (0, "")


def test_who_grants_rights_is_told_what_everybody_has(wheelyard: Typed, tmp_path: Path) -> None:
    """Who grants rights is told while everybody has more by the defaults."""
    users, store = tmp_path / "users", ("--store", str(tmp_path / "store"))
    users.write_text("")
    assert wheelyard("token", "create", "ci", *store).returncode == 0
    grant = ("access", "grant", "htpasswd:a", "--project", "*", "--can", "upload", *store)
    closed = {
        "WHEELYARD_ACCESS_PRIVATE": "true",
        "WHEELYARD_ACCESS_HTPASSWD_FILE": str(users),
    }

    done = wheelyard(*grant)
    assert OPEN in done.stderr
    done = wheelyard(*grant, **closed)
    assert OPEN not in done.stderr
    warning = "every name in access.htpasswd_file may read and upload to every project in the index"
    assert warning in done.stderr
    closed |= {"WHEELYARD_TOML": "[access]\nhtpasswd_may = []"}
    assert warning not in wheelyard(*grant, **closed).stderr


@pytest.mark.integration
def test_an_error_of_the_store_is_no_answer(access: Typed, wheelyard: Typed) -> None:
    """Where the store cannot be asked for its grants, there is an error and no answer."""
    access("grant", "user:bo@else.dev", "--project", "*", "--can", "read")
    asked = ("access", "explain", "user:bo@else.dev", "acme-core", "read")

    assert wheelyard(*asked, "--store", "there").returncode == 0
    done = wheelyard(*asked, "--store", "gs://nowhere", WHEELYARD_ACCESS_PRIVATE="true")
    assert done.returncode == 1
    assert not done.stdout
