"""The output and the exit status of each command."""

import json
import os
import re
import socket
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from tests.cli.conftest import WHERE, Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.http_server import WHEELYARD
from wheelyard.cli import progress
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.project import Event, EventKind, Status
from wheelyard.settings.sections import Settings, StoreSettings
from wheelyard.wiring.build import open_index

WHEEL = "acme_core-1.0-py3-none-any.whl"
ODD = os.fsdecode(b"\xff")
"""The argument that a shell passes for an empty text."""
MADE = "wheelyard: made a new store at "
HERE = "There is no store at ./wheelyard-data."


@pytest.fixture
def published_wheel(sandbox: Sandbox, wheelyard: Typed) -> Path:
    """A wheel, published into `./wheelyard-data`."""
    wheel = sandbox.folder / WHEEL
    wheel.write_bytes(make_wheel("acme_core", "1.0").body)
    assert wheelyard("upload", wheel).returncode == 0
    return wheel


def test_upload_leaves_the_file_alone(published_wheel: Path, wheelyard: Typed) -> None:
    """A published file stays where it was, and changing it later changes nothing in the store."""
    published_wheel.write_bytes(b"changed")

    assert wheelyard("check").returncode == 0


@pytest.mark.usefixtures("published_wheel")
def test_a_settings_file_that_others_may_change_is_told(sandbox: Sandbox, wheelyard: Typed) -> None:
    """A command warns of its settings file if every user of this machine may change it."""
    file = sandbox.folder / "wheelyard.toml"
    file.touch(0o600)
    before = wheelyard("list")
    file.chmod(0o602)

    done = wheelyard("list")

    assert (before.stderr, done.stdout) == ("", before.stdout)
    assert done.stderr.startswith("wheelyard: warning: wheelyard.toml: every user of this machine ")


def test_a_bad_file_keeps_none_out(
    published_wheel: Path, sandbox: Sandbox, wheelyard: Typed
) -> None:
    """One bad file does not keep the others out, and the command says so and fails."""
    bad = sandbox.folder / "acme_core-2.0-py3-none-any.whl"
    bad.write_bytes(b"no archive")

    done = wheelyard("upload", bad, sandbox.folder / "missing-1.0.tar.gz", published_wheel)

    assert done.returncode == 1
    assert done.stdout.startswith(WHEEL)
    output = [line.split(":")[1].strip() for line in done.stderr.splitlines()]
    assert output == [bad.name, "missing-1.0.tar.gz"]


def test_upload_says_what_is_new(published_wheel: Path, sandbox: Sandbox, wheelyard: Typed) -> None:
    """`upload` says of each file whether it is new, and of a pattern that nothing matched."""
    (sandbox.folder / "dist").mkdir()
    new = sandbox.folder / "dist" / "acme_core-2.0-py3-none-any.whl"
    new.write_bytes(make_wheel("acme_core", "2.0").body)

    done = wheelyard("upload", published_wheel, "dist/*", "build/*.whl", published_wheel)

    there = f"{WHEEL}  sha256:{sha256(published_wheel.read_bytes()).hexdigest()}  already there"
    added = f"{new.name}  sha256:{sha256(new.read_bytes()).hexdigest()}  uploaded"
    assert done.stdout.splitlines() == [there, added, there]
    assert re.fullmatch(r"wheelyard: build/\*.whl: Nothing matched .*\n", done.stderr)
    assert done.returncode == 1


def test_upload_says_how_much_is_sent(
    sandbox: Sandbox, wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long upload says how much of all files it has sent."""
    monkeypatch.setattr(progress._PrintedProgress, "_interval_seconds", 0.0)  # noqa: SLF001
    for version in ("1.0", "2.0"):
        made = make_wheel("acme_core", version, content=Random(version).randbytes(1_500_000))
        made.write(sandbox.folder)

    done = wheelyard("upload", *sandbox.folder.glob("*.whl"))

    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "wheelyard: upload: 3.0 MB of 3.0 MB"


def test_a_file_of_that_name_is_no_pattern(sandbox: Sandbox, wheelyard: Typed) -> None:
    """A path of a file that could be a pattern is that file, and not what the pattern matches."""
    named, matching = make_wheel(content=b"named"), make_wheel(content=b"matching")
    for folder, wheel in (("dist[1]", named), ("dist1", matching)):
        (sandbox.folder / folder).mkdir()
        wheel.write(sandbox.folder / folder)

    done = wheelyard("upload", f"dist[1]/{named.filename}")

    assert done.stdout == f"{named.filename}  sha256:{named.sha256}  uploaded\n"


def test_upload_prints_json(published_wheel: Path, wheelyard: Typed) -> None:
    """`upload --json` has the facts of each file, and of the refreshed site."""
    done = wheelyard("upload", published_wheel, "x/*.whl", "--json", "--export", "site")

    files = json.loads(done.stdout)["files"]
    digest = sha256(published_wheel.read_bytes()).hexdigest()
    assert files[0] == {
        "path": str(published_wheel),
        "status": "there",
        "filename": WHEEL,
        "sha256": digest,
    }
    assert (files[1]["path"], files[1]["status"], files[1]["error"]) == (
        "x/*.whl",
        "refused",
        "invalid_filename",
    )
    assert json.loads(done.stdout)["export"]["exported"] == 1


@pytest.mark.parametrize(
    "line", ["upload WHEEL", "import .", "export site", "check"], ids=lambda line: line.split()[0]
)
def test_quiet_commands_say_what_went_wrong(
    published_wheel: Path, wheelyard: Typed, line: str
) -> None:
    """With `--quiet` a command says only what went wrong; with `--json` too, its JSON alone."""
    typed = line.replace("WHEEL", published_wheel.name).split()

    quiet = wheelyard(*typed, "--quiet")
    program = wheelyard(*typed, "-q", "--json")

    assert (quiet.returncode, quiet.stdout) == (0, "")
    assert [line for line in quiet.stderr.splitlines() if "warning" not in line] == []
    assert json.loads(program.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["list"],
            ["upload", WHEEL],
            ["delete", "acme-core", "1.0", "--yes"],
            ["status", "acme-core", "active"],
        ),
        *(["check", "--rebuild", "--sweep"], ["token", "create", "ci"], ["token", "list"]),
        *(["import", "."], ["export", "site"]),
    ],
    ids=" ".join,
)
def test_a_store_of_an_older_format_is_refused_by_each_command(
    published_wheel: Path, sandbox: Sandbox, wheelyard: Typed, arguments: list[str]
) -> None:
    """A store of an older format is refused by the server and each command, and left as it was."""
    store = published_wheel.parent / "wheelyard-data"
    (store / "wheelyard.json").write_text('{"format":2}\n')
    before = contents(store)

    done = wheelyard(*arguments, WHEELYARD_STORE=str(store))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "wheelyard: This store has format 2, which no release of wheelyard wrote: make a new "
        "store, and import the folder 'files' of this one into it."
    )
    assert contents(store) == before
    assert not (sandbox.folder / "site").exists()


def test_a_removed_option_says_what_to_do(wheelyard: Typed) -> None:
    """An option that a version has removed is refused by a line that says what to do instead."""
    done = wheelyard("list", "--set", "store.freshness=2")

    assert done.returncode == 2
    assert done.stderr == (
        "wheelyard: --set was removed. Write the setting into wheelyard.toml, or set its variable, "
        "such as WHEELYARD_SERVER_READ_ONLY=true.\n"
    )


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store by its path, but locks."""
    files = (path for path in store.rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {str(path): path.read_bytes() for path in files}


def shown_until(terminal: int, words: str) -> str:
    """Wait until a terminal shows these words; return all that it has shown since the last call."""
    shown = ""
    while words not in shown:
        shown += os.read(terminal, 10_000).decode()
    return shown


@pytest.mark.integration
def test_delete_asks_on_a_terminal(published_wheel: Path, sandbox: Sandbox) -> None:
    """On a terminal, `delete` shows the files, and deletes them only after their name was typed."""
    named = f"{WHEEL}  sha256:{sha256(published_wheel.read_bytes()).hexdigest()}"
    terminal, end = os.openpty()
    for typed, status in (b"acme\n", 1), (b"acme-core\n", 0):
        os.write(terminal, typed)
        done = subprocess.run(
            [*WHEELYARD, "delete", "acme-core", "1.0"],
            cwd=sandbox.folder,
            env=sandbox.environment() | WHERE,
            stdin=end,
            stderr=end,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        asked = shown_until(terminal, "type the name 'acme-core'")
        assert f"acme-core 1.0: would be deleted  {named}" in asked
        assert done.returncode == status
        assert done.stdout == ("" if status else f"acme-core 1.0: deleted  {named}\n")
    os.close(terminal)
    os.close(end)


@pytest.mark.integration
def test_unseen_files_are_not_deleted(
    published_wheel: Path, sandbox: Sandbox, wheelyard: Typed
) -> None:
    """A file that is published while `delete` asks is not deleted, and neither are the others."""
    del published_wheel
    newer = make_wheel("acme_core", "1.1").write(sandbox.folder)
    terminal, end = os.openpty()
    asking = subprocess.Popen(
        [*WHEELYARD, "delete", "acme-core", "--versions", "<2"],
        cwd=sandbox.folder,
        env=sandbox.environment() | WHERE,
        stdin=end,
        stderr=end,
    )
    shown_until(terminal, "type the name")
    assert wheelyard("upload", newer).returncode == 0
    os.write(terminal, b"acme-core\n")

    assert asking.wait() == 1
    shown_until(terminal, "Nothing was deleted: meanwhile")
    assert wheelyard("list", "acme-core").stdout.count("\n") == 2
    os.close(terminal)
    os.close(end)


def test_token_commands_print_no_other_secret(wheelyard: Typed, sandbox: Sandbox) -> None:
    """`create` prints the token and nothing else, `list` no secret; `revoke` takes either form."""
    first = wheelyard(
        *("token", "create", "ci", "--can", "upload", "--project", "Acme_*"),
        LOGNAME=ODD,
        WHEELYARD_STORE="./wheelyard-data",
    )
    second = wheelyard("token", "create", "b")
    token, other = first.stdout.strip(), second.stdout[4:14]
    note = sandbox.folder / "wheelyard-data" / "credentials" / "uses" / f"{other}.json"
    note.parent.mkdir()
    note.write_text('{"day":"2026-11-20"}')

    assert re.fullmatch(r"wyd_[0-9A-Za-z]{48}\n", first.stdout)
    assert first.stderr.startswith(f"{MADE}./wheelyard-data\n")
    assert MADE not in second.stderr
    listed = dict(line.split("\t", 1) for line in wheelyard("token", "list").stdout.splitlines())
    expiry = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    scope = r"read,upload on acme-\* in the index main"
    words = rf"ci\t{scope}\t{expiry}\tnever used\tactive\tmade by local:\S+"
    assert re.fullmatch(words, listed[token[4:14]])
    assert "\tlast used 2026-11-20\tactive\tmade by local:" in listed[other]
    tokens = json.loads(wheelyard("token", "list", "--json").stdout)["tokens"]
    assert {token["id"]: token["last_used"] for token in tokens}[other] == "2026-11-20"
    rotated = wheelyard("token", "rotate", "b", "--overlap", "0")
    assert re.fullmatch(r"wyd_[0-9A-Za-z]{48}\n", rotated.stdout)
    assert rotated.stderr.startswith(f"{other} is revoked; instead of it:\nToken ")
    listed = dict(line.split("\t", 1) for line in wheelyard("token", "list").stdout.splitlines())
    assert listed[other].endswith(f"\treplaced by {rotated.stdout[4:14]}")
    assert rotated.stdout.strip() not in str(listed) + rotated.stderr
    wrong = wheelyard("token", "revoke", token[:-1])
    assert (wrong.returncode, token[:-1] in wrong.stderr) == (1, False)
    done = wheelyard("token", "revoke", token, other)
    assert done.stdout == f"{token[4:14]}: revoked\n{other}: revoked\n"
    assert wheelyard("token", "list").stdout.count("\trevoked\t") == 2


@pytest.mark.parametrize(
    ("typed", "owner", "names"),
    [
        (
            "user:Ana@acme.dev, domain:acme.dev",
            "user:ana@acme.dev",
            {"user:ana@acme.dev", "domain:acme.dev"},
        ),
        (
            "serviceAccount:ci@p.example#7",
            "serviceAccount:ci@p.example",
            {"serviceAccount:ci@p.example", "serviceAccount:ci@p.example#7"},
        ),
    ],
)
def test_an_operator_makes_a_token_for_a_user(
    wheelyard: Typed, sandbox: Sandbox, typed: str, owner: str, names: set[str]
) -> None:
    """An operator creates a token for a user, by the principals that grants name."""
    token = wheelyard(
        *("token", "create", "laptop", "--owner", typed), WHEELYARD_STORE="wheelyard-data"
    ).stdout

    (listed,) = json.loads(wheelyard("token", "list", "--json").stdout)["tokens"]
    assert listed["owner"] == owner
    path = sandbox.folder / "wheelyard-data" / "credentials" / "tokens" / f"{token[4:14]}.json"
    stored = json.loads(path.read_text())
    assert set(stored["owner_names"]) == {*names, "anonymous", "allAuthenticated"}


@pytest.mark.parametrize(
    "owner",
    [
        *("", "ana", "htpasswd:ana", "token:0123456789", "anonymous", "domain:acme.dev"),
        *("user:ana@acme.dev,user:eve@acme.dev", "user:ana@acme.dev,htpasswd:ana"),
    ],
)
def test_some_principals_own_none(wheelyard: Typed, sandbox: Sandbox, owner: str) -> None:
    """A token for a principal that cannot own one is refused, and no store is created."""
    done = wheelyard("token", "create", "laptop", "--owner", owner)

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert not (sandbox.folder / "wheelyard-data").exists()


def test_stored_control_characters_never_reach_the_terminal(
    published_wheel: Path, sandbox: Sandbox, wheelyard: Typed
) -> None:
    """Control characters that an older version stored never reach the terminal."""
    del published_wheel
    settings = Settings(store=StoreSettings(location=str(sandbox.folder / "wheelyard-data")))
    index, name = open_index(settings), parse_name("acme-core")
    at, by = index.server.runtime.now(), "local:\x1b[1m"
    yanked = Event(what=EventKind.YANKED, at=at, by=by, files=(WHEEL,), reason="\x1b[2J \u202e")
    status = Event.status_set(Status.ARCHIVED, "\x9b1m\n", at=at, by=by)
    index.projects.change(name, lambda _: (yanked, status))

    done = wheelyard("list", "acme-core")

    assert done.stdout.endswith("\tyanked: \\x1b[2J \\u202e\n")
    assert done.stderr == "wheelyard: acme-core is archived: \\x9b1m\\n\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--store", "ftp://bucket"], "and found 'ftp://bucket'"),
        (["list", "--store", "."], "There is no store at ."),
        (["delete", "x", "1", "--yes", "--reason", ODD, "--store", "."], "There is no store"),
        (["yank", "x", "--versions", ""], "'' is not a set of versions"),
        (["yank", "x", "--versions", "1.0"], "'1.0' is not a set of versions"),
        (["token", "create", "x", "--expires", "soon"], "12h, 90d or 8w"),
        (["token", "create", "x", "--expires", "0d"], "A token lives longer than that."),
        (["token", "create", ODD, "--store", "new"], "The name of a token has the character"),
        (["copy", "", "new"], "FROM or TO is empty"),
        (["copy", ".", ""], "FROM or TO is empty"),
        (["upload", "nowhere"], "There is no file nowhere."),
        (["upload", "."], ". is no file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_a_line(
    wheelyard: Typed, arguments: list[str], words: str
) -> None:
    """What cannot be done is said in a line, with status 1."""
    done = wheelyard(*arguments)

    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith(MADE))
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["delete", "x", "1.0"], "Give --yes"),
        (["names", "release", "x"], "Give --yes"),
        (["delete", "x", "--yes"], "either VERSION or --versions"),
        (["yank", "x", "1.0", "--versions", "<2"], "either VERSION or --versions"),
        (["token", "create"], "Missing argument"),
        (["status", "x", "sleepy"], "sleepy"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_has_a_status_of_its_own(
    wheelyard: Typed, arguments: list[str], words: str
) -> None:
    """Wrong usage is said with status 2."""
    done = wheelyard(*arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.integration
def test_a_second_server_on_a_port_makes_nothing(wheelyard: Typed, sandbox: Sandbox) -> None:
    """A second server on a port is refused before it makes a store and a token."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = wheelyard("serve", "--port", str(taken.getsockname()[1]))

    assert (done.returncode, done.stdout) == (1, "")
    assert "Cannot listen" in done.stderr
    assert not (sandbox.folder / "wheelyard-data").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        *(("list", HERE), ("list acme-core", HERE), ("yank x 1", HERE), ("unyank x 1", HERE)),
        *(
            ("delete x 1 --yes", HERE),
            ("status x active", HERE),
            ("check", HERE),
            ("export site", HERE),
        ),
        *(("journal", HERE), ("token rotate x", HERE), ("access show", HERE)),
        ("copy nowhere to", "There is no store at nowhere."),
        *(("token create ci", HERE), ("token list", HERE), ("token revoke x", HERE)),
        *(("access explain token:x x read", HERE), ("import . --dry-run", "refused")),
    ],
)
def test_reading_makes_no_store(wheelyard: Typed, sandbox: Sandbox, line: str, words: str) -> None:
    """A command that only reads, or whose settings are wrong, leaves the folder as it was."""
    bad = sandbox.folder / "bad-1.0.tar.gz"
    bad.write_text("no archive")
    before = sorted(sandbox.folder.iterdir())

    done = wheelyard(*line.split())

    assert words in done.stdout + done.stderr
    assert sorted(sandbox.folder.iterdir()) == before


@pytest.mark.parametrize("line", ["upload", "import", "token create ci --store"])
def test_publishing_makes_a_store(wheelyard: Typed, sandbox: Sandbox, line: str) -> None:
    """Publishing makes the store, as does a token for a given place."""
    wheel = make_wheel("acme_core", "1.0").write(sandbox.folder)
    place = {"upload": wheel, "import": sandbox.folder}.get(line, "./wheelyard-data")

    done = wheelyard(*line.split(), place)

    assert done.returncode == 0
    assert f"{MADE}./wheelyard-data\n" in done.stderr
    assert MADE not in wheelyard(*line.split(), place).stderr


def test_publishing_makes_the_folder(
    published_wheel: Path, sandbox: Sandbox, wheelyard: Typed
) -> None:
    """Where the folder for tokens is missing, reading commands say so, and publishing makes it."""
    del published_wheel
    apart = {"WHEELYARD_ACCESS_CREDENTIALS_STORE": "tokens"}

    for command in ("list", "token list"):
        done = wheelyard(*command.split(), **apart)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "access.credentials_store: there is no folder tokens" in done.stderr
    assert not (sandbox.folder / "tokens").exists()
    place = ("--store", "wheelyard-data")
    assert wheelyard("token", "create", "ci", *place, **apart).returncode == 0
    assert (sandbox.folder / "tokens").exists()
    assert wheelyard("list", **apart).stdout == "acme-core\n"


def test_check_names_strays_safely(
    published_wheel: Path, sandbox: Sandbox, wheelyard: Typed
) -> None:
    """A stray file's name can neither colour a terminal nor forge a line of a check's report."""
    del published_wheel
    stray = sandbox.folder / "wheelyard-data" / "files" / "e\x1b[31m\nwheelyard: problem: forged"
    stray.write_bytes(b"")
    folder = os.fsencode(sandbox.folder / "wheelyard-data" / "projects")
    Path(os.fsdecode(folder + b"/n\xff.json")).touch()

    done = wheelyard("check")

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "forged" not in {line.rpartition(" ")[2] for line in done.stderr.splitlines()}
    report = json.loads(wheelyard("check", "--json").stdout)
    assert (len(report["notes"]), report["mended"]) == (2, [])


def test_commits_of_a_command_have_serials(sandbox: Sandbox, wheelyard: Typed) -> None:
    """A change by a command has a serial, without a server."""
    package = make_wheel().write(sandbox.folder)
    for arguments in (
        ("upload", "--store", "store", package),
        ("yank", "demo", "1.0", "--store", "store"),
    ):
        assert wheelyard(*arguments).returncode == 0
        assert not any(sandbox.folder.glob("store/pending/*"))

    log = json.loads(sandbox.folder.joinpath("store", "changes.json").read_text())
    assert [(name, revision) for _, name, revision in log["entries"]] == [("demo", 1), ("demo", 2)]


@pytest.mark.integration
def test_commands_load_nothing_slow() -> None:
    """A command that serves nothing loads no web server, no templates, and no cryptography."""
    names = (
        "access_commands",
        "import_command",
        "journal_command",
        "project_commands",
        "store_commands",
        "token_commands",
        "upload_command",
        "upstream_commands",
    )
    modules = ", ".join(f"wheelyard.cli.{name}" for name in names)
    program = f"import sys, {modules}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    absent = {"starlette", "granian", "jinja2", "cryptography", "jwt"}
    assert absent.isdisjoint(run.stdout.decode().split())
