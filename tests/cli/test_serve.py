"""What `wheelyard serve` prints, and how it ends."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Serve, Typed
from tests.clients.harness import Desk
from tests.clients.servers import PATIENCE, TOKEN
from tests.waiting import until

pytestmark = pytest.mark.integration

WORKERS = [[], ["--workers", "4"]]
NOTICE = "wheelyard: stopping when what is under way has ended; press Ctrl-C again to stop now\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("options", WORKERS)
def test_end(serve: Serve, options: list[str], number: signal.Signals) -> None:
    """A server ends in good order by either signal, in silence, whatever is connected to it."""
    serving = serve(*options)
    idle = serving.connect(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle.recv(12) == b"HTTP/1.1 200"

    serving.stop(number)

    assert serving.process.wait(PATIENCE) == 0
    assert serving.log.read_text().splitlines()[1:] == []
    idle.close()


@pytest.mark.parametrize("options", WORKERS)
def test_end_at_once(serve: Serve, options: list[str]) -> None:
    """A server that waits for an upload says so, and a second Ctrl-C ends it."""
    serving = serve(*options)
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {serving.token}\r\n"
    form = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n"
    busy = serving.connect(f"{head}{form}Expect: 100-continue\r\n\r\n".encode())
    assert busy.recv(12) == b"HTTP/1.1 100"  # so it is waiting for the form now
    busy.sendall(b"--b\r\n")
    serving.stop(signal.SIGINT)
    until(lambda: NOTICE in serving.log.read_text(), process=serving.process)

    serving.stop(signal.SIGINT)

    assert serving.process.wait(PATIENCE) == 1
    assert serving.log.read_text().count(NOTICE) == 1
    busy.close()


def test_the_line_that_makes_a_token(serve: Serve) -> None:
    """The line to paste names the store, where it is not the usual one."""
    printed = serve("--store", "my store").printed.read_text()

    assert "wheelyard token create NAME --can read,upload --store 'my store'\n" in printed


def test_the_usual_store(serve: Serve) -> None:
    """The line to paste says nothing of the usual store, which is announced when it is made."""
    serving = serve()

    assert "wheelyard token create NAME --can read,upload\n" in serving.printed.read_text()
    assert serving.log.read_text() == "wheelyard: made a new store at ./wheelyard-data\n"


def test_memory(desk: Desk, serve: Serve) -> None:
    """A store in memory gets its token, no line that would make one elsewhere, and one folder."""
    serving = serve("--store", "memory:")

    assert TOKEN.search(serving.printed.read_text())
    assert "token create" not in serving.printed.read_text()
    assert serving.log.read_text() == ""
    serving.stop(signal.SIGTERM)
    serving.process.wait(PATIENCE)
    assert [each.name for each in desk.home.iterdir()] == [f"wheelyard-{os.getuid()}"]


def test_every_address(serve: Serve) -> None:
    """A server on every address prints URLs that can be asked."""
    printed = serve(host="0.0.0.0").printed.read_text()  # noqa: S104 - what is being tested

    assert "0.0.0.0" not in printed  # noqa: S104
    assert "There is no token yet." in printed


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_a_name(serve: Serve, options: list[str]) -> None:
    """A server listens where a name leads, and prints a URL that can be asked."""
    printed = serve(*options, host="localhost").printed.read_text()

    assert "at http://127.0.0.1:" in printed


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_json_on_any_terminal(serve: Serve, encoding: str) -> None:
    """The log is JSON in UTF-8, whatever the terminal speaks."""
    options = ("--set", "log.format=json", "--set", "log.access=true")
    serving = serve(*options, PYTHONIOENCODING=encoding)
    agent = "café".encode()
    asked = b"GET /simple/ HTTP/1.1\r\nHost: a\r\nUser-Agent: " + agent + b" \xff\r\n\r\n"

    with serving.connect(asked) as connection:
        connection.recv(9)
        until(lambda: "userAgent" in serving.log.read_text(errors="replace"))

    lines = serving.log.read_bytes().splitlines()
    assert all(json.loads(line.decode("utf-8")) for line in lines)


def test_a_store_that_takes_no_token(desk: Desk, serve: Serve, wheelyard: Typed) -> None:
    """Where no token can be written the server says so, and serves what is there."""
    wheelyard("token", "create", "ci")
    tokens = desk.folder / "wheelyard-data" / "credentials"
    for path in sorted(tokens.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    tokens.rmdir()
    tokens.write_text("in the way")

    log = serve().log.read_text()

    assert log.startswith("wheelyard: warning: no first token was made: ")
    assert len(log.splitlines()) == 1


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="/proc tells the limits")
def test_descriptors(serve: Serve) -> None:
    """A server asks for as many file descriptors as it may have."""
    limits = Path(f"/proc/{serve().process.pid}/limits").read_text()
    soft, hard = re.findall(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE)[0]

    assert int(soft) == min(int(hard), 65_536)
