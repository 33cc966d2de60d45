"""What each command prints, and with which status it ends."""

import json
import re
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Desk
from tests.operations.making import make_wheel

WHEEL = "acme_core-1.0-py3-none-any.whl"
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


def test_token_revoked(wheelyard: Typed) -> None:
    """A revoked token is listed as revoked."""
    token = wheelyard("token", "create", "ci").stdout

    assert wheelyard("token", "revoke", token[4:14]).returncode == 0
    listed = json.loads(wheelyard("token", "list", "--json").stdout)
    assert [each["state"] for each in listed["tokens"]] == ["revoked"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["list"], 1, "There is no store at"),
        (["list", "--store", "gs://bucket"], 1, "cannot open"),
        (["token", "create", "x", "--expires", "400d"], 1, "at most 365 days"),
        (["token", "create", "x", "--expires", "soon"], 1, "12h, 90d or 8w"),
        (["token", "create", "x", "--can", "fly"], 1, "read, upload, manage or admin"),
        (["token", "create", "x", "--project", "a*b"], 1, "not a project"),
        (["token", "create"], 2, "Missing argument"),
        (["status", "x", "sleepy"], 2, "sleepy"),
        (["fly"], 2, "No such command"),
        (["serve", "--port", "port"], 2, "not a valid integer"),
        (["serve", "--host", "nowhere.invalid"], 1, "Cannot listen on nowhere.invalid"),
        (["serve", "--workers", "0"], 1, "A setting is wrong"),
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
    assert status == 2 or len(done.stderr.splitlines()) == 1


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
