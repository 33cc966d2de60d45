"""`wheelyard journal`: its lines, its filters, and `--follow`."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.cli.conftest import WHERE, Typed
from tests.clients.harness import Sandbox
from tests.distributions import make_wheel
from tests.http_server import WHEELYARD
from tests.waiting import TIMEOUT_SECONDS
from wheelyard.cli import journal_command
from wheelyard.errors import Unavailable
from wheelyard.operations.journal_reader import JournalPart, JournalReader
from wheelyard.wiring.stores import system_runtime


@pytest.fixture
def store(sandbox: Sandbox, wheelyard: Typed) -> Path:
    """The store of two published projects, one of them yanked."""
    for name in ("acme_core", "acme_tools"):
        publish(name, sandbox, wheelyard)
    assert wheelyard("yank", "acme-core", "1.0", "--reason", "it broke").returncode == 0
    return sandbox.folder / "wheelyard-data"


def publish(name: str, sandbox: Sandbox, wheelyard: Typed) -> None:
    """Publish a wheel into the store of the sandbox."""
    package = make_wheel(name, "1.0")
    (sandbox.folder / package.filename).write_bytes(package.body)
    assert wheelyard("upload", sandbox.folder / package.filename).returncode == 0


def test_each_entry_is_a_line(store: Path, wheelyard: Typed) -> None:
    """Each entry is a line with its time, project, what, files, who, credential and reason."""
    token = wheelyard("token", "create", "laptop\u00a0of Ana", "--can", "read").stdout
    rewrite(store, "acme-tools", b'"by":"local:', f'"by":"token:{token[4:14]}","x":"'.encode())

    done = wheelyard("journal")

    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[1:4] for line in lines] == [
        ["acme-core", "uploaded", "acme_core-1.0-py3-none-any.whl"],
        ["acme-tools", "uploaded", "acme_tools-1.0-py3-none-any.whl"],
        ["acme-core", "yanked", "acme_core-1.0-py3-none-any.whl"],
    ]
    assert lines[1][4:] == [f"token:{token[4:14]} (laptop\\xa0of Ana)", "API token"]
    assert lines[2][5:] == ["command line", "it broke"]
    since = wheelyard("journal", "--since", lines[2][0], "Acme.Core", "--json").stdout
    assert [json.loads(line)["what"] for line in since.splitlines()][-1:] == ["yanked"]
    assert len(wheelyard("journal", "--what", "yanked").stdout.splitlines()) == 1
    assert wheelyard("journal", "--until", "1d").stdout == ""
    assert len(wheelyard("journal", "--until", "2999-01-01").stdout.splitlines()) == 3


def rewrite(store: Path, project: str, old: bytes, new: bytes) -> None:
    """Replace something in a project's document."""
    document = store / "projects" / f"{project}.json"
    body = document.read_bytes()
    assert old in body
    document.write_bytes(body.replace(old, new))


def test_what_cannot_be_read_fails_the_command(store: Path, wheelyard: Typed) -> None:
    """A lost entry, an unknown project and a wrong filter fail `journal`; no hit does not."""
    (store / "journal" / "acme-core" / "0000000001.json").unlink()

    lost = wheelyard("journal", "--json")

    assert lost.returncode == 1
    assert [json.loads(line)["what"] for line in lost.stdout.splitlines()] == ["uploaded", "yanked"]
    assert "the journal of acme-core has lost its entries 1. Check the store" in lost.stderr
    assert "no project named 'acme'" in wheelyard("journal", "acme").stderr
    assert "'soon' is no time" in wheelyard("journal", "--since", "soon").stderr
    unset = wheelyard("journal", "--by", "")
    assert (unset.returncode, unset.stdout) == (1, "")
    assert "--by is empty" in unset.stderr
    nobody = wheelyard("journal", "--by", "nobody", "acme-tools")
    assert (nobody.returncode, nobody.stdout) == (0, "")
    assert nobody.stderr == "wheelyard: there is no such entry\n"


def test_a_journal_is_followed_through_an_outage(
    store: Path, wheelyard: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a store does not answer, `--follow` says so once, then that it goes on, and prints."""
    assert store.is_dir()
    read = JournalReader.read
    looks, outages = iter([False] * 4), iter([False, True, True])
    pauses = list[float]()

    def read_or_fail(reader: JournalReader, progress: Callable[[int, str], None]) -> JournalPart:
        if next(outages, False):
            raise Unavailable("No answer.")
        return read(reader, progress)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            assert wheelyard("unyank", "acme-core", "1.0").returncode == 0

    runtime = replace(system_runtime(), pause=pause)
    monkeypatch.setattr(journal_command, "system_runtime", lambda: runtime)
    monkeypatch.setattr(journal_command, "is_output_lost", lambda: next(looks, True))
    monkeypatch.setattr(JournalReader, "read", read_or_fail)

    done = wheelyard("journal", "--follow")

    assert [line.split("\t")[2] for line in done.stdout.splitlines()] == [
        *("uploaded", "uploaded", "yanked", "unyanked"),
    ]
    assert done.stderr.splitlines() == [
        "wheelyard: warning: No answer. The journal is read again as soon as that works.",
        "wheelyard: the journal can be read again",
    ]


@pytest.mark.integration
@pytest.mark.parametrize(("ending", "status"), [("Ctrl-C", 130), ("closed pipe", 0)])
def test_new_entries_are_printed_as_they_come(
    store: Path, sandbox: Sandbox, wheelyard: Typed, ending: str, status: int
) -> None:
    """New entries are printed as they come, until Ctrl-C or until nobody reads them."""
    assert store.is_dir()
    with subprocess.Popen(
        [*WHEELYARD, "journal", "--follow", "--json"],
        cwd=sandbox.folder,
        env=sandbox.environment() | WHERE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert [json.loads(process.stdout.readline())["commit"] for _ in range(3)] == [1, 1, 2]
            publish("acme_new", sandbox, wheelyard)
            assert json.loads(process.stdout.readline())["project"] == "acme-new"
            if ending == "Ctrl-C":
                os.kill(process.pid, signal.SIGINT)
            else:
                process.stdout.close()
                publish("acme_newer", sandbox, wheelyard)
            assert process.wait(TIMEOUT_SECONDS) == status
        finally:
            process.kill()
