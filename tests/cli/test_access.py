"""`wheelyard access`: grants and groups in the store, from the command line."""

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
