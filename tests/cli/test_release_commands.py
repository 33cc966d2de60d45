"""`wheelyard delete` and its like, for releases that several indexes of a store have."""

import pytest

from tests.cli.conftest import Typed
from tests.clients.harness import Sandbox
from tests.operations.distributions import Made, make_sdist, make_wheel
from wheelyard.cli import release_commands

WHEEL, SDIST = make_wheel(), make_sdist()
EVERYWHERE = ("delete", "demo", "1.0", "--now", "--everywhere")
LINE = f"demo 1.0: {{}}deleted  {WHEEL.filename}\ndemo 1.0: {{}}removed from other indexes  {{}}\n"


@pytest.fixture
def typed(wheelyard: Typed, sandbox: Sandbox) -> Typed:
    """Type commands for a store whose indexes dev and prod have a release of one file."""
    (sandbox.folder / "wheelyard.toml").write_text(
        '[store]\nlocation = "there"\n[[index]]\nname = "dev"\n[[index]]\nname = "prod"\n'
        '[[index]]\nname = "lab"\n'
    )
    upload(wheelyard, sandbox, WHEEL)
    promote(wheelyard, "prod")
    return wheelyard


def upload(wheelyard: Typed, sandbox: Sandbox, made: Made) -> None:
    """Publish a distribution in dev."""
    made.write(sandbox.folder)
    assert wheelyard("upload", made.filename, "--index", "dev").returncode == 0


def promote(wheelyard: Typed, to: str) -> None:
    """Promote the release from dev to another index."""
    assert wheelyard("promote", "demo", "1.0", "--from", "dev", "--to", to).returncode == 0


@pytest.mark.parametrize(("asked", "others"), [((), "dev, prod"), (("--index", "dev"), "prod")])
def test_a_removal_from_all_indexes_names_them(
    typed: Typed, asked: tuple[str, ...], others: str
) -> None:
    """`delete --everywhere` names each file and each index, before and after it removes them."""
    trial = typed(*EVERYWHERE, *asked, "--dry-run")
    done = typed(*EVERYWHERE, *asked, "--yes")
    again = typed(*EVERYWHERE, *asked, "--yes")

    assert trial.stdout == LINE.format("would be ", "would be ", others)
    assert done.stdout == LINE.format("", "", others)
    if asked:
        assert again.stdout == "demo 1.0: already deleted\n"
    assert typed("list", "demo", "--index", "prod").stdout == ""


@pytest.mark.parametrize("meanwhile", ["upload", "promotion", "nothing"])
def test_a_removal_is_of_what_was_shown(
    typed: Typed, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """What comes to another index while `delete --everywhere` asks stops it."""

    def confirm(name: str, consequence: str) -> bool:
        del name, consequence
        if meanwhile == "upload":
            upload(typed, sandbox, SDIST)
        elif meanwhile == "promotion":
            promote(typed, "lab")
        return True

    monkeypatch.setattr(release_commands, "is_interactive", lambda: True)
    monkeypatch.setattr(release_commands, "confirm_name", confirm)
    done = typed(*EVERYWHERE)

    assert done.stderr.startswith(LINE.format("would be ", "would be ", "dev, prod"))
    is_stopped = "meanwhile the files have changed" in done.stderr
    assert (is_stopped, done.returncode) == ((False, 0) if meanwhile == "nothing" else (True, 1))
    assert (WHEEL.filename in typed("list", "demo", "--index", "dev").stdout) == is_stopped
