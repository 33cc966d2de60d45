"""docs/backup.md as an operator reads it: the machine is lost, and clients go on from a copy."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, SOURCE, Sandbox, program
from tests.distributions import make_wheel
from tests.durability.serving import first_token, get, post, server
from tests.forking import forking_program

pytestmark = pytest.mark.clients

PAGE = REPOSITORY / "docs" / "backup.md"


def typed(after: str, sandbox: Sandbox, store: Path, backup: Path) -> str:
    """Run the first block of the page behind some words, with other places; return its output."""
    text = PAGE.read_text().partition(after)[2].partition("```sh\n")[2].partition("```")[0]
    for place, other in (("/var/lib/wheelyard", store), ("/mnt/backup/wheelyard", backup)):
        assert place in text
        text = text.replace(place, str(other))
    found = {"PATH": f"{forking_program().parent}:{os.defpath}", **SOURCE}
    return sandbox.run("/bin/sh", "-ec", text, **found)


def test_the_machine_is_lost(sandbox: Sandbox) -> None:
    """The server is killed and its folder lost: after a restore, pip and twine go on as before."""
    store, log, backup = (sandbox.folder / each for each in ("store", "log", "backup"))
    kept, lost = make_wheel("yard_kept"), make_wheel("yard_lost")
    target = sandbox.folder / "downloaded"

    with server(store, log, "--private") as first:
        token = first_token(log)
        assert post(first.port, token, kept) == 200
        printed = typed("## Back up\n", sandbox, store, backup)
        assert re.search(r"backup: 1 project as of 20.*, 2 objects of credentials\n", printed)
        assert post(first.port, token, lost) == 200
    shutil.rmtree(store)

    typed("### Restore everything", sandbox, store, backup)

    with server(store, sandbox.folder / "log2", "--private") as second:
        url = f"http://127.0.0.1:{second.port}"
        assert get(second.port, "/simple/yard-kept/")[0] == 401
        login = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": token}
        wheel = lost.write(sandbox.folder)
        upload = ("upload", "--disable-progress-bar", "--repository-url", f"{url}/legacy/")
        sandbox.run(program("twine"), *upload, wheel, **login)
        lock = sandbox.folder / "requirements.txt"
        lock.write_text(
            f"yard-kept==1.0 --hash=sha256:{kept.sha256}\n"
            f"yard-lost==1.0 --hash=sha256:{lost.sha256}\n"
        )
        index = f"{url.replace('//', f'//__token__:{token}@')}/simple/"
        locked = ("--require-hashes", "--requirement", lock, "--index-url", index)
        sandbox.run(program("pip"), "download", "--dest", target, *locked)
    assert {path.name for path in target.iterdir()} == {kept.filename, lost.filename}
