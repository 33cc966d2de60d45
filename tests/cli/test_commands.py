"""What each command prints, and with which status it ends."""

import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Desk
from tests.operations.making import make_wheel
from wheelyard.index import open_index
from wheelyard.model.distribution import parse_name
from wheelyard.model.project import Status, StatusSet, Yanked
from wheelyard.settings.sections import Settings, StoreSettings

pytestmark = pytest.mark.integration

WHEEL = "acme_core-1.0-py3-none-any.whl"
ODD = os.fsdecode(b"\xff")
"""What a shell passes on where somebody typed no text."""
MADE = "wheelyard: made a new store at "
TOKEN = re.compile(r"wyd_[0-9A-Za-z]{48}\n")


@pytest.fixture
def published(desk: Desk, wheelyard: Typed) -> Path:
    """A wheel, published into `./wheelyard-data`."""
    wheel = desk.folder / WHEEL
    wheel.write_bytes(make_wheel("acme_core", "1.0").body)
    assert wheelyard("upload", wheel).returncode == 0
    return wheel


def test_upload_leaves_the_file_alone(published: Path, wheelyard: Typed) -> None:
    """A published file stays where it was, and changing it later changes nothing in the store."""
    published.write_bytes(b"changed")

    assert wheelyard("check").returncode == 0
    assert WHEEL in wheelyard("list", "acme-core").stdout


def test_upload_goes_on(published: Path, desk: Desk, wheelyard: Typed) -> None:
    """One bad file does not keep the others out, and the command says so and fails."""
    bad = desk.folder / "acme_core-2.0-py3-none-any.whl"
    bad.write_bytes(b"no archive")

    done = wheelyard("upload", bad, desk.folder / "missing-1.0.tar.gz", published)

    assert done.returncode == 1
    assert done.stdout.startswith(WHEEL)
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        bad.name,
        "missing-1.0.tar.gz",
    ]


def test_lists(published: Path, wheelyard: Typed) -> None:
    """Projects and files are listed one a line, and as JSON for programs."""
    del published
    assert wheelyard("list").stdout == "acme-core\n"
    assert json.loads(wheelyard("list", "--json").stdout) == {"projects": [{"name": "acme-core"}]}
    listed = json.loads(wheelyard("list", "acme-core", "--json").stdout)
    assert [file["filename"] for file in listed["files"]] == [WHEEL]


def test_life(published: Path, wheelyard: Typed) -> None:
    """A release is yanked, taken back and deleted; a project is archived; all of it in a row."""
    assert wheelyard("yank", "acme_core", "1.0.0", "--reason", "bad").returncode == 0
    assert "yanked: bad" in wheelyard("list", "acme-core").stdout
    assert wheelyard("unyank", "acme-core", "1.0").returncode == 0
    assert "yanked" not in wheelyard("list", "acme-core").stdout
    assert wheelyard("status", "acme-core", "archived").returncode == 0
    assert "archived" in wheelyard("upload", published).stderr
    assert wheelyard("status", "acme-core", "active").returncode == 0
    assert wheelyard("delete", "acme-core", "1.0").returncode == 0
    assert "deleted" in wheelyard("upload", published).stderr
    assert wheelyard("list", "acme-core").stdout == ""


def test_token_alone(wheelyard: Typed) -> None:
    """`token create` puts the token, and nothing else, on standard output; `list` has no secret."""
    done = wheelyard("token", "create", "ci", "--can", "upload", "--project", "Acme_*")

    assert TOKEN.fullmatch(done.stdout)
    listed = wheelyard("token", "list").stdout
    assert done.stdout.strip() not in listed
    assert listed.split("\t")[1:3] == ["ci", "read,upload on acme-*"]


def test_tokens_show_when_they_were_used(wheelyard: Typed, desk: Desk) -> None:
    """The list has the day on which each token was last used, for people and for programs."""
    used, other = (wheelyard("token", "create", "ci").stdout[4:14] for _ in range(2))
    note = desk.folder / "wheelyard-data" / "credentials" / "uses" / f"{used}.json"
    note.parent.mkdir()
    note.write_text('{"day":"2026-11-20"}')

    lines = wheelyard("token", "list").stdout.splitlines()
    columns = {line[:10]: line.split("\t")[4:] for line in lines}
    listed = json.loads(wheelyard("token", "list", "--json").stdout)["tokens"]

    assert columns == {used: ["last used 2026-11-20", "active"], other: ["never used", "active"]}
    assert {each["id"]: each["last_used"] for each in listed} == {used: "2026-11-20", other: None}


@pytest.mark.parametrize(
    ("typed", "owner", "names"),
    [
        ("user:Ana@acme.dev", "user:ana@acme.dev", {"user:ana@acme.dev"}),
        (
            "user:ana@acme.dev, domain:acme.dev",
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
def test_a_token_for_somebody(
    wheelyard: Typed, desk: Desk, typed: str, owner: str, names: set[str]
) -> None:
    """An operator makes a token that is somebody's, by the names that a grant calls them."""
    token = wheelyard("token", "create", "laptop", "--owner", typed).stdout

    (listed,) = json.loads(wheelyard("token", "list", "--json").stdout)["tokens"]
    assert listed["owner"] == owner
    path = desk.folder / "wheelyard-data" / "credentials" / "tokens" / f"{token[4:14]}.json"
    stored = json.loads(path.read_text())
    assert set(stored["owner_names"]) == {*names, "anonymous", "allAuthenticated"}


@pytest.mark.parametrize(
    "owner",
    [
        *("", "ana", "ana@acme.dev", "htpasswd:ana", "token:0123456789", "anonymous"),
        *("domain:acme.dev", "user:ana@acme.dev,user:eve@acme.dev"),
        *("user:ana@acme.dev,htpasswd:ana", "user:ana@acme.dev,anonymous"),
    ],
)
def test_who_owns_no_token(wheelyard: Typed, desk: Desk, owner: str) -> None:
    """A token for somebody who cannot own one is not made, and no store is for its sake."""
    done = wheelyard("token", "create", "laptop", "--owner", owner)

    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert not (desk.folder / "wheelyard-data").exists()


def test_token_revoked(wheelyard: Typed) -> None:
    """A revoked token is listed as revoked."""
    token = wheelyard("token", "create", "ci").stdout

    assert wheelyard("token", "revoke", token[4:14]).returncode == 0
    listed = json.loads(wheelyard("token", "list", "--json").stdout)
    assert [each["state"] for each in listed["tokens"]] == ["revoked"]


def test_token_revoked_by_itself(wheelyard: Typed) -> None:
    """A token can be given whole to be revoked, and is not shown again."""
    token = wheelyard("token", "create", "ci").stdout.strip()

    done = wheelyard("token", "revoke", token)

    assert done.stdout == f"{token[4:14]}: revoked\n"
    assert wheelyard("token", "list").stdout.endswith("\trevoked\n")


@pytest.mark.parametrize(
    "change", [lambda token: token[:-1], lambda token: token[14:]], ids=["cut", "secret"]
)
def test_no_secret_is_repeated(wheelyard: Typed, change: Callable[[str], str]) -> None:
    """What was meant as a token and is none is refused without being repeated."""
    wrong = change(wheelyard("token", "create", "ci").stdout.strip())

    done = wheelyard("token", "revoke", wrong)

    assert done.returncode == 1
    assert wrong not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tokens_show_when_they_end(wheelyard: Typed) -> None:
    """The list says to the minute when a token ends, and in which time zone."""
    wheelyard("token", "create", "ci", "--expires", "1h")

    assert re.search(r"\t\d{4}-\d\d-\d\d \d\d:\d\d UTC\t", wheelyard("token", "list").stdout)


def test_a_new_store_is_announced(wheelyard: Typed) -> None:
    """The command that makes a store says so, once, and not on standard output."""
    first, second = wheelyard("token", "create", "a"), wheelyard("token", "create", "b")

    assert first.stderr.startswith(f"{MADE}./wheelyard-data\n")
    assert MADE not in second.stderr + first.stdout


def test_a_folder_is_no_store(desk: Desk, wheelyard: Typed) -> None:
    """Looking into a folder that is no store says so, and leaves nothing in it."""
    folder = desk.folder / "empty"
    folder.mkdir()
    for typed in (["list"], ["check"], ["token", "list"], ["delete", "demo", "1.0"]):
        done = wheelyard(*typed, "--store", folder)
        assert (done.returncode, "There is no store at" in done.stderr) == (1, True)

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("typed", [["--reason", ODD], ["--file", ODD], ["--reason", "a\nb"]])
@pytest.mark.parametrize("command", ["yank", "unyank", "delete"])
def test_odd_text(published: Path, wheelyard: Typed, command: str, typed: list[str]) -> None:
    """A reason or a filename that is no line of text is refused in a line."""
    del published
    done = wheelyard(command, "acme-core", "1.0", *typed)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert wheelyard("list", "acme-core").stdout.count("\t") == 3


def test_odd_text_of_a_status(published: Path, wheelyard: Typed) -> None:
    """The reason of a status is one line of text, too."""
    del published
    done = wheelyard("status", "acme-core", "archived", "--reason", "\u202egnp.exe")

    assert done.returncode == 1
    assert wheelyard("list", "acme-core").stderr == ""


def test_odd_text_that_is_there(published: Path, desk: Desk, wheelyard: Typed) -> None:
    """Control characters that an older version stored never reach the terminal."""
    del published
    settings = Settings(store=StoreSettings(location=str(desk.folder / "wheelyard-data")))
    index, name = open_index(settings), parse_name("acme-core")
    at, by = index.ambient.now(), "local:\x1b[1m"
    yanked = Yanked(at=at, by=by, filenames=(WHEEL,), reason="\x1b[2J \u202e")
    status = StatusSet(at=at, by=by, status=Status.ARCHIVED, reason="\x9b1m\n")
    index.projects.change(name, lambda _: (yanked, status))

    done = wheelyard("list", "acme-core")

    assert done.stdout.endswith("\tyanked: \\x1b[2J \\u202e\n")
    assert done.stderr == "wheelyard: acme-core is archived: \\x9b1m\\n\n"


def test_an_odd_login_name(wheelyard: Typed) -> None:
    """Whatever the environment calls the person, what they do can be written down."""
    assert wheelyard("token", "create", "ci", LOGNAME=ODD + "\x1b").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["list"], 1, "There is no store at"),
        (["list", "--store", "s3://bucket"], 1, "'s3://bucket' is none"),
        (["token", "list", "--store", "."], 1, "There is no store at ."),
        (["check", "--store", "."], 1, "There is no store at ."),
        (["token", "create", "x", "--expires", "400d"], 1, "at most 365 days"),
        (["token", "create", "x", "--expires", "0d"], 1, "has to live for some time"),
        (["token", "create", "x", "--expires", "soon"], 1, "12h, 90d or 8w"),
        (["token", "create", "x", "--can", "fly"], 1, "read, upload or manage"),
        (["token", "create", "x", "--can", "admin"], 1, "not an action"),
        (["token", "create", ODD], 1, "The name of a token has the character"),
        (["upload", "nowhere"], 1, "There is no file nowhere."),
        (["upload", "."], 1, "it is a folder"),
        (["token", "create", "x", "--project", "a*b"], 1, "not a project"),
        (["token", "create"], 2, "Missing argument"),
        (["status", "x", "sleepy"], 2, "sleepy"),
        (["fly"], 2, "No such command"),
        (["serve", "--port", "port"], 2, "not a valid integer"),
        (["serve", "--host", "nowhere.invalid"], 1, "Cannot listen on nowhere.invalid"),
        (["serve", "--host", "a" * 100], 1, "it is no address"),
        (
            ["serve", "--workers", "0"],
            1,
            "[server] workers: expected a number from 1 to 64, and found 0.",
        ),
        (
            ["serve", "--workers", "65"],
            1,
            "[server] workers: expected a number from 1 to 64, and found 65.",
        ),
        (["serve", "--store", "memory:", "--workers", "2", "--port", "0"], 1, "cannot be shared"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals(wheelyard: Typed, arguments: list[str], status: int, words: str) -> None:
    """What cannot be done is said in a line, with status 1, and wrong usage with status 2."""
    done = wheelyard(*arguments)

    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith(MADE)]
    assert status == 2 or len(said) == 1


def test_a_port_in_use(wheelyard: Typed) -> None:
    """A second server on a port is refused before it makes a token."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = wheelyard("serve", "--port", str(taken.getsockname()[1]))

    assert done.returncode == 1
    assert "Cannot listen" in done.stderr
    assert done.stdout == ""


def test_help(wheelyard: Typed) -> None:
    """Every command explains itself."""
    commands = re.findall(r"^  (\w+)  ", wheelyard("--help").stdout, re.MULTILINE)

    assert len(commands) > 5
    assert [name for name in commands if wheelyard(name, "--help").returncode] == []


def test_check_names_strays_safely(published: Path, desk: Desk, wheelyard: Typed) -> None:
    """A stray file's name can neither colour a terminal nor forge a line of a check's report."""
    del published
    stray = desk.folder / "wheelyard-data" / "files" / "e\x1b[31m\nwheelyard: problem: forged"
    stray.write_bytes(b"")
    folder = os.fsencode(desk.folder / "wheelyard-data" / "projects")
    Path(os.fsdecode(folder + b"/n\xff.json")).touch()

    done = wheelyard("check")

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "forged" not in {line.rpartition(" ")[2] for line in done.stderr.splitlines()}
    assert len(json.loads(wheelyard("check", "--json").stdout)["notes"]) == 2
