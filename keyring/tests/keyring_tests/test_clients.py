"""pip, uv, twine and Poetry, with our backend for a keyring."""

from pathlib import Path

import pytest

from keyring_tests.fake_servers import WHEEL
from keyring_tests.harness import ACCESS_TOKEN, ID_TOKEN, INDEX_TOKEN, KeyringHarness
from tests.clients.harness import program

pytestmark = pytest.mark.clients

PROVIDERS = ["import", "subprocess"]
# what a host on no list is told is the backend's decision, however pip calls it
DAILY = ["import", pytest.param("subprocess", marks=pytest.mark.weekly)]
LOGIN = f"oauth2accesstoken:{ACCESS_TOKEN}"


def pip(harness: KeyringHarness, provider: str, index_url: str, *wanted: str) -> list[str | Path]:
    """Return the command that installs into a folder, by a pip that may import our backend."""
    command: list[str | Path] = [
        harness.python,
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--target",
        "installed",
    ]
    return [*command, "--keyring-provider", provider, "--index-url", index_url, *wanted]


@pytest.mark.parametrize("provider", PROVIDERS)
# test_pip_id_token and test_pip_index_token have no user name in the URL
@pytest.mark.parametrize("user", [pytest.param("", marks=pytest.mark.weekly), "oauth2accesstoken@"])
def test_pip(harness: KeyringHarness, provider: str, user: str) -> None:
    """
    After `gcloud auth login`, pip installs from the private index, told a user name or not.

    A pip that imports the backend asks Google for one token, however many pages it reads.
    """
    harness.log_in()

    harness.run(
        *pip(harness, provider, f"http://{user}{harness.index.address}/simple/", "acme-tool")
    )

    assert (harness.sandbox.folder / "installed" / "acme_tool.py").exists()
    assert LOGIN in harness.index.credentials
    if provider == "import":
        assert harness.started == ["auth print-access-token"]


def test_pip_id_token(harness: KeyringHarness) -> None:
    """On a machine of Google's, pip sends an ID token that is good for this index alone."""
    harness.metadata.id_token = ID_TOKEN
    harness.index.login = f"oauth2accesstoken:{ID_TOKEN}"

    harness.run(*pip(harness, "import", f"{harness.index.url}/simple/", "acme-tool"))

    assert set(harness.metadata.audiences) == {harness.index.url}
    assert harness.started == []


def test_pip_index_token(harness: KeyringHarness) -> None:
    """A token of the index itself comes before Google's, under the name that it goes by."""
    harness.log_in()
    harness.index.login = f"__token__:{INDEX_TOKEN}"

    command = pip(harness, "subprocess", f"{harness.index.url}/simple/", "acme-tool")
    harness.run(*command, WHEELYARD_TOKEN=INDEX_TOKEN)

    assert harness.index.credentials == {f"__token__:{INDEX_TOKEN}"}
    assert harness.started == []


@pytest.mark.parametrize("provider", DAILY)
def test_pip_redirected(harness: KeyringHarness, provider: str) -> None:
    """A stranger to whom the index sends pip, and who answers 401, is sent no credential."""
    harness.log_in()
    command = pip(harness, provider, f"{harness.index.url}/simple/", "acme-moved")

    done = harness.sandbox.attempt(*command, **harness.environment())

    assert done.returncode != 0
    assert LOGIN in harness.index.credentials
    assert harness.stranger.seen != []
    assert harness.stranger.credentials == set()


@pytest.mark.parametrize("provider", DAILY)
def test_pip_stranger(harness: KeyringHarness, provider: str) -> None:
    """A host that is not on the list gets nothing, and no source is asked for a token."""
    harness.log_in()
    command = pip(harness, provider, f"{harness.stranger.url}/simple/", "acme-tool")

    done = harness.sandbox.attempt(*command, **harness.environment())

    assert done.returncode != 0
    assert harness.stranger.credentials == set()
    assert harness.started == []
    assert harness.metadata.seen == []


def uv(harness: KeyringHarness, *arguments: str, **more: str) -> str:
    """Run uv, which runs `keyring`."""
    more["UV_KEYRING_PROVIDER"] = "subprocess"
    return harness.run(program("uv"), "--no-cache", *arguments, **more)


def test_uv(harness: KeyringHarness) -> None:
    """Uv installs, given a user name in the URL."""
    harness.log_in()
    url = f"http://oauth2accesstoken@{harness.index.address}/simple/"

    uv(harness, "pip", "install", "--target", "installed", "--index-url", url, "acme-tool")

    assert (harness.sandbox.folder / "installed" / "acme_tool.py").exists()


def test_uv_always(harness: KeyringHarness) -> None:
    """Uv installs without a user name, if the index says that it always wants one."""
    harness.log_in()
    (harness.sandbox.folder / "pyproject.toml").write_text(
        '[project]\nname = "consumer"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["acme-tool"]\n\n[[tool.uv.index]]\nname = "acme"\n'
        f'url = "{harness.index.url}/simple/"\ndefault = true\nauthenticate = "always"\n'
    )

    uv(harness, "sync", "--quiet")

    assert LOGIN in harness.index.credentials
    assert ACCESS_TOKEN not in (harness.sandbox.folder / "uv.lock").read_text()


def test_uv_redirected(harness: KeyringHarness) -> None:
    """uv, too, sends nothing to the stranger that the index leads it to."""
    harness.log_in()
    url = f"http://oauth2accesstoken@{harness.index.address}/simple/"
    command = (program("uv"), "--no-cache", "pip", "install", "--target", "installed")
    more = harness.environment(UV_KEYRING_PROVIDER="subprocess")

    done = harness.sandbox.attempt(*command, "--index-url", url, "acme-moved", **more)

    assert done.returncode != 0
    assert LOGIN in harness.index.credentials
    assert not any(ACCESS_TOKEN in pair for pair in harness.stranger.credentials)


def test_uv_publish(harness: KeyringHarness) -> None:
    """Uv publishes, told a user name."""
    harness.log_in()
    file = WHEEL.write(harness.sandbox.folder)
    where = ("--publish-url", f"{harness.index.url}/legacy/", "--trusted-publishing", "never")

    uv(harness, "publish", *where, "--username", "oauth2accesstoken", str(file))

    assert harness.index.uploads == 1
    assert harness.index.credentials == {LOGIN}


def test_twine(harness: KeyringHarness) -> None:
    """Twine publishes, told nothing, and asks Google once for user name and password."""
    harness.log_in()
    file = WHEEL.write(harness.sandbox.folder)
    where = ("--repository-url", f"{harness.index.url}/legacy/", "--non-interactive")

    harness.run(harness.python, "-m", "twine", "upload", "--disable-progress-bar", *where, file)

    assert harness.index.uploads == 1
    assert harness.index.credentials == {LOGIN}
    assert len(harness.started) == 1


def test_poetry(harness: KeyringHarness, poetry_python: Path) -> None:
    """Poetry locks and installs, told nothing, with the backend in its own environment."""
    harness.log_in()
    (harness.sandbox.folder / "pyproject.toml").write_text(
        '[project]\nname = "consumer"\nversion = "0"\nrequires-python = ">=3.11"\n'
        "dependencies = []\n\n[tool.poetry]\npackage-mode = false\n\n"
        f'[[tool.poetry.source]]\nname = "acme"\nurl = "{harness.index.url}/simple/"\n'
    )

    harness.run(
        *(poetry_python, "-m", "poetry", "add", "acme-tool", "--no-interaction"),
        POETRY_VIRTUALENVS_IN_PROJECT="true",
    )

    assert list(harness.sandbox.folder.glob(".venv/lib/python*/site-packages/acme_tool.py"))
    assert ACCESS_TOKEN not in (harness.sandbox.folder / "poetry.lock").read_text()
    assert LOGIN in harness.index.credentials


def test_poetry_publish(harness: KeyringHarness, poetry_python: Path) -> None:
    """Poetry publishes, told the URL and nothing else."""
    harness.log_in()
    dist = harness.sandbox.folder / "dist"
    dist.mkdir()
    WHEEL.write(dist)
    (harness.sandbox.folder / "pyproject.toml").write_text(
        '[project]\nname = "acme-tool"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
    )

    harness.run(
        *(poetry_python, "-m", "poetry", "publish", "--repository", "acme", "--no-interaction"),
        POETRY_REPOSITORIES_ACME_URL=f"{harness.index.url}/legacy/",
    )

    assert harness.index.uploads == 1
    assert harness.index.credentials == {LOGIN}
