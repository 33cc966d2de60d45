"""Fixtures of the CLI tests: a sandbox, a store, and functions that run commands."""

import base64
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.clients.harness import SOURCE, Sandbox
from tests.distributions import make_wheel
from tests.forking import ProcessEnvironment, fork, run_forked
from tests.http_server import TOKEN, WHEELYARD, Program, ServerProcess, kill_group, launch
from tests.index_tables import put_tables_at
from tests.settings.written import PUBLISHER
from tests.waiting import TIMEOUT_SECONDS, until
from wheelyard import api_client
from wheelyard.cli import login_commands
from wheelyard.cli import serve as serve_commands
from wheelyard.cli.main import main
from wheelyard.http import web_server

PASSWORD = "correct horse battery staple"
STATIC = "a static token, of any text"
WEAK = (
    "{SHA}"
    + base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
)
ROBOT = "serviceAccount:ci@acme.iam.gserviceaccount.com"
SETTINGS = """
[access]
private = true
htpasswd_file = "users"
htpasswd_may = []
static_tokens_file = "tokens.toml"
private_names = ["pay-*", "treasure"]

[google.id_token]
audience = ["https://packages.example.com"]

[trusted_publishing]
audience = ["packages.example.com"]
"""
TABLES = f"""
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
"""What the store has of rights."""

WHERE = SOURCE
PORT = re.compile(r"http://[^/]*:(\d+)/")
FULL: Final = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
SERVERS = {"serve", "run"}
"""Commands that need a process of their own: they change its limits, its signals and its log."""

Done = subprocess.CompletedProcess[str]
Typed = Callable[..., Done]


def called(folder: Path, environment: Mapping[str, str], *arguments: str | Path) -> Done:
    """
    Run a command to its end, inside the process of the tests; servers need one of their own.

    To start a process takes half a second of processor time, and more where the command imports
    Google's library. Arguments, environment, folder, output and status are the command's own. The
    keyring of the tests' own environment is hidden, unless a backend is named: each question to it
    starts a process.
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
        if "PYTHON_KEYRING_BACKEND" not in environment:
            for module in (api_client, login_commands):
                patch.setattr(module, "keyring_path", _keyring_in_path)
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


def _keyring_in_path(environ: Mapping[str, str]) -> str | None:
    return shutil.which("keyring", path=environ["PATH"])


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
def settings_with_grants(settings: Path, sandbox: Sandbox) -> Path:
    """The settings of `settings`, beside a store that has grants and a publisher."""
    put_tables_at(sandbox.folder / "wheelyard-data", TABLES, settings)
    return settings


@pytest.fixture
def wheelyard(sandbox: Sandbox) -> Typed:
    """Type a command; the answer has its exit status and what it printed."""

    def run(*arguments: str | Path, **environment: str) -> Done:
        if arguments[0] in SERVERS:
            variables = sandbox.environment() | WHERE | environment
            return run_forked(arguments, sandbox.folder, variables)
        return called(sandbox.folder, sandbox.environment() | environment, *arguments)

    return run


@pytest.fixture
def start(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type `serve` or `run`, which ends in this process where it would begin to serve."""
    monkeypatch.setattr(serve_commands, "run_server", lambda _, command: command.open_index())

    def run(*arguments: str | Path, **environment: str) -> Done:
        return called(sandbox.folder, sandbox.environment() | environment, *arguments)

    return run


@pytest.fixture
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no command open a socket to find out whether a server can listen."""
    for module in (serve_commands, web_server):
        monkeypatch.setattr(module, "resolve_bind_address", lambda server: server)


@pytest.fixture
def packages(sandbox: Sandbox) -> Path:
    """A folder with a package in it, and a file of passwords beside it."""
    folder = sandbox.folder / "packages"
    folder.mkdir()
    make_wheel("demo", "1.0").write(folder)
    (sandbox.folder / ".htpasswd").write_text(f"ana:{WEAK}\n")
    return folder


@dataclass(frozen=True)
class Serving(ServerProcess):
    """A server, and its standard output."""

    printed: Path

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


Serve = Callable[..., Serving]


@pytest.fixture
def serve(sandbox: Sandbox) -> Iterator[Serve]:
    """Run a server on a free port, and wait until it answers."""
    running = list[Program]()

    def run(
        *options: str, host: str = "127.0.0.1", command: str = "serve", **environment: str
    ) -> Serving:
        log, printed = sandbox.folder / "log.txt", sandbox.folder / "printed.txt"
        printed.unlink(missing_ok=True)
        arguments = [command, "--port", "0", "--host", host, *options]
        dependencies = ProcessEnvironment(
            folder=sandbox.folder,
            environment=sandbox.environment() | WHERE | environment,
            output=printed,
            errors=log,
        )
        process: Program
        if "--workers" in options or "PYTHONIOENCODING" in environment:  # it has to be started
            process = launch(
                [*WHEELYARD, *arguments],
                folder=dependencies.folder,
                environment=dependencies.environment,
                log=log,
                printed=printed,
            )
        else:
            process = fork(arguments, dependencies)
        running.append(process)
        until(lambda: PORT.search(printed.read_text()) is not None, log.read_text, process)
        port = int(PORT.findall(printed.read_text())[0])
        serving = Serving(process, log, port, printed)
        serving.wait_until_healthy()
        return serving

    yield run
    for process in running:
        kill_group(process)
