"""`wheelyard promote`: between the indexes of a store, from the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.operations.distributions import make_sdist, make_wheel

WHEEL, SDIST = make_wheel(), make_sdist()


@pytest.fixture
def promote(wheelyard: Typed, sandbox: Sandbox) -> Typed:
    """Type `promote demo 1.0` for a store, whose index `dev` has that release of two files."""
    (sandbox.folder / "wheelyard.toml").write_text(
        '[store]\nlocation = "there"\n[[index]]\nname = "dev"\n[[index]]\nname = "prod"\n'
        'promote_from = [""]\n'
    )
    for made in (WHEEL, SDIST):
        (sandbox.folder / made.filename).write_bytes(made.body)
        assert wheelyard("upload", made.filename, "--index", "dev").returncode == 0

    return lambda *options: wheelyard("promote", "demo", "1.0", *options)


def test_a_release_is_promoted(promote: Typed, wheelyard: Typed) -> None:
    """The command names the files, those that are new and those that were there."""
    route = ("--from", "dev")

    trial = promote(*route, "--dry-run").stdout.splitlines()
    first = promote(*route).stdout.splitlines()
    again = json.loads(promote(*route, "--json").stdout)

    there = "main"
    assert trial[0] == f"demo 1.0: would be promoted to {there}  {WHEEL.filename}"
    assert first[1] == f"demo 1.0: promoted to {there}  {SDIST.filename}"
    assert (again["from"], again["to"], again["promoted"]) == ("dev", "main", [])
    assert [file["filename"] for file in again["present"]] == [WHEEL.filename, SDIST.filename]
    lines = wheelyard("journal", "demo").stdout.splitlines()
    assert [line.split("\t")[2] for line in lines] == ["promoted from dev"] * 2
    assert "promoted to main" in wheelyard("journal", "demo", "--index", "dev").stdout


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--from", "dev", "--to", "prod"), 1, "takes no releases from dev"),
        (("--from", "dev", "--to", "dev"), 1, "FROM and TO are both dev"),
        ((), 1, "FROM and TO are both main"),
        (("--from", "dev", "--to", "lab"), 1, "There is no index 'lab'"),
        (("--from", "lab", "--to", "dev"), 1, "There is no index 'lab'"),
        (("--from", "prod", "--to", "dev"), 1, "The index prod has no project 'demo'"),
    ],
)
def test_what_is_refused(
    promote: Typed, options: tuple[str | Path, ...], status: int, words: str
) -> None:
    """A promotion that cannot be is one line that says why, and the exit status is not zero."""
    done = promote(*options)

    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
