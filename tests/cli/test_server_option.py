"""`--server`: the commands do to a server what they do to its store, in the same words."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Typed
from tests.clients.harness import Sandbox
from tests.distributions import Distribution, make_sdist, make_wheel
from tests.http.servers import RunningServer, running_server
from tests.ports import free_port
from tests.upstream.pylock import HEAD, locked
from wheelyard.api.remote_api import RemoteApi
from wheelyard.api_client import ApiConnection, ServerCredential, parse_server
from wheelyard.operations.journal_reader import RESTORED, JournalReader
from wheelyard.wiring.stores import system_runtime

pytestmark = pytest.mark.integration

ADMIN = "a-static-token-of-many-characters"
CONFIG = """
[access]
private = true
static_tokens_file = "tokens.toml"
"""
TABLES = """
[[grant]]
who = ["static:root"]
projects = ["*"]
actions = ["admin"]

[[grant]]
who = ["user:ana@acme.dev"]
projects = ["acme-*"]
actions = ["upload"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A private server with an administrator, whose token is `ADMIN`."""
    folder = tmp_path_factory.mktemp("managed")
    tokens = folder / "tokens.toml"
    tokens.write_text(f'[[token]]\nname = "root"\nvalue = "{ADMIN}"\nprojects = ["*"]\n')
    tokens.chmod(0o600)
    with running_server(folder, config=CONFIG, tables=TABLES) as server:
        yield server


@pytest.fixture
def remote(wheelyard: Typed, server: RunningServer) -> Typed:
    """Type a command with `--server`, as the administrator."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        named = {"WHEELYARD_TOKEN": ADMIN, "WHEELYARD_STORE": "/nowhere"} | environment
        return wheelyard(*arguments, "--server", server.url, **named)

    return run


@pytest.fixture
def local(wheelyard: Typed, server: RunningServer) -> Typed:
    """Type the same command with `--store`, on the machine of the server."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        places = ("--store", server.store, "--config", server.folder / "wheelyard.toml")
        return wheelyard(*arguments, *places, **environment)

    return run


def put(folder: Path, *packages: Distribution) -> list[Path]:
    """Write distributions into a folder."""
    for package in packages:
        (folder / package.filename).write_bytes(package.body)
    return [folder / package.filename for package in packages]


def printed(done: Done) -> tuple[str, str, str]:
    """Return what a command left, without digests, tokens, their ids, times, who asked and whom."""
    secret = re.compile(
        r"[0-9a-f]{64}|\d{4}-\d\d-\d\d \d\d:\d\d|wyd_\w+|\b\w{10}(?=,|\t|:)|local:\w+|static:root"
        r"|(?: --(?:server|store|config) [^' ]+)+"
    )
    out, errors = (secret.sub("***", each) for each in (done.stdout, done.stderr))
    return str(done.returncode), out, errors


def test_a_release_is_uploaded_as_on_the_server(
    remote: Typed, local: Typed, sandbox: Sandbox
) -> None:
    """A release is uploaded, told and refused as on the machine of the server."""
    for name in ("demo", "twin"):
        put(
            sandbox.folder,
            *(make_wheel(name, version) for version in ("1.0", "1.1", "1.2")),
            make_sdist(name),
        )
        (sandbox.folder / f"{name}-1.3.tar.gz").write_bytes(b"no archive")
    for line in (
        *("upload {}-*", "upload {}-* --json", "upload missing.whl", "list {}"),
        *("delete {} 1.2 --yes", "upload {}-1.2*", "list {}"),
    ):
        done = printed(remote(*line.replace("{}", "demo").split()))
        expected = printed(local(*line.replace("{}", "twin").split()))
        assert done == tuple(each.replace("twin", "demo") for each in expected), line


def test_a_lock_file_is_approved_from_anywhere(
    remote: Typed, local: Typed, server: RunningServer, sandbox: Sandbox
) -> None:
    """A lock file is approved with `--server` as with the store of the server."""
    for name in ("lock", "twin"):
        # larger than the body of other changes
        digests = [f"{number:064x}" for number in range(1000)]
        packages = locked(f"{name}-a", "1.0", *digests) + locked(f"{name}-b", "2", *digests)
        (sandbox.folder / f"{name}.toml").write_text(HEAD + packages)
    for line in (
        *("upstream block {}-b --reason broken", "upstream approve -r {}.toml --dry-run"),
        *("upstream approve -r {}.toml --reason ok", "upstream approve -r {}.toml"),
        *("upstream approve -r {}.toml --unblock", "upstream approve -r missing.toml"),
    ):
        done = printed(remote(*line.replace("{}", "lock").split()))
        expected = printed(local(*line.replace("{}", "twin").split()))
        assert done == tuple(each.replace("twin", "lock") for each in expected), line
    approve = ("upstream", "approve", "-r", "lock.toml")
    refused = remote(*approve, WHEELYARD_TOKEN=server.token)
    assert (refused.returncode, "may not" in refused.stderr) == (1, True)


def test_projects_and_files_are_listed(remote: Typed, local: Typed, sandbox: Sandbox) -> None:
    """Projects and files are listed with all that is known of them, imported ones too."""
    (path,) = put(sandbox.folder, make_wheel("old", "1.0", "Summary: An old one"))
    os.utime(path, (1_500_000_000, 1_500_000_000))
    assert local("import", path.parent).returncode == 0
    assert local("yank", "old", "1.0").returncode == 0
    assert local("upload", *put(sandbox.folder, make_wheel("old", "1.1"))).returncode == 0
    assert local("status", "old", "deprecated", "--reason", "too old").returncode == 0

    for arguments in ([], ["--json"], ["old"], ["old", "--json"], ["no/name"]):
        done = remote("list", *arguments)
        assert printed(done) == printed(local("list", *arguments)), arguments
    assert '"imported_at"' in remote("list", "old", "--json").stdout


def test_the_server_counts_downloads(
    remote: Typed, local: Typed, sandbox: Sandbox, server: RunningServer
) -> None:
    """With `--server`, downloads are printed at once that the server has not written yet."""
    package = make_wheel("counted")
    uploaded = remote("upload", *put(sandbox.folder, package), WHEELYARD_TOKEN=server.token)
    path = f"/files/counted/{package.sha256}/{package.filename}"
    agent = {"user-agent": "pip/26.3 {}", "authorization": f"Bearer {ADMIN}"}
    assert server.client.get(path, headers=agent).status_code == 200

    counts = [done("downloads", "counted", "--days", "2").stdout for done in (remote, local)]

    assert uploaded.returncode == 0
    assert "1.0\t1 download\tlast " in counts[0]
    assert "\t0 downloads" in counts[1]


def test_the_journal_is_the_same(
    remote: Typed, local: Typed, sandbox: Sandbox, server: RunningServer
) -> None:
    """`journal --server` prints what the store has, within the rights of the credential."""
    paths = put(sandbox.folder, *(make_wheel("diary", f"1.{number}") for number in range(3)))
    assert remote("upload", *paths, WHEELYARD_TOKEN=server.token).returncode == 0
    assert remote("yank", "diary", "1.0", "--reason", "bad").returncode == 0
    assert remote("access", "group", "set", "diarists").returncode == 0
    for arguments in (
        *(["diary"], ["diary", "--json"], [], ["--since", "90m"], ["--since", "2099-01-01"]),
        *(["--by", "static:root"], ["--by", "test"]),
    ):
        assert printed(remote("journal", *arguments)) == printed(local("journal", *arguments))
    assert "There is no project 'nothing' here" in remote("journal", "nothing").stderr
    assert "diarists" in remote("journal").stdout
    assert remote("upstream", "block", "taken-over", "2.0").returncode == 0
    for arguments in ([], ["taken-over"]):
        assert "blocked taken-over 2.0\n" in remote("journal", *arguments).stdout
    own = remote("journal", WHEELYARD_TOKEN=server.token)
    assert (own.returncode, "diarists" in own.stdout, "diary" in own.stdout) == (0, False, True)


def test_administrators_manage_tokens(remote: Typed, local: Typed, server: RunningServer) -> None:
    """An administrator makes tokens for others, lists all of them, and revokes any."""
    create = ["token", "create", "ci", "--can", "manage", "--project", "demo", "--expires", "8w"]
    created = [
        each(*create, *owner)
        for owner in ([], ["--owner", "user:ana@acme.dev"])
        for each in (remote, local)
    ]
    assert printed(created[0]) == printed(created[1])
    assert printed(created[2]) == printed(created[3])
    hours = remote("token", "create", "short", "--expires", "36h")
    assert hours.returncode == 0

    rotate = ["token", "rotate", created[0].stdout[4:14], "--overlap", "30m"]
    rotated = remote(*rotate)
    assert rotated.returncode == 0
    assert re.search(
        r"ends .* UTC; instead of it:\nToken \w{10}, read,upload,manage", rotated.stderr
    )
    tokens = json.loads(remote("token", "list", "--json").stdout)["tokens"]
    made, until = (
        {token["id"]: datetime.fromisoformat(token[name]) for token in tokens}
        for name in ("created", "expires")
    )
    # rounded, as each of the times is of a moment of its own
    lifetime = until[hours.stdout[4:14]] - made[hours.stdout[4:14]]
    assert round(lifetime / timedelta(hours=1)) == 36
    assert until[created[3].stdout[4:14]] - made[created[3].stdout[4:14]] == timedelta(weeks=8)
    overlap = until[rotate[2]] - made[rotated.stdout[4:14]]
    assert round(overlap / timedelta(minutes=1)) == 30
    assert "was rotated already" in remote(*rotate).stderr
    assert "tokens are called 'ci'" in remote("token", "rotate", "ci").stderr
    short = remote("token", "rotate", "short", "--overlap", "0")
    assert f"{hours.stdout[4:14]} is revoked; instead of it:" in short.stderr

    for arguments in (["token", "list"], ["token", "list", "--json"]):
        assert remote(*arguments).stdout == local(*arguments).stdout
    ids = [distribution.stdout[4:14] for distribution in created]
    revoked = remote("token", "revoke", ids[0], created[1].stdout.strip())
    assert revoked.stdout == f"{ids[0]}: revoked\n{ids[1]}: revoked\n"
    assert local("token", "list").stdout.count("\trevoked\t") == 3
    for nobody in ("nobody", "0123456789"):
        unknown = printed(remote("token", "revoke", nobody))
        assert unknown == printed(local("token", "revoke", nobody))
    limited = "read,upload,manage on demo in the index main, limited to what user:ana@acme.dev may"
    assert f"{limited}, until" in created[2].stderr
    assert local("token", "list").stdout.count(f"\tci\t{limited}\t") == 2
    assert ADMIN not in server.log


def test_a_token_of_an_administrator_may_do_the_same(remote: Typed, local: Typed) -> None:
    """An API token with `admin` administers tokens and rights, and is for every project."""
    admin = local("token", "create", "admin", "--can", "admin").stdout.strip()
    listed = remote("token", "list", WHEELYARD_TOKEN=admin)
    assert listed.stdout.count("\n") == local("token", "list").stdout.count("\n")
    assert f"{admin[4:14]}\tadmin\tread,upload,manage,approve,admin on *" in listed.stdout

    changed = remote("access", "group", "set", "admins", WHEELYARD_TOKEN=admin)
    assert changed.returncode == 0
    journal = remote("journal", "--by", "admin").stdout
    assert f"\ttoken:{admin[4:14]} (admin)\tAPI token\tgroup admins: " in journal
    assert journal == local("journal", "--by", "admin").stdout
    grant = ("access", "grant", "group:admins", "--project", "acme-*", "--can", "read")
    assert remote(*grant, WHEELYARD_TOKEN=admin).returncode == 0
    for arguments in ([], ["--history"]):
        shown = remote("access", "show", *arguments).stdout
        assert f"token:{admin[4:14]} (admin)" in shown
        assert shown == local("access", "show", *arguments).stdout

    for run in (remote, local):
        done = run("token", "create", "less", "--can", "admin", "--project", "acme-*")
        assert (done.returncode, "is for every project" in done.stderr) == (1, True)


def test_what_owns_no_token_makes_one_of_nobody(server: RunningServer) -> None:
    """A token that a static token makes has no owner by default."""
    created = server.client.post(
        "/api/v1/tokens", json={"name": "x", "projects": ["*"]}, auth=("root", ADMIN)
    )

    assert (created.status_code, created.json()["owner"]) == (201, None)


def test_a_name_of_nobody_is_not_released(remote: Typed, local: Typed) -> None:
    """A name that nobody of a provider has is not released, in the same words from anywhere."""
    there, here = (run("people", "release-name", "acme", "ana@acme.dev") for run in (remote, local))

    assert printed(there) == printed(here)
    assert "Nobody of 'acme' has the name" in there.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["access", "show"], "This token may not see or change rights."),
        (["yank", "demo", "1.0"], "This token may not manage 'demo'."),
        (["token", "create", "more"], "Only an administrator, or a person who has signed in"),
        (["list", "demo"], "There is no project 'demo' here, or your credential may not read it."),
        (["upload", "demo-1.0.tar.gz"], "This token may not upload."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_token_without_rights_is_told_what_it_lacks(
    remote: Typed, server: RunningServer, sandbox: Sandbox, arguments: list[str], words: str
) -> None:
    """A command whose token lacks a right is told which one."""
    (sandbox.folder / "demo-1.0.tar.gz").write_bytes(b"no archive")

    done = remote(*arguments, WHEELYARD_TOKEN=server.make_token("other", can="read"))

    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "wyd_" not in done.stderr


def test_a_token_that_is_refused(remote: Typed, sandbox: Sandbox) -> None:
    """An upload of many files with a wrong token says so once, and sends no more of them."""
    paths = put(sandbox.folder, *(make_wheel("many", f"1.{number}") for number in range(9)))

    done = remote("upload", *paths, WHEELYARD_TOKEN="wyd_wrong")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "does not accept the credential of WHEELYARD_TOKEN" in done.stderr


def test_a_server_that_is_gone(wheelyard: Typed, sandbox: Sandbox) -> None:
    """An upload of many files to a server that does not run says so once."""
    paths = put(sandbox.folder, *(make_wheel("many", f"1.{number}") for number in range(9)))

    server = f"http://127.0.0.1:{free_port()}"
    done = wheelyard("upload", "--server", server, *paths, WHEELYARD_TOKEN=ADMIN)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "whether the server runs" in done.stderr


def test_a_settings_file(remote: Typed, sandbox: Sandbox) -> None:
    """`--server` wins over a settings file, even over one that is wrong."""
    (sandbox.folder / "wheelyard.toml").write_text("nonsense")

    assert remote("list").returncode == 0


def test_following_a_server_that_is_restored(
    local: Typed, sandbox: Sandbox, server: RunningServer
) -> None:
    """What is published after a restore to a point in time is followed, and the restore is told."""
    packages = [make_wheel("restored", version) for version in ("1.0", "1.1", "1.2", "2.0")]
    *first, later = put(sandbox.folder, *packages)
    for path in first:
        local("upload", path)
    credential = ServerCredential(f"Bearer {ADMIN}", "a test")
    connection = ApiConnection(parse_server(server.url), credential, system_runtime())
    with closing(connection):
        journal = JournalReader(RemoteApi(connection).journals(None))
        journal.read(lambda *_: None)
        for number in (2, 3):
            (server.store / f"journal/restored/{number:010}.json").unlink()
        for name in ("projects/restored.json", "changes.json"):
            (server.store / name).unlink()
        assert local("check", "--rebuild").returncode == 0
        assert local("upload", later).returncode == 0

        part = journal.read(lambda *_: None)

    assert [(entry.project, entry.files) for entry in part.entries] == [("restored", (later.name,))]
    assert part.problems == [RESTORED]


def test_health_and_settings_are_told(remote: Typed, local: Typed, server: RunningServer) -> None:
    """`health` and `config show` tell the state and the settings of a server and of a store."""
    told = remote("health")
    assert told.returncode == 0
    assert re.search(r"^ok\tstore\t.* answers\.$", told.stdout, re.MULTILINE)
    assert "\nok\tqueues\t" in told.stdout
    parts = json.loads(local("health", "--json").stdout)["parts"]
    assert [part["name"] for part in parts if part["state"] == "ok"][:2] == ["server", "store"]

    settings = remote("config", "show").stdout
    assert re.search(r"^server\.port\t\d+\tan option$", settings, re.MULTILINE)
    assert "access.metrics_token" not in settings
    everything = remote("config", "show", "--all").stdout
    assert 'access.metrics_token\t""\tdefault\n' in everything
    assert (
        f"store.location\t{json.dumps(str(server.store))}\tan option\n"
        in local("config", "show").stdout
    )


def test_an_index_of_a_server(remote: Typed, sandbox: Sandbox, server: RunningServer) -> None:
    """`--index` is about the index of that name of the server, which has rights of its own."""
    added = remote("index", "add", "dev")
    assert added.stdout.startswith("dev: its own packages\n"), added.stderr
    (package,) = put(sandbox.folder, make_wheel("indexed", "1.0"))

    uploaded = remote("upload", package, "--index", "dev")

    assert uploaded.stdout.endswith("uploaded\n"), uploaded.stderr
    assert remote("list", "indexed", "--index", "dev").returncode == 0
    assert remote("list", "indexed").returncode == 1
    assert "uploaded" in remote("journal", "indexed", "--index", "dev").stdout
    promoted = remote("promote", "indexed", "1.0", "--from", "dev", "--to", "main")
    assert "promoted to main" in promoted.stdout
    assert remote("delete", "indexed", "1.0", "--yes").returncode == 0
    settings = remote("print-settings", "pip", "--index", "dev").stdout
    assert "/dev/simple/" in settings
    assert remote("list", "indexed", "--index", "a/b").returncode == 1
    for line in (("list",), ("upload", package), ("status", "indexed", "active")):
        unknown = remote(*line, "--index", "nope")
        assert f"'wheelyard index list --server {server.url}'" in unknown.stderr


def test_what_helps_against_a_warning_of_a_server(remote: Typed, server: RunningServer) -> None:
    """A warning that a server sends names the command with the option for that server."""
    remote("access", "group", "set", "empty")

    granted = remote("access", "grant", "group:empty", "--project", "x", "--can", "read")

    (warning,) = [line for line in granted.stderr.splitlines() if "no members" in line]
    command = f"wheelyard access group add empty PRINCIPAL... --server {server.url}"
    assert warning.endswith(f"which has no members. Add some: '{command}'.")
