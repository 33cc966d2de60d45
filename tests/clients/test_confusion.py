"""
Dependency confusion: what is handed out for an index installs no stranger's package.

`acme-app` needs `public-lib`, and `acme-core`, which needs `acme-lib`. A stranger has published
99.0 of every private name on the public index. What is handed out is run twice in the same folder:
with nothing there, and with what the first run has left.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import unescape

import pytest

from tests.clients.harness import SOURCE, Sandbox, pip_of, program
from tests.forking import forking_program
from tests.http.packages import publish
from tests.http.servers import RunningServer, running_server
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import private_wheel, public_wheel
from wheelyard.rendering.client_settings import ClientSettings, client_text

pytestmark = [pytest.mark.clients, pytest.mark.integration]

PRIVATE = ("acme-app", "acme-core", "acme-lib")
PROJECT = """\
[project]
name = "consumer"
version = "0"
requires-python = ">=3.11"
dependencies = []
"""
NEXT = re.compile(r"^# Then: (.+)$", re.MULTILINE)
"""What a text of settings says to type next."""
COPIED = r'<code data-copy="{} for ([^"]+)">(.*?)</code>'
SETTINGS = {
    "PDM_CHECK_UPDATE": "false",
    "PDM_NO_SELF": "1",
    "PIPENV_IGNORE_VIRTUALENVS": "1",
    "PIPENV_NOSPIN": "1",
    "PIPENV_VENV_IN_PROJECT": "1",
    "POETRY_NO_INTERACTION": "1",
    "POETRY_VIRTUALENVS_IN_PROJECT": "true",
}


@dataclass(frozen=True)
class Manager:
    """A client with a project file, in which the public index is the usual one."""

    file: str
    public: str
    """The file before our settings; URL is that of the public index without a trailing slash."""
    again: str
    """
    What a user types later, in the same folder.

    What installs from a lock file is in `test_table.py`, where a stranger has the name, too.
    """
    before: str
    """What was handed out before, for INDEX, and what a user types then."""


MANAGERS = {
    "poetry": Manager(
        "pyproject.toml",
        f'{PROJECT}[tool.poetry]\npackage-mode = false\n\n[[tool.poetry.source]]\nname = "public"\n'
        'url = "URL/"\n',
        "poetry update",
        "poetry source add --priority explicit wheelyard INDEX"
        " && poetry add --source wheelyard acme-app",
    ),
    "pdm": Manager(
        "pyproject.toml",
        f'{PROJECT}[[tool.pdm.source]]\nname = "pypi"\nurl = "URL/"\n',
        "pdm update",
        "pdm add acme-app",
    ),
    "pipenv": Manager(
        "Pipfile",
        '[[source]]\nname = "pypi"\nurl = "URL"\nverify_ssl = true\n',
        "pipenv update",
        "pipenv install --index INDEX acme-app",
    ),
}
DAILY = ("poetry", "pdm", pytest.param("pipenv", marks=pytest.mark.weekly))


@pytest.fixture(scope="module")
def public() -> Iterator[FakeUpstream]:
    """The public index, in which a stranger has published our names."""
    with running_fake_upstream() as upstream:
        upstream.publish(*(public_wheel(name, "99.0") for name in (*PRIVATE, "public-lib")))
        yield upstream


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the private packages, which knows no public index."""
    with running_server(tmp_path_factory.mktemp("private")) as server:
        publish(
            server,
            private_wheel(
                "acme-app", "1.0", "Requires-Dist: acme-core", "Requires-Dist: public-lib"
            ),
            private_wheel("acme-core", "1.0", "Requires-Dist: acme-lib"),
            private_wheel("acme-lib", "1.0"),
        )
        yield server


@dataclass(frozen=True)
class Folder:
    """A folder of somebody who types commands, with every client on the path."""

    sandbox: Sandbox
    environment: Mapping[str, str]

    def run(self, command: str) -> None:
        """Type a command; it has to succeed."""
        self.sandbox.run("/bin/sh", "-c", command, **self.environment)

    def attempt(self, command: str) -> int:
        """Type a command; return its status."""
        return self.sandbox.attempt("/bin/sh", "-c", command, **self.environment).returncode

    def empty(self) -> None:
        """Make the virtual environment anew; what clients have in their caches stays."""
        shutil.rmtree(self.sandbox.folder / ".venv")
        self.sandbox.python(".venv")

    def publishers(self) -> dict[str, str]:
        """Return who published each package that is installed here."""
        environment, found = self.sandbox.folder / ".venv", dict[str, str]()
        for name in (*PRIVATE, "public-lib"):
            module = name.replace("-", "_")
            if [*environment.glob(f"lib/python*/site-packages/{module}*")]:
                code = f"import {module}; print({module}.WHO)"
                found[name] = self.sandbox.run(environment / "bin" / "python", "-c", code).strip()
        return found


@pytest.fixture
def folder(public: FakeUpstream, sandbox: Sandbox) -> Folder:
    """An empty folder with a virtual environment; pip and uv ask the public index by default."""
    programs = sandbox.home / "bin"
    programs.mkdir()
    python = sandbox.python(".venv")
    command = " ".join(map(str, pip_of(python)))
    (programs / "pip").write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (programs / "pip").chmod(0o755)
    ours = (programs / "pip", forking_program(), *map(program, ("uv", *MANAGERS)))
    folders = (str(each.parent) for each in ours)
    path = os.pathsep.join((*folders, sandbox.environment()["PATH"]))
    usual = {"PIP_INDEX_URL": public.url, "UV_DEFAULT_INDEX": public.url, "PATH": path}
    public.requests.clear()
    return Folder(sandbox, {**SOURCE, **SETTINGS, **usual})


def commands_of(
    index: RunningServer, page: str = "/project/acme-app/", kind: str = "command"
) -> dict[str, str]:
    """Return the commands, or the settings, that a page hands out, by client."""
    text = index.get(page, Accept="text/html").text
    return {
        client: unescape(re.sub("<[^>]*>", "", copied))
        for client, copied in re.findall(COPIED.format(kind), text, re.DOTALL)
    }


EXPECTED = {**dict.fromkeys(PRIVATE, "private"), "public-lib": "upstream"}


def assert_not_confused(folder: Folder, public: FakeUpstream) -> None:
    """See that each private package is ours, and that nobody asked a public index for it."""
    assert folder.publishers() == EXPECTED
    assert [request.path for name in PRIVATE for request in public.asked(name)] == []


def test_uv_pip(index: RunningServer, public: FakeUpstream, folder: Folder) -> None:
    """A project's command for uv pip installs private packages from here alone."""
    command = commands_of(index)["uv pip"]

    for _ in range(2):
        folder.run(command)
        assert_not_confused(folder, public)
        folder.run("uv pip uninstall acme-app acme-core acme-lib")


@pytest.mark.parametrize("by", ["page", "settings"])
def test_uv_gets_our_packages(
    index: RunningServer, public: FakeUpstream, folder: Folder, by: str
) -> None:
    """A project of uv gets private packages by the page's command and by the settings."""
    (folder.sandbox.folder / "pyproject.toml").write_text(PROJECT)
    if by == "page":
        folder.run(commands_of(index)["uv"])
    else:
        printing = f"wheelyard print-settings uv --server {index.url} --project acme-app"
        folder.run(f"{printing} >> pyproject.toml && uv add acme-app")
    assert_not_confused(folder, public)

    for command in ("uv sync", "uv sync --upgrade --reinstall"):
        folder.run(command)
        assert_not_confused(folder, public)


@pytest.mark.weekly
def test_uv_before(index: RunningServer, folder: Folder) -> None:
    """With an explicit index, uv takes what a private package needs from the public index."""
    sources = "".join(f'{name} = {{ index = "wheelyard" }}\n' for name in PRIVATE)
    (folder.sandbox.folder / "pyproject.toml").write_text(
        f'{PROJECT}[[tool.uv.index]]\nname = "wheelyard"\nurl = "{index.url}/simple/"\n'
        f"explicit = true\n\n[tool.uv.sources]\n{sources}"
    )

    folder.run("uv add acme-app")

    assert (folder.publishers()["acme-app"], folder.publishers()["acme-core"]) == (
        "private",
        "upstream",
    )


def test_pip_fails_where_something_is_missing(
    index: RunningServer, public: FakeUpstream, folder: Folder
) -> None:
    """The command for pip fails where something is missing here, and asks no other index."""
    command = commands_of(index)["pip"]

    for _ in range(2):
        assert folder.attempt(command) == 1
        assert folder.publishers() == {}
        folder.run(commands_of(index, "/project/acme-core/")["pip"])
        assert folder.publishers() == dict.fromkeys(PRIVATE[1:], "private")
        folder.empty()
    assert public.requests == []


@pytest.mark.weekly
def test_pip_before(index: RunningServer, folder: Folder) -> None:
    """From the public index pip takes what files that were downloaded here need."""
    url = f"{index.url}/simple/"

    folder.run(
        f"pip download --no-deps --index-url {url} -d private acme-app && pip install private/*"
    )

    assert (folder.publishers()["acme-app"], folder.publishers()["acme-core"]) == (
        "private",
        "upstream",
    )


def new_project(folder: Folder, public: FakeUpstream, client: str) -> Manager:
    """Write the file of a project that uses the public index alone; return the client."""
    manager = MANAGERS[client]
    file = folder.sandbox.folder / manager.file
    file.write_text(manager.public.replace("URL", public.url.rstrip("/")))
    return manager


@pytest.mark.parametrize("client", DAILY)
def test_settings_take_private_packages_from_here(
    index: RunningServer, public: FakeUpstream, folder: Folder, client: str
) -> None:
    """The settings to which a project's page leads take every private package from here."""
    manager = new_project(folder, public, client)
    label = {"poetry": "Poetry", "pdm": "PDM", "pipenv": "Pipenv"}[client]
    setup = f"/setup/?project=acme-app&client={client}"
    assert f"../..{setup}" in unescape(index.get("/project/acme-app/", Accept="text/html").text)
    with (folder.sandbox.folder / manager.file).open("a") as file:
        file.write(commands_of(index, setup, "settings")[label])

    folder.run(commands_of(index, setup)[label])
    assert_not_confused(folder, public)

    folder.empty()
    folder.run(manager.again)
    assert_not_confused(folder, public)


@pytest.mark.weekly
@pytest.mark.parametrize("client", MANAGERS)
def test_manager_before(
    index: RunningServer, public: FakeUpstream, folder: Folder, client: str
) -> None:
    """A command that names one package leaves what it needs to the public index."""
    manager = new_project(folder, public, client)

    folder.run(manager.before.replace("INDEX", f"{index.url}/simple/"))

    assert "upstream" in {folder.publishers().get(name) for name in PRIVATE}


@pytest.mark.weekly
@pytest.mark.parametrize("client", MANAGERS)
def test_one_name_is_not_enough(
    index: RunningServer, public: FakeUpstream, folder: Folder, client: str
) -> None:
    """Settings that name only the wanted project leave what it needs to the public index."""
    manager = new_project(folder, public, client)
    text = client_text(client, ClientSettings(root=index.url, projects=("acme-app",)))
    with (folder.sandbox.folder / manager.file).open("a") as file:
        file.write(text)

    folder.run(NEXT.findall(text)[0])

    assert folder.publishers()["acme-core"] == "upstream"


def test_pages_name_one_index(index: RunningServer) -> None:
    """No command on a page asks two indexes, and none leaves out what a package needs."""
    project, setup = "/project/acme-app/", "/setup/?project=acme-app"
    for page in ("/", "/setup/", setup, project, f"{project}1.0/"):
        text = unescape(index.get(page, Accept="text/html").text)
        for command in re.findall(r"<code[^>]*>(.*?)</code>", text, re.DOTALL):
            typed = "\n".join(each for each in command.splitlines() if not each.startswith("#"))
            assert "--no-deps" not in typed
            assert "extra-index" not in typed
            assert "&&" not in typed
    assert next(iter(commands_of(index))) == "uv"
