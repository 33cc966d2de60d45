"""pip, uv, twine and Poetry, with our backend for a keyring."""

from pathlib import Path

import pytest

from keyring_tests.stage import ACCESS_TOKEN, ID_TOKEN, INDEX_TOKEN, Stage
from keyring_tests.standins import WHEEL, wheel
from tests.clients.harness import program

pytestmark = pytest.mark.clients

PROVIDERS = ["import", "subprocess"]
LOGIN = f"oauth2accesstoken:{ACCESS_TOKEN}"


def pip(stage: Stage, provider: str, index_url: str, *wanted: str) -> list[str | Path]:
    """Return the command that installs into a folder, by a pip that may import our backend."""
    command: list[str | Path] = [
        stage.python,
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--target",
        "installed",
    ]
    return [*command, "--keyring-provider", provider, "--index-url", index_url, *wanted]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("user", ["", "oauth2accesstoken@"])
def test_pip(stage: Stage, provider: str, user: str) -> None:
    """
    After `gcloud auth login`, pip installs from the private index, told a user name or not.

    A pip that imports the backend asks Google for one token, however many pages it reads.
    """
    stage.log_in()

    stage.run(*pip(stage, provider, f"http://{user}{stage.index.address}/simple/", "yard-tool"))

    assert (stage.sandbox.folder / "installed" / "yard_tool.py").exists()
    assert LOGIN in stage.index.credentials
    if provider == "import":
        assert stage.started == ["auth print-access-token"]


def test_pip_id_token(stage: Stage) -> None:
    """On a machine of Google's, pip sends an ID token that is good for this index alone."""
    stage.metadata.id_token = ID_TOKEN
    stage.index.login = f"oauth2accesstoken:{ID_TOKEN}"

    stage.run(*pip(stage, "import", f"{stage.index.url}/simple/", "yard-tool"))

    assert set(stage.metadata.audiences) == {stage.index.url}
    assert stage.started == []


def test_pip_index_token(stage: Stage) -> None:
    """A token of the index itself comes before Google's, under the name that it goes by."""
    stage.log_in()
    stage.index.login = f"__token__:{INDEX_TOKEN}"

    command = pip(stage, "subprocess", f"{stage.index.url}/simple/", "yard-tool")
    stage.run(*command, WHEELYARD_TOKEN=INDEX_TOKEN)

    assert stage.index.credentials == {f"__token__:{INDEX_TOKEN}"}
    assert stage.started == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_pip_redirected(stage: Stage, provider: str) -> None:
    """A stranger to whom the index sends pip, and who answers 401, is sent no credential."""
    stage.log_in()
    command = pip(stage, provider, f"{stage.index.url}/simple/", "yard-moved")

    done = stage.sandbox.attempt(*command, **stage.environment())

    assert done.returncode != 0
    assert LOGIN in stage.index.credentials
    assert stage.stranger.seen != []
    assert stage.stranger.credentials == set()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_pip_stranger(stage: Stage, provider: str) -> None:
    """A host that is not on the list gets nothing, and nobody is asked for a token."""
    stage.log_in()
    command = pip(stage, provider, f"{stage.stranger.url}/simple/", "yard-tool")

    done = stage.sandbox.attempt(*command, **stage.environment())

    assert done.returncode != 0
    assert stage.stranger.credentials == set()
    assert stage.started == []
    assert stage.metadata.seen == []


def uv(stage: Stage, *arguments: str, **more: str) -> str:
    """Run uv, which runs `keyring`."""
    more["UV_KEYRING_PROVIDER"] = "subprocess"
    return stage.run(program("uv"), "--no-cache", *arguments, **more)


def test_uv(stage: Stage) -> None:
    """Uv installs, given a user name in the URL."""
    stage.log_in()
    url = f"http://oauth2accesstoken@{stage.index.address}/simple/"

    uv(stage, "pip", "install", "--target", "installed", "--index-url", url, "yard-tool")

    assert (stage.sandbox.folder / "installed" / "yard_tool.py").exists()


def test_uv_always(stage: Stage) -> None:
    """Uv installs without a user name, if the index says that it always wants one."""
    stage.log_in()
    (stage.sandbox.folder / "pyproject.toml").write_text(
        '[project]\nname = "consumer"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["yard-tool"]\n\n[[tool.uv.index]]\nname = "yard"\n'
        f'url = "{stage.index.url}/simple/"\ndefault = true\nauthenticate = "always"\n'
    )

    uv(stage, "sync", "--quiet")

    assert LOGIN in stage.index.credentials
    assert ACCESS_TOKEN not in (stage.sandbox.folder / "uv.lock").read_text()


def test_uv_redirected(stage: Stage) -> None:
    """uv, too, sends nothing to the stranger that the index leads it to."""
    stage.log_in()
    url = f"http://oauth2accesstoken@{stage.index.address}/simple/"
    command = (program("uv"), "--no-cache", "pip", "install", "--target", "installed")
    more = stage.environment(UV_KEYRING_PROVIDER="subprocess")

    done = stage.sandbox.attempt(*command, "--index-url", url, "yard-moved", **more)

    assert done.returncode != 0
    assert LOGIN in stage.index.credentials
    assert not any(ACCESS_TOKEN in pair for pair in stage.stranger.credentials)


def test_uv_publish(stage: Stage) -> None:
    """Uv publishes, told a user name."""
    stage.log_in()
    (stage.sandbox.folder / WHEEL).write_bytes(wheel())
    where = ("--publish-url", f"{stage.index.url}/legacy/", "--trusted-publishing", "never")

    uv(stage, "publish", *where, "--username", "oauth2accesstoken", WHEEL)

    assert stage.index.uploads == 1
    assert stage.index.credentials == {LOGIN}


def test_twine(stage: Stage) -> None:
    """Twine publishes, told nothing, and asks Google once for user name and password."""
    stage.log_in()
    (stage.sandbox.folder / WHEEL).write_bytes(wheel())
    where = ("--repository-url", f"{stage.index.url}/legacy/", "--non-interactive")

    stage.run(stage.python, "-m", "twine", "upload", "--disable-progress-bar", *where, WHEEL)

    assert stage.index.uploads == 1
    assert stage.index.credentials == {LOGIN}
    assert len(stage.started) == 1


def test_poetry(stage: Stage, poetry_python: Path) -> None:
    """Poetry locks and installs, told nothing, with the backend in its own environment."""
    stage.log_in()
    (stage.sandbox.folder / "pyproject.toml").write_text(
        '[project]\nname = "consumer"\nversion = "0"\nrequires-python = ">=3.11"\n'
        'dependencies = ["yard-tool"]\n\n[tool.poetry]\npackage-mode = false\n\n'
        f'[[tool.poetry.source]]\nname = "yard"\nurl = "{stage.index.url}/simple/"\n'
    )

    for command in ("lock", "sync"):
        stage.run(
            *(poetry_python, "-m", "poetry", command, "--no-interaction"),
            POETRY_VIRTUALENVS_IN_PROJECT="true",
        )

    assert list(stage.sandbox.folder.glob(".venv/lib/python*/site-packages/yard_tool.py"))
    assert ACCESS_TOKEN not in (stage.sandbox.folder / "poetry.lock").read_text()
    assert LOGIN in stage.index.credentials


def test_poetry_publish(stage: Stage, poetry_python: Path) -> None:
    """Poetry publishes, told the URL and nothing else."""
    stage.log_in()
    dist = stage.sandbox.folder / "dist"
    dist.mkdir()
    (dist / WHEEL).write_bytes(wheel())
    (stage.sandbox.folder / "pyproject.toml").write_text(
        '[project]\nname = "yard-tool"\nversion = "1.0"\nrequires-python = ">=3.11"\n'
    )

    stage.run(
        *(poetry_python, "-m", "poetry", "publish", "--repository", "yard", "--no-interaction"),
        POETRY_REPOSITORIES_YARD_URL=f"{stage.index.url}/legacy/",
    )

    assert stage.index.uploads == 1
    assert stage.index.credentials == {LOGIN}
