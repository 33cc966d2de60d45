"""`wheelyard apply`, `wheelyard show` and `wheelyard serve --apply`, as people type them."""

import re
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Done, Serve, Typed
from tests.clients.harness import Sandbox
from tests.plain_http import LOCALLY
from tests.waiting import until

INDEX = """
[server]
port = 8080

[[index]]
name = "dev"
read = "anyone"

[groups]
team = ["user:ana@acme.dev"]

[[grant]]
who = ["group:team"]
projects = ["acme-*"]
actions = ["upload"]
index = "dev"
"""
MADE = """\
index.toml: 3 changes made
  + index dev: read anyone
  + group team: user:ana@acme.dev
"""
OPENED = "  ! anonymous readers of dev: nothing -> everything\n"


@pytest.fixture
def file(sandbox: Sandbox) -> Path:
    """A file that describes an index."""
    path = sandbox.folder / "index.toml"
    path.write_text(INDEX)
    return path


@pytest.fixture
def apply(wheelyard: Typed, file: Path) -> Typed:
    """Type `apply` of that file, for a store."""

    def run(*options: str | Path) -> Done:
        return wheelyard("apply", file, *options, "--store", "there")

    return run


def test_a_file_makes_a_store_and_its_index(apply: Typed, wheelyard: Typed, file: Path) -> None:
    """One file makes a new store with its indexes and rights, and `show` prints it again."""
    done = apply()
    assert done.stdout.startswith(MADE)
    assert done.stdout.endswith(OPENED)
    assert "made a new store at there" in done.stderr
    assert apply().stdout == "index.toml: nothing to change\n"
    assert wheelyard("index", "change", "dev", "read=granted", "--store", "there").returncode == 0
    passed_over = (
        r"index\.toml: applied \S+ \S+ by local:\S+, and not done again without --again; 1"
    )
    assert re.match(f"{passed_over} change since then would be taken back\n", apply().stdout)
    assert apply("--again").stdout.startswith("index.toml: 1 change made\n")

    shown = wheelyard("show", "--toml", "--store", "there").stdout
    file.write_text(shown)
    assert apply("--source", "other").stdout == "other: nothing to change\n"
    assert 'name = "dev"\nread = "anyone"\n' in shown
    assert "port" not in shown


@pytest.mark.integration
def test_a_file_of_a_server_is_told_to_a_server(
    serve: Serve, wheelyard: Typed, file: Path, sandbox: Sandbox
) -> None:
    """An administrator applies a file through a running server, which serves it at once."""
    serving = serve("--store", str(sandbox.folder / "there"))
    created = wheelyard("token", "create", "a", "--can", "admin", "--store", "there")
    url = f"http://127.0.0.1:{serving.port}"
    admin = {"WHEELYARD_TOKEN": created.stdout.strip()}

    done = wheelyard("apply", file, "--server", url, **admin)
    assert done.stdout.startswith(MADE), done.stderr
    assert httpx2.get(f"{url}/dev/simple/", **LOCALLY).status_code == 200
    assert 'name = "dev"' in wheelyard("show", "--server", url, **admin).stdout

    reader = wheelyard("token", "create", "b", "--store", "there").stdout.strip()
    refused = wheelyard("apply", file, "--server", url, WHEELYARD_TOKEN=reader)
    assert refused.returncode == 1
    assert "administrator" in refused.stderr


def test_a_wrong_file_is_one_sentence(apply: Typed, file: Path, sandbox: Sandbox) -> None:
    """An unknown key, a file that is none, and a missing one change nothing, each in a sentence."""
    apply()
    store = sandbox.folder / "there"
    before = {path: path.read_bytes() for path in store.rglob("*.json")}
    for text, why in (
        (INDEX.replace("read =", "raed ="), "[[index]] number 1: raed: there is no such key"),
        ("[indexes]", "There is no table 'indexes'"),
        ("a b", "cannot be read: "),
    ):
        file.write_text(text)
        refused = apply()
        assert refused.returncode == 1
        assert why in refused.stderr
        assert refused.stderr.count("\n") == 1
    file.unlink()
    assert "cannot be read: No such file" in apply().stderr
    assert {path: path.read_bytes() for path in store.rglob("*.json")} == before


@pytest.mark.integration
def test_a_server_applies_its_file_once(
    serve: Serve, wheelyard: Typed, file: Path, sandbox: Sandbox
) -> None:
    """A server starts with a file, and the next start gives back nothing that was revoked."""
    store = str(sandbox.folder / "there")
    serving = serve("--store", store, "--apply", str(file))
    url = f"http://127.0.0.1:{serving.port}/dev/simple/"
    assert MADE in serving.printed.read_text()
    assert httpx2.get(url, **LOCALLY).status_code == 200
    serving.kill()
    wheelyard("index", "change", "dev", "read=granted", "--store", store)

    again = serve("--store", store, "--apply", str(file))
    url = f"http://127.0.0.1:{again.port}/dev/simple/"
    assert httpx2.get(url, **LOCALLY).status_code == 401
    assert "1 difference to what is in force: index dev" in again.log.read_text()
    admin = wheelyard("token", "create", "a", "--can", "admin", "--store", store).stdout.strip()
    place = ("--server", f"http://127.0.0.1:{again.port}")
    health = wheelyard("health", *place, WHEELYARD_TOKEN=admin).stdout
    assert re.search(r"warning\tfile index.toml\tIt was applied last on .* by serve", health)
    token = ("__token__", admin)
    metrics = f"http://127.0.0.1:{again.port}/metrics"
    until(lambda: "apply_differences 1.0" in httpx2.get(metrics, auth=token, **LOCALLY).text)


@pytest.mark.integration
def test_credentials_in_another_place_are_not_guessed(
    serve: Serve, wheelyard: Typed, file: Path, sandbox: Sandbox
) -> None:
    """Where a server keeps its grants elsewhere, a command that was not told so changes nothing."""
    apart = sandbox.folder / "apart"
    config = sandbox.folder / "server.toml"
    config.write_text(f'[access]\ncredentials_store = "{apart}"\n')
    store = str(sandbox.folder / "there")
    serve("--store", store, "--config", str(config)).kill()

    refused = wheelyard("apply", file, "--store", store)
    assert refused.returncode == 1
    assert f"keep grants and publishers in {apart}" in refused.stderr
    done = wheelyard("apply", file, "--store", store, "--config", config)
    assert done.stdout.startswith(MADE)
    assert (apart / "credentials" / "access.json").exists()


@pytest.mark.integration
def test_old_settings_are_checked_and_taken_over(wheelyard: Typed, sandbox: Sandbox) -> None:
    """Beside settings of an earlier version, `config check` says what to do, and that works."""
    old = sandbox.folder / "old.toml"
    old.write_text(f"[web]\nname = 'Acme'\n{INDEX}")
    place = ("--store", "there", "--config", old)

    checked = wheelyard("config", "check", *place)
    assert checked.returncode == 1
    assert "web.name" in checked.stdout
    assert "old.toml has index, groups, grant: the store keeps what describes the index" in (
        checked.stderr
    )
    assert f"apply {old}" in checked.stderr

    assert wheelyard("apply", old, *place).stdout.startswith("old.toml: 3 changes made")
    assert "\ndev\tread anyone" in wheelyard("index", "list", "--store", "there").stdout
