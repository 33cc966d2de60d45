"""
Moving over from pypiserver: the same command line, the same folder, the same clients.

The work is done against pypiserver itself first, and then against `wheelyard run` with the same
arguments on the folder that pypiserver has left.
"""

import base64
import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree

import pytest

from tests.clients.harness import SOURCE, Sandbox, pip_of, program, system_program
from tests.clients.projects import Builder, Built
from tests.http_server import is_healthy, running_program
from tests.ports import free_port

pytestmark = pytest.mark.clients

OURS = (sys.executable, "-m", "wheelyard")
PASSWORD = "s3cret:with/odd@letters"
IN_URL = PASSWORD.replace(":", "%3A").replace("/", "%2F").replace("@", "%40")


@dataclass(frozen=True)
class PypiserverFolder:
    """The parts of a pypiserver container: packages, passwords, and a port."""

    sandbox: Sandbox
    packages: Path
    passwords: Path
    port: int
    arguments: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def line(self, actions: str) -> list[str]:
        """Return the command line of pypiserver's image, as its page has it."""
        passwords = [] if actions == "." else ["-P", str(self.passwords)]
        anybody = ["-P", ".", "-i", "127.0.0.1"] if actions == "." else []
        options = ["-a", actions, "-p", str(self.port), "--hash-algo", "sha256"]
        return ["run", *passwords, *anybody, *options, str(self.packages)]


@pytest.fixture
def place(sandbox: Sandbox, build: Builder) -> PypiserverFolder:
    """A folder with packages of two projects, one of them in a folder of its own."""
    packages = sandbox.folder / "data" / "packages"
    (packages / "attic").mkdir(parents=True)
    for built, folder in (
        (build("hatchling", "acme-moved"), packages),
        (build("setuptools", "yard-attic"), packages / "attic"),
    ):
        for file in (built.wheel, built.sdist):
            (folder / file.name).write_bytes(file.read_bytes())
    digest = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()
    passwords = sandbox.folder / "data" / ".htpasswd"
    passwords.write_text(f"ana:{{SHA}}{base64.b64encode(digest).decode()}\n")
    return PypiserverFolder(sandbox, packages, passwords, free_port())


@contextmanager
def serving(place: PypiserverFolder, *program: str | Path, **environment: str) -> Iterator[Path]:
    """Run pypiserver, or wheelyard with its command line; yield its output."""
    log, is_ours = place.sandbox.folder / "server.log", len(program) > 1
    command, everything = [*program, *place.arguments], SOURCE | environment

    def is_up() -> bool:
        return is_healthy(place.address)

    with running_program(place.sandbox, command, log, is_up, everything, is_ours=is_ours):
        yield log


def install(place: PypiserverFolder, index: str, *projects: Built) -> None:
    """Install projects with pip into an empty environment, and see that they work."""
    python = place.sandbox.python("installed")
    options = ["install", "--no-deps", "--index-url", index]
    wanted = [project.requirement for project in projects]
    place.sandbox.run(*pip_of(python), *options, *wanted)
    for project in projects:
        project.assert_installed(python)
    rmtree(python.parent.parent)


def twine(place: PypiserverFolder, user: str, password: str, *files: Path) -> str:
    """Publish with twine to the URL that pypiserver has for it."""
    login = {"TWINE_USERNAME": user, "TWINE_PASSWORD": password}
    where = ["--non-interactive", "--repository-url", f"http://{place.address}/"]
    return place.sandbox.run(program("twine"), "upload", *where, *files, **login)


def curl(place: PypiserverFolder, login: str, file: Path) -> str:
    """Publish with curl, as pypiserver's page has it; return the status."""
    form = ["-F", ":action=file_upload", "-F", f"content=@{file}"]
    out = ["--silent", "--output", "/dev/null", "--write-out", "%{response_code}"]
    url = f"http://{login}{place.address}/"
    return place.sandbox.run(system_program("curl"), "--noproxy", "*", *out, *form, url)


@pytest.mark.parametrize(
    "actions", ["update,download,list", pytest.param(".", marks=pytest.mark.weekly)]
)
def test_clients_do_what_they_did_with_pypiserver(
    place: PypiserverFolder, build: Builder, actions: str
) -> None:
    """pip, twine and curl do with wheelyard what they did with pypiserver, on one folder."""
    place.arguments[:] = place.line(actions)
    moved, attic = build("hatchling", "acme-moved"), build("setuptools", "yard-attic")
    first, second = build("hatchling", "yard-first"), build("hatchling", "yard-second")
    third, fourth = build("flit-core", "yard-third"), build("flit-core", "yard-fourth")
    is_open = actions == "."
    login, password = ("", "anything") if is_open else (f"ana:{IN_URL}@", PASSWORD)
    index, stranger = f"http://{login}{place.address}/simple/", "200" if is_open else "401"
    with serving(place, program("pypiserver", "pypi-server")):
        install(place, index, moved, attic)
        twine(place, "ana", password, first.wheel, first.sdist)
        assert curl(place, login, second.wheel) == "200"
        assert curl(place, "", second.sdist) == stranger

    with serving(place, *OURS):
        # pypiserver would refuse the first one, which it has
        twine(place, "ana", password, first.wheel, third.wheel, third.sdist)
        assert curl(place, login, fourth.wheel) == "200"
        assert curl(place, "", fourth.sdist) == stranger
        install(place, index, moved, attic, first, second, third, fourth)

    # as pypiserver's image has it: the port is in a variable
    place.arguments[:] = [each for each in place.arguments if each not in ("-p", str(place.port))]
    with serving(place, *OURS, PYPISERVER_PORT=str(place.port)) as log:
        pass
    assert "imported 0 files, " in log.read_text()
