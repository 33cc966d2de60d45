"""What a server has to say when it starts: in its log where that is JSON, else in plain lines."""

import json
from typing import Any

import pytest

from tests.cli.conftest import Serve, Serving, Typed
from tests.clients.harness import Desk

pytestmark = pytest.mark.integration

ADVICE = "[store] freshness counts for nothing: nothing is kept in a bucket"
UNKNOWN = "WHEELYARD_STOER is no setting and is ignored; did you mean WHEELYARD_STORE?"
TALKATIVE = {"WHEELYARD_STORE_FRESHNESS": "5", "WHEELYARD_STOER": "x"}


def entries(serving: Serving) -> list[dict[str, Any]]:
    """Return what is in the log, every line of which is JSON."""
    return [json.loads(line) for line in serving.log.read_text().splitlines()]


@pytest.mark.parametrize("command", ["serve", "run"])
@pytest.mark.parametrize("how", ["variable", "option"])
def test_json(serve: Serve, command: str, how: str) -> None:
    """With a log in JSON, what a server says as it starts is in it, each with its severity."""
    options = ("--set", "log.format=json") if how == "option" else ()
    more = {"WHEELYARD_LOG_FORMAT": "json"} if how == "variable" else {}
    folders = (".", "--lenient") if command == "run" else ()

    serving = serve(*folders, *options, "-a", "list", command=command, **TALKATIVE, **more)

    said = [(each["severity"], each["message"]) for each in entries(serving)]
    assert ("WARNING", ADVICE) in said
    assert ("WARNING", UNKNOWN) in said
    assert [each for each in said if each[0] == "WARNING" and "both of them need" in each[1]]
    assert [each for each in said if each[0] == "INFO" and "made a new store at" in each[1]]
    assert not [message for _, message in said if message.startswith("wheelyard")]
    assert len(said) == len(set(said))


@pytest.mark.parametrize("command", ["serve", "run"])
def test_text(serve: Serve, command: str) -> None:
    """With a log for people, the same is in plain lines."""
    serving = serve(*(["."] if command == "run" else []), command=command, **TALKATIVE)

    said = serving.log.read_text().splitlines()
    assert f"wheelyard: warning: {ADVICE}" in said
    assert f"wheelyard: warning: {UNKNOWN}" in said
    assert [line for line in said if line.startswith("wheelyard: made a new store at ")]
    assert len(said) == len(set(said)) == 3


@pytest.mark.parametrize(
    "wrong", ["server.prot=1", "server.host=192.0.2.1", "server.public_url=packages"]
)
def test_a_start_that_fails(wheelyard: Typed, wrong: str) -> None:
    """Why a server does not start is a plain line, whatever the log is like, and is the last."""
    done = wheelyard("serve", "--set", wrong, WHEELYARD_LOG_FORMAT="json", **TALKATIVE)

    assert (done.returncode, done.stdout) == (1, "")
    first, last = done.stderr.splitlines()
    assert first == f"wheelyard: warning: {UNKNOWN}"
    assert last.startswith(("wheelyard: A setting is wrong: ", "wheelyard: Cannot listen on "))


def test_other_commands(wheelyard: Typed, desk: Desk) -> None:
    """A command that is no server has no log, and warns in plain lines."""
    (desk.folder / "wheelyard.toml").write_text('[log]\nformat = "json"\n')

    done = wheelyard("token", "create", "ci", **TALKATIVE)

    assert done.stderr.splitlines()[:2] == [
        f"wheelyard: warning: {UNKNOWN}",
        "wheelyard: made a new store at ./wheelyard-data",
    ]


def test_a_store_that_cannot_be_opened(wheelyard: Typed, desk: Desk) -> None:
    """Where the log is JSON, what keeps a server from starting is its last entry."""
    (desk.folder / "a-file").touch()

    done = wheelyard("serve", "--store", "a-file", "--set", "log.format=json")

    assert (done.returncode, done.stdout) == (1, "")
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["severity"] == "CRITICAL"
    assert "cannot be a store" in last["message"]
