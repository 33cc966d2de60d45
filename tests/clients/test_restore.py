"""docs/backup.md as an operator reads it: the machine is lost, and clients go on from a copy."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, SOURCE, Sandbox, program
from tests.clients.projects import Builder, sha256
from tests.durability.serving import first_token, get, server

pytestmark = pytest.mark.clients

PAGE = REPOSITORY / "docs" / "backup.md"


def typed(after: str, sandbox: Sandbox, store: Path, backup: Path) -> str:
    """Run the first block of the page behind some words, with other places; return its output."""
    text = PAGE.read_text().partition(after)[2].partition("```sh\n")[2].partition("```")[0]
    for place, other in (("/var/lib/wheelyard", store), ("/mnt/backup/wheelyard", backup)):
        assert place in text
        text = text.replace(place, str(other))
    product = sandbox.home / "wheelyard"
    product.write_text(f'#!/bin/sh\nexec {sys.executable} -m wheelyard "$@"\n')
    product.chmod(0o755)
    found = {"PATH": f"{sandbox.home}:{os.defpath}", **SOURCE}
    return sandbox.run("/bin/sh", "-ec", text, **found)


def test_the_machine_is_lost(sandbox: Sandbox, build: Builder) -> None:
    """The server is killed and its folder lost: after a restore, pip and twine go on as before."""
    store, log, backup = (sandbox.folder / each for each in ("store", "log", "backup"))
    kept, lost = build("hatchling", "yard-kept"), build("hatchling", "yard-lost")
    target = sandbox.folder / "installed"

    def publish(port: int, wheel: Path) -> subprocess.CompletedProcess[str]:
        login = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": first_token(log)}
        url = f"http://127.0.0.1:{port}/legacy/"
        command = (program("twine"), "upload", "--disable-progress-bar", "--repository-url", url)
        return sandbox.attempt(*command, wheel, **login)

    with server(store, log, "--private") as first:
        assert publish(first.port, kept.wheel).returncode == 0
        printed = typed("## Back up\n", sandbox, store, backup)
        assert re.search(r"backup: 1 project as of 20.*, 2 objects of credentials\n", printed)
        assert publish(first.port, lost.wheel).returncode == 0
    shutil.rmtree(store)

    typed("### Restore everything", sandbox, store, backup)

    lock = sandbox.folder / "requirements.txt"
    lock.write_text(f"yard-kept==1.0 --hash=sha256:{sha256(kept.wheel)}\n")
    with server(store, sandbox.folder / "log2", "--private") as second:
        assert get(second.port, "/simple/yard-kept/")[0] == 401
        assert publish(second.port, lost.wheel).returncode == 0
        url = f"http://__token__:{first_token(log)}@127.0.0.1:{second.port}/simple/"
        install = ("install", "--no-deps", "--target", target, "--index-url", url)
        sandbox.run(program("pip"), *install, "--require-hashes", "--requirement", lock)
        sandbox.run(program("pip"), *install, "yard-lost")
    assert {"yard_kept", "yard_lost"} <= {path.name for path in target.iterdir()}
