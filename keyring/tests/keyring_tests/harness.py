"""A user's machine: clients with our backend installed, and no settings of the real machine."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from uv import find_uv_bin

from keyring_tests.fake_servers import Index, Listener, MetadataServer, program
from tests.clients.harness import REPOSITORY, Sandbox, site_packages
from tests.clients.harness import program as client_program
from tests.once import made_once

ACCESS_TOKEN = "ya29.a0_yard-" + "x" * 60
ID_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ5YXJkIn0.c2lnbmF0dXJl"
INDEX_TOKEN = "wyd_testtoken1ThisIsNotARealSecretUsedForTests0jKf9K"


@dataclass(frozen=True)
class KeyringHarness:
    """
    A user's machine with clients and our backend, and the servers around it.

    Args:
        sandbox: Runs programs.
        python: Of an environment with pip, twine, keyring, and our backend.
        index: On the list of hosts.
        stranger: Not on the list.
        metadata: Has nothing to give until a test says so.
    """

    sandbox: Sandbox
    python: Path
    index: Index
    stranger: Listener
    metadata: MetadataServer
    more: dict[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        """The folder of gcloud and keyring, first in PATH."""
        return self.sandbox.home / "bin"

    @property
    def started(self) -> list[str]:
        """The arguments of every gcloud that was run."""
        log = self.sandbox.home / "gcloud.log"
        return log.read_text().splitlines() if log.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        """Return what programs find in their environment."""
        return {
            "GCE_METADATA_HOST": self.metadata.address,
            "PATH": os.pathsep.join((str(self.bin), self.sandbox.environment()["PATH"])),
            "WHEELYARD_KEYRING_HOSTS": self.index.address,
            **self.more,
            **more,
        }

    def run(self, *command: str | Path, **more: str) -> str:
        """Run a program that has to succeed; returns what it printed."""
        return self.sandbox.run(*command, **self.environment(**more))

    def ask(self, *arguments: str, **more: str) -> tuple[str, str]:
        """Run `keyring`; returns what it printed, and its messages."""
        done = self.sandbox.attempt(self.bin / "keyring", *arguments, **self.environment(**more))
        return done.stdout, done.stderr

    def token(self, *arguments: str, **more: str) -> tuple[int, str, str]:
        """Run `wheelyard-token`; returns its status, what it printed, and its messages."""
        command = self.python.parent / "wheelyard-token"
        done = self.sandbox.attempt(command, *arguments, **self.environment(**more))
        return done.returncode, done.stdout, done.stderr

    def configure(self, text: str) -> None:
        """Write the settings file."""
        file = self.sandbox.home / ".config" / "wheelyard" / "keyring.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def log_in(self, token: str = ACCESS_TOKEN) -> None:
        """Have gcloud print a token, as after `gcloud auth login`."""
        program(self.bin, "gcloud", f'echo "$@" >> {self.sandbox.home}/gcloud.log', f"echo {token}")

    def log_out(self) -> None:
        """Have gcloud fail, as it does before."""
        lines = (
            f'echo "$@" >> {self.sandbox.home}/gcloud.log',
            "echo 'ERROR: not now' >&2",
            "exit 1",
        )
        program(self.bin, "gcloud", *lines)


def lay_over(*clients: str) -> Path:
    """
    Make an environment that has our wheel, and sees everything that those clients have.

    Returns:
        Its Python.
    """
    wheel = _wheel()
    below = [site_packages(client_program(each, "python")) for each in clients]
    lines = "".join(f"{each}\n" for each in below)

    def make(folder: Path) -> None:
        uv = [find_uv_bin(), "--no-config", "--quiet"]
        sandbox = Sandbox(folder, folder)
        sandbox.run(*uv, "venv", "--python", sys.executable, "env")
        python = folder / "env" / "bin" / "python"
        sandbox.run(*uv, "pip", "install", "--no-deps", "--no-index", "--python", python, wheel)
        (site_packages(python) / "clients.pth").write_text(lines)

    made = made_once("-".join(("keyring", *clients)), [wheel, lines, sys.version], make)
    return made / "env" / "bin" / "python"


def _wheel() -> Path:
    """Build our wheel, as it would be published."""
    source = REPOSITORY / "keyring"

    def make(folder: Path) -> None:
        sandbox = Sandbox(source, folder)
        sandbox.run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)

    made_from = [
        source / "src",
        *(source / each for each in ("pyproject.toml", "README.md", "LICENSE")),
    ]
    (wheel,) = made_once("keyring-wheel", [*made_from, sys.version], make).glob("*.whl")
    return wheel
