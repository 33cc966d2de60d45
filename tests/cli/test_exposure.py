"""Files and folders that decide on rights, and that every user of the machine may change."""

from pathlib import Path

import pytest

from tests.cli.conftest import Serve, Typed
from tests.clients.harness import Desk

pytestmark = pytest.mark.integration

OPEN = "every user of this machine may write to it; take that away with 'chmod o-w'."


@pytest.mark.parametrize("name", ["wheelyard.toml", "users", "tokens.toml"])
def test_a_file(wheelyard: Typed, settings: Path, name: str) -> None:
    """Settings, passwords and tokens that others may write to are told of, each in a line."""
    (settings.parent / name).chmod(0o602)

    done = wheelyard("config", "check", "--config", settings)

    assert done.returncode == 0
    assert _told(done.stderr) == [f"wheelyard: warning: {settings.with_name(name)}: {OPEN}"]


def test_their_folder(wheelyard: Typed, settings: Path) -> None:
    """In a folder that others may write to, each file that is read from there is told of."""
    settings.parent.chmod(0o777)

    told = _told(wheelyard("config", "check", "--config", settings).stderr)

    assert sorted(line.split(": ")[2] for line in told) == [
        str(settings.with_name(name)) for name in ("tokens.toml", "users", "wheelyard.toml")
    ]
    assert all(f"may write to the folder {settings.parent};" in line for line in told)


@pytest.mark.parametrize("apart", ["", "keys"])
@pytest.mark.parametrize("below", ["", "credentials", "credentials/tokens"])
def test_the_tokens(wheelyard: Typed, desk: Desk, apart: str, below: str) -> None:
    """Where others may write to the folder of the tokens, wherever that is, it is told of."""
    where = ["--set", f"access.credentials_store={apart}"] if apart else []
    store = desk.folder / (apart or "wheelyard-data")
    assert wheelyard("token", "create", "ci", *where).returncode == 0
    assert _told(wheelyard("config", "check", *where).stderr) == []

    (store / below).chmod(0o757)

    (line,) = _told(wheelyard("config", "check", *where).stderr)
    assert str(store.relative_to(desk.folder) / "credentials" / "tokens: ") in line
    assert (OPEN in line) == (below == "credentials/tokens")
    assert (f"the folder {store / below};" in line) == (below != "credentials/tokens")


def test_the_start(serve: Serve, settings: Path) -> None:
    """A server says the same when it starts, once."""
    (settings.parent / "users").chmod(0o602)
    (settings.parent / "wheelyard.toml").write_text('[access]\nhtpasswd_file = "users"\n')

    serving = serve("--config", str(settings))

    assert _told(serving.log.read_text()) == [
        f"wheelyard: warning: {settings.with_name('users')}: {OPEN}"
    ]


def _told(said: str) -> list[str]:
    return [line for line in said.splitlines() if "every user of this machine" in line]
