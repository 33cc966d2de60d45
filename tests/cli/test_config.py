"""The output of `wheelyard config check`."""

import hashlib
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import SETTINGS, STATIC, WEAK, Done, Typed
from tests.clients.harness import Sandbox
from tests.clients.tls import Authority
from tests.fake_gcs.server import running_fake_gcs
from tests.index_tables import put_tables_at, toml_of
from tests.storage.gcs.opened import EMULATOR

pytestmark = pytest.mark.integration  # the address is tried

Configured = Callable[..., Done]
LABELLED = '[[upstream.index]]\nlabel = "qa"\nurl = "https://qa.example/simple/"\n'


@pytest.fixture
def check(wheelyard: Typed, settings: Path) -> Configured:
    """Check the settings, after a change to them if there is any."""

    def run(more: str = "", text: str = SETTINGS) -> Done:
        settings.write_text(text + more)
        return wheelyard("config", "check", "--config", settings)

    return run


def test_warnings_are_no_failure(check: Configured, settings_with_grants: Path) -> None:
    """Warnings go to standard error, and are no failure."""
    (settings_with_grants.parent / "tokens.toml").chmod(0o644)

    done = check('\n[server]\nhost = "0.0.0.0"\n')

    assert done.returncode == 0
    for words in (
        "tokens.toml: every user of this machine may read it",
        "the hash on line 1 is SHA-1",
        " is for allAuthenticated, which is every Google account",
        "credentials may come over plain HTTP",
    ):
        assert words in done.stderr
    assert all(line.startswith("wheelyard: warning: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("name", ["users", "tokens.toml"])
def test_missing_file_fails_the_check(check: Configured, settings: Path, name: str) -> None:
    """Where a file of passwords or tokens is not there, the check fails, as a start would."""
    (settings.parent / name).unlink()

    done = check()

    assert (done.returncode, done.stdout) == (1, "")
    assert f"{name} cannot be read" in done.stderr


def test_no_secret_is_shown(check: Configured) -> None:
    """Neither a password's hash nor a token is ever shown."""
    done = check()

    for secret in (WEAK, STATIC, hashlib.sha256(STATIC.encode()).hexdigest()):
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("users", "ana", "users: Line 1 has no colon"),
        ("users", f"ana:{WEAK}\nana:{WEAK}", "users: Line 2 has a name that is there"),
        ("tokens.toml", "[[token]]", "tokens.toml: [[token]] number 1: name: is missing"),
        ("wheelyard.toml", '[[grant]]\nwho = ["ana"]', "has grant: the store keeps what describes"),
    ],
)
def test_a_senseless_file_is_a_failure_in_one_line(
    wheelyard: Typed, settings: Path, name: str, content: str, words: str
) -> None:
    """A file that makes no sense is a failure, told in one line with its place."""
    (settings.parent / name).write_text(content)

    done = wheelyard("config", "check", "--config", settings)

    assert done.returncode == 1
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert WEAK not in done.stderr


@pytest.mark.parametrize("store", ["a-file", "a-file/packages"])
def test_a_store_that_cannot_be_opened_fails_the_check(
    wheelyard: Typed, sandbox: Sandbox, store: str
) -> None:
    """A store that no server could open or make is a failure before one starts."""
    (sandbox.folder / "a-file").touch()

    done = wheelyard("config", "check", "--store", store)

    assert done.returncode == 1
    assert f"{store} cannot be a store: Not a directory" in done.stderr


def _damage(store: Path) -> None:
    (store / "wheelyard.json").write_text("{")


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        ("read_only = true", shutil.rmtree, "There is no store at packages"),
        ('host = "203.0.113.9"', None, "Cannot listen on 203.0.113.9"),
        ('host = "no.such.host.invalid"', None, "Cannot listen on no.such.host.invalid"),
        ("", _damage, "wheelyard.json of this store is damaged"),
    ],
)
def test_what_stops_a_server_fails_the_check(
    wheelyard: Typed,
    start: Typed,
    sandbox: Sandbox,
    text: str,
    change: Callable[[Path], object] | None,
    words: str,
) -> None:
    """An address or a store with which no server starts is a failure, with the same message."""
    assert wheelyard("token", "create", "ci", "--store", "packages").returncode == 0
    if change is not None:
        change(sandbox.folder / "packages")
    (sandbox.folder / "wheelyard.toml").write_text(f"[server]\n{text}\n")

    done = wheelyard("config", "check", "--store", "packages")

    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert words in start("serve", "--store", "packages").stderr


def test_a_port_in_use_is_no_failure(wheelyard: Typed) -> None:
    """A port in use is no failure, as the server of the settings may run."""
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        done = wheelyard("config", "check", PORT=str(port))

    assert done.returncode == 0
    assert f"port {port}: in use now" in done.stdout


def test_a_bucket_without_a_store_is_no_failure(wheelyard: Typed, sandbox: Sandbox) -> None:
    """An empty bucket is no failure of the check, unless the server only reads."""
    with running_fake_gcs("packages") as google:
        place = {EMULATOR: google.url}
        assert wheelyard("config", "check", "--store", "gs://packages", **place).returncode == 0
        (sandbox.folder / "wheelyard.toml").write_text("[server]\nread_only = true\n")
        done = wheelyard("config", "check", "--store", "gs://packages", **place)

    assert (done.returncode, "There is no store at gs://packages" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[server]\nroots = ["qa"]', "'qa' is the name of an index in the store"),
        (LABELLED, "'qa' is the name of an index, and nobody could tell which"),
    ],
)
def test_indexes_with_which_no_server_starts_fail_the_check(
    wheelyard: Typed, sandbox: Sandbox, text: str, words: str
) -> None:
    """An index with which no server starts fails the check."""
    place = ("--store", "packages")
    for line in (["token", "create", "ci"], ["index", "add", "qa"]):
        assert wheelyard(*line, *place).returncode == 0
    (sandbox.folder / "wheelyard.toml").write_text(text)

    done = wheelyard("config", "check", *place)

    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_indexes_are_listed_and_names_of_no_index_are_warnings(
    wheelyard: Typed, sandbox: Sandbox
) -> None:
    """The check lists each index with its layers, and warns of names of no index."""
    place = ("--store", "packages")
    for line in (["token", "create", "ci"], ["index", "add", "qa"]):
        assert wheelyard(*line, *place).returncode == 0
    prod = {"name": "prod", "layers": ["prod", "qa"], "promote_from": ["qa", "nix"]}
    put_tables_at(
        sandbox.folder / "packages",
        toml_of(
            main={"promote_from": ["nix"]},
            index=(prod,),
            retention=({"index": "nix", "keep_last": 3}, {"index": "qa", "keep_last": 3}),
        ),
    )

    done = wheelyard("config", "check", *place)

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("index ")]
    assert lines == [
        "index main: promote_from nix",
        "index qa: its own packages",
        "index prod: layers prod qa, promote_from qa nix",
    ]
    warned = [line for line in done.stderr.splitlines() if "the index nix, which" in line]
    assert [line.split(" names ")[0].removeprefix("wheelyard: warning: ") for line in warned] == [
        "promote_from of the index main",
        "promote_from of the index prod",
        "retention rule 1",
    ]


@pytest.mark.parametrize("name", ["wheelyard.toml", "users", "."])
def test_files_that_others_change_are_told(wheelyard: Typed, settings: Path, name: str) -> None:
    """Settings and credentials that every user may change, or their folder, are told of."""
    (settings.parent / name).chmod(0o777 if name == "." else 0o602)

    done = wheelyard("config", "check", "--config", settings)

    assert done.returncode == 0
    names = sorted(line.split(": ")[2] for line in _writable(done.stderr))
    reported = ["tokens.toml", "users", "wheelyard.toml"] if name == "." else [name]
    assert names == [str(settings.with_name(message)) for message in reported]


def test_tokens_that_soon_expire_are_reported(wheelyard: Typed, sandbox: Sandbox) -> None:
    """A token that expires within two weeks is a warning with the command; no store is made."""
    place = ("--store", "packages")
    assert wheelyard("config", "check", *place).stderr == ""
    assert not (sandbox.folder / "packages").exists()
    soon, rotated = (
        wheelyard("token", "create", name, "--expires", "10d", *place).stdout[4:14]
        for name in ("soon", "rotated")
    )
    for words in (["create", "later", "--expires", "30d"], ["rotate", "rotated"]):
        assert wheelyard("token", *words, *place).returncode == 0
    assert wheelyard("token", "revoke", _successor(wheelyard, rotated), *place).returncode == 0

    done = wheelyard("config", "check", *place)

    assert done.returncode == 0
    first, last = done.stderr.splitlines()
    assert first.startswith(f"wheelyard: warning: the token {rotated} (rotated) expires ")
    assert last.startswith(f"wheelyard: warning: the token {soon} (soon) expires ")
    assert last.endswith(f"'wheelyard token rotate {soon} --store packages' replaces it")


def _successor(wheelyard: Typed, token_id: str) -> str:
    listed = wheelyard("token", "list", "--store", "packages").stdout
    match = re.search(rf"^{token_id}\t.*\treplaced by (\w+)$", listed, re.MULTILINE)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("apart", ["", "keys"])
@pytest.mark.parametrize("below", ["", "credentials/tokens"])
def test_a_folder_of_tokens_that_others_may_change_is_reported(
    wheelyard: Typed, sandbox: Sandbox, apart: str, below: str
) -> None:
    """Where others may write to the folder of the tokens, wherever that is, it is told of."""
    where = {"WHEELYARD_ACCESS_CREDENTIALS_STORE": apart}
    store = sandbox.folder / (apart or "wheelyard-data")
    assert wheelyard("token", "create", "ci", "--store", "wheelyard-data", **where).returncode == 0
    assert _writable(wheelyard("config", "check", **where).stderr) == []

    (store / below).chmod(0o757)

    (line,) = _writable(wheelyard("config", "check", **where).stderr)
    assert str(store.relative_to(sandbox.folder) / "credentials" / "tokens: ") in line
    assert (f"the folder {store / below};" in line) == (below == "")


def _writable(output: str) -> list[str]:
    return [line for line in output.splitlines() if "every user of this machine" in line]


def test_a_wrong_key_of_tls_stops_check_and_start(start: Typed, sandbox: Sandbox) -> None:
    """The end of a certificate is told; a wrong key stops the check and a start."""
    authority, chain, key = Authority(), sandbox.folder / "chain.pem", sandbox.folder / "key.pem"
    files = {"WHEELYARD_SERVER_CERTIFICATE": str(chain), "WHEELYARD_SERVER_KEY": str(key)}
    for path, content in zip((chain, key), authority.issue(), strict=True):
        path.write_bytes(content)
    assert "TLS: by this server, until " in start("config", "check", **files).stdout

    key.write_bytes(authority.issue()[1])
    for command in (("config", "check"), ("serve", "--store", "new")):
        done = start(*command, **files)
        assert done.returncode == 1
        assert "key.pem: It is not the key of the first certificate in " in done.stderr
    assert not (sandbox.folder / "new").exists()


def test_upstreams_are_checked(check: Configured, settings: Path, start: Typed) -> None:
    """The check prints each upstream index, and fails by a missing file or a wrong value."""
    section = """
        [upstream]
        enabled = true
        private = ["Acme_*", "acme"]
        deny = ["left-pad"]
        offline = true
        bucket = "{}"
        [[upstream.index]]
        label = "team"
        url = "https://packages.example.org/simple/"
        username = "reader"
        allow = ["team-*"]
        [[upstream.index]]
        label = "public"
        url = "https://index.example.com/simple/"
        file_hosts = ["files.example.com"]
    """.format(settings.parent / "kept")

    output = check(section, text="").stdout.splitlines()

    for line in (
        "upstream team: https://packages.example.org/simple/",
        "upstream public: https://index.example.com/simple/",
        f'upstream.deny = ["left-pad"], from {settings}',
    ):
        assert line in output
    assert not (settings.parent / "kept").exists()
    refused = check(section.replace("deny", 'ca_file = "missing.pem"\ndeny'), text="")
    assert (refused.returncode, "ca_file: " in refused.stderr) == (1, True)
    for line, word in (
        ('osv = "missing"', "upstream.osv: "),
        ('blocked_licenses = ["x"]', "SPDX"),
    ):
        refused = check(section.replace("deny", f"{line}\ndeny"), text="")
        assert (refused.returncode, word in refused.stderr) == (1, True)
    settings.write_text(section)
    served = start("serve", "--config", settings, WHEELYARD_UPSTREAM_OSV="missing")
    assert (served.returncode, "upstream.osv: " in served.stderr) == (1, True)
