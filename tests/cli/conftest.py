"""Fixtures of the CLI tests: a sandbox, a store, and functions that run commands."""

import base64
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, Sandbox
from tests.clients.servers import TOKEN, is_healthy
from tests.settings.written import PUBLISHER
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard.cli.main import main

PASSWORD = "correct horse battery staple"
STATIC = "a static token, of any text"
WEAK = (
    "{SHA}"
    + base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
)
ROBOT = "serviceAccount:ci@acme.iam.gserviceaccount.com"
SETTINGS = f"""
[access]
htpasswd_file = "users"
static_tokens_file = "tokens.toml"
private_names = ["pay-*", "treasure"]

[google.id_token]
audience = ["https://packages.example.com"]

[trusted_publishing]
audience = ["packages.example.com"]

[[grant]]
who = ["domain:acme.dev"]
projects = ["acme-*"]
actions = ["read"]
note = "everyone employed"

[[grant]]
who = ["user:ana@acme.dev", "htpasswd:ml-ci"]
projects = ["Acme_*", "tools"]
actions = ["manage"]

[[grant]]
who = ["allAuthenticated"]
projects = ["open-*"]
actions = ["read"]

[[grant]]
who = ["{ROBOT}#123"]
projects = ["robots"]
actions = ["upload"]

[[grant]]
who = ["{ROBOT}", "htpasswd:ml-ci"]
projects = ["robot-*"]
actions = ["read"]
{PUBLISHER}"""

WHEELYARD = (sys.executable, "-m", "wheelyard")
WHERE = {"PYTHONPATH": str(REPOSITORY / "src")}
SERVERS = {"serve", "run"}
"""Commands that need a process of their own: they change its limits, its signals and its log."""

Done = subprocess.CompletedProcess[str]
Typed = Callable[..., Done]


def called(folder: Path, environment: Mapping[str, str], *arguments: str | Path) -> Done:
    """
    Run a command to its end, inside the process of the tests; servers need one of their own.

    To start a process takes half a second of processor time, and more where the command imports
    Google's library. Arguments, environment, folder, output and status are the command's own.
    """
    typed = [str(argument) for argument in arguments]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as errors,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        for name in list(os.environ):  # noqa: TID251 - all of it is replaced
            patch.delenv(name)
        for name, value in environment.items():  # which libraries read that are not Python's, too
            patch.setenv(name, value)
        patch.setattr(tempfile, "tempdir", environment["TMPDIR"])
        patch.setattr(sys, "argv", ["wheelyard", *typed])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", errors)
        with pytest.raises(SystemExit) as ended:
            main()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for file in (out, errors):
            file.seek(0)
        return subprocess.CompletedProcess(
            typed, int(str(ended.value.code)), out.read(), errors.read()
        )


@pytest.fixture
def settings(sandbox: Sandbox) -> Path:
    """A folder with settings, and with the files that they name."""
    folder = sandbox.folder / "etc"
    folder.mkdir()
    (folder / "wheelyard.toml").write_text(SETTINGS)
    (folder / "users").write_text(f"ml-ci:{WEAK}\n")
    (folder / "tokens.toml").write_text(
        f'[[token]]\nname = "old, ci"\nvalue = "{STATIC}"\nprojects = ["acme-*"]\n'
    )
    for name in ("users", "tokens.toml"):
        (folder / name).chmod(0o600)
    return folder / "wheelyard.toml"


@pytest.fixture
def wheelyard(sandbox: Sandbox) -> Typed:
    """Type a command; the answer has its exit status and what it printed."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        if arguments[0] in SERVERS:
            return sandbox.attempt(*WHEELYARD, *arguments, **WHERE, **environment)
        return called(sandbox.folder, sandbox.environment() | environment, *arguments)

    return run


@dataclass
class Serving:
    """A server in a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    printed: Path

    @property
    def port(self) -> int:
        """The port in its start message."""
        match = re.search(r"http://[^/]*:(\d+)/", self.printed.read_text())
        assert match is not None
        return int(match[1])

    @property
    def token(self) -> str:
        """The first token."""
        match = TOKEN.search(self.printed.read_text())
        assert match is not None
        return match[0]

    def connect(self, request: bytes) -> socket.socket:
        """Open a connection and send something."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_SECONDS)
        connection.sendall(request)
        return connection

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, as a terminal does."""
        os.killpg(self.process.pid, number)


Serve = Callable[..., Serving]


@pytest.fixture
def serve(sandbox: Sandbox) -> Iterator[Serve]:
    """Start a server on a free port, and wait until it answers."""
    started: list[Serving] = []

    def run(
        *options: str, host: str = "127.0.0.1", command: str = "serve", **environment: str
    ) -> Serving:
        log, printed = sandbox.folder / "log.txt", sandbox.folder / "printed.txt"
        with log.open("w") as errors, printed.open("w") as output:
            process = subprocess.Popen(
                [*WHEELYARD, command, "--port", "0", "--host", host, *options],
                cwd=sandbox.folder,
                env=sandbox.environment() | WHERE | environment,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        serving = Serving(process, log, printed)
        started.append(serving)
        until(
            lambda: (
                "poetry publish" in printed.read_text() and is_healthy(f"127.0.0.1:{serving.port}")
            ),
            log.read_text,
            process,
        )
        return serving

    yield run
    for serving in started:
        with suppress(ProcessLookupError):
            serving.stop(signal.SIGKILL)
        serving.process.wait(TIMEOUT_SECONDS)
