"""
Moving over from pypiserver: the same command line, the same folder, the same clients.

Each test does its work against pypiserver itself first, and then against `wheelyard run` with the
same arguments on the folder that pypiserver has left.
"""

import base64
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from time import monotonic, sleep

import pytest

from tests.clients.harness import REPOSITORY, Desk, program, system_program
from tests.clients.projects import Builder, Built
from tests.clients.servers import PATIENCE, free_port, is_healthy

pytestmark = pytest.mark.clients

PASSWORD = "s3cret:with/odd@letters"
IN_URL = PASSWORD.replace(":", "%3A").replace("/", "%2F").replace("@", "%40")


@dataclass(frozen=True)
class Place:
    """What a container of pypiserver has: packages, passwords, and a port."""

    desk: Desk
    packages: Path
    passwords: Path
    port: int

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def arguments(self, actions: str) -> list[str]:
        """Return the command line of pypiserver's image, as its page has it."""
        passwords = [] if actions == "." else ["-P", str(self.passwords)]
        anybody = ["-P", ".", "-i", "127.0.0.1"] if actions == "." else []
        options = ["-a", actions, "-p", str(self.port), "--hash-algo", "sha256"]
        return ["run", *passwords, *anybody, *options, str(self.packages)]


@pytest.fixture
def place(desk: Desk, build: Builder) -> Place:
    """A folder with packages of two projects, one of them in a folder of its own."""
    packages = desk.folder / "data" / "packages"
    (packages / "attic").mkdir(parents=True)
    for built, folder in (
        (build("hatchling", "yard-moved"), packages),
        (build("setuptools", "yard-attic"), packages / "attic"),
    ):
        for file in (built.wheel, built.sdist):
            (folder / file.name).write_bytes(file.read_bytes())
    digest = hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()
    passwords = desk.folder / "data" / ".htpasswd"
    passwords.write_text(f"ana:{{SHA}}{base64.b64encode(digest).decode()}\n")
    return Place(desk, packages, passwords, free_port())


@contextmanager
def running(place: Place, command: Sequence[str | Path], **environment: str) -> Iterator[Path]:
    """Run a server until the block ends; yields the file with everything that it says."""
    log = place.desk.folder / f"{Path(command[0]).name}.log"
    everything = place.desk.environment() | environment
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=place.desk.folder, env=everything, stdout=output, stderr=output
        )
    try:
        end = monotonic() + PATIENCE
        while not is_healthy(place.address):
            assert process.poll() is None, log.read_text()
            assert monotonic() < end, log.read_text()
            sleep(0.02)
        yield log
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()  # the next server takes the same port


@contextmanager
def before(place: Place, actions: str) -> Iterator[Path]:
    """Run pypiserver."""
    command = [str(program("pypiserver", "pypi-server")), *place.arguments(actions)]
    with running(place, command) as log:
        yield log


@contextmanager
def after(place: Place, actions: str) -> Iterator[Path]:
    """Run ours, with nothing changed but the program's name."""
    command = [sys.executable, "-m", "wheelyard", *place.arguments(actions)]
    with running(place, command, PYTHONPATH=str(REPOSITORY / "src")) as log:
        yield log


def install(place: Place, index: str, *projects: Built) -> None:
    """Install projects with pip into an empty environment, and see that they work."""
    python = place.desk.python("installed")
    options = ["install", "--no-deps", "--index-url", index]
    wanted = [project.requirement for project in projects]
    place.desk.run(program("pip"), "--python", python, *options, *wanted)
    for project in projects:
        project.assert_installed(python)
    rmtree(python.parent.parent)


def twine(place: Place, user: str, password: str, *files: Path) -> str:
    """Publish with twine to the URL that pypiserver has for it."""
    login = {"TWINE_USERNAME": user, "TWINE_PASSWORD": password}
    where = ["--non-interactive", "--repository-url", f"http://{place.address}/"]
    return place.desk.run(program("twine"), "upload", *where, *files, **login)


def curl(place: Place, login: str, file: Path) -> str:
    """Publish with curl, as pypiserver's page has it; return the status."""
    form = ["-F", ":action=file_upload", "-F", f"content=@{file}"]
    out = ["--silent", "--output", "/dev/null", "--write-out", "%{response_code}"]
    url = f"http://{login}{place.address}/"
    return place.desk.run(system_program("curl"), "--noproxy", "*", *out, *form, url)


def test_everything_protected(place: Place, build: Builder) -> None:
    """pip, twine and curl do with ours what they did with pypiserver, on the same folder."""
    moved, attic = build("hatchling", "yard-moved"), build("setuptools", "yard-attic")
    first, second = build("hatchling", "yard-first"), build("hatchling", "yard-second")
    third, fourth = build("flit-core", "yard-third"), build("flit-core", "yard-fourth")
    login = f"ana:{IN_URL}@"
    index, actions = f"http://{login}{place.address}/simple/", "update,download,list"
    with before(place, actions):
        install(place, index, moved, attic)
        twine(place, "ana", PASSWORD, first.wheel, first.sdist)
        assert curl(place, login, second.wheel) == "200"
        assert curl(place, "", second.sdist) == "401"

    with after(place, actions):
        install(place, index, moved, attic, first, second)
        twine(place, "ana", PASSWORD, third.wheel, third.sdist)
        assert curl(place, login, fourth.wheel) == "200"
        assert curl(place, "", fourth.sdist) == "401"
        twine(place, "ana", PASSWORD, first.wheel)  # which pypiserver would refuse
        install(place, index, third, fourth)

    with after(place, actions) as log:
        install(place, index, moved, fourth)
    assert "imported 0 files, 7 there already\n" in log.read_text()


def test_reading_open(place: Place, build: Builder) -> None:
    """With the usual actions everybody reads, and who publishes is asked for a password."""
    moved, published = build("hatchling", "yard-moved"), build("hatchling", "yard-open")
    index = f"http://{place.address}/simple/"
    with before(place, "update"):
        install(place, index, moved)
        assert curl(place, "", published.wheel) == "401"

    with after(place, "update"):
        install(place, index, moved)
        assert curl(place, "", published.wheel) == "401"
        twine(place, "ana", PASSWORD, published.wheel)
        install(place, index, published)


def test_nothing_protected(place: Place, build: Builder) -> None:
    """Without passwords everybody publishes, whatever twine is told to send."""
    moved, first = build("hatchling", "yard-moved"), build("hatchling", "yard-free")
    second, third = build("hatchling", "yard-freer"), build("flit-core", "yard-freest")
    index = f"http://{place.address}/simple/"
    with before(place, "."):
        twine(place, "anyone", "anything", first.wheel)
        install(place, index, moved, first)

    with after(place, "."):
        twine(place, "anyone", "anything", second.wheel)
        assert curl(place, "", third.wheel) == "200"
        install(place, index, moved, first, second, third)


def test_the_image(place: Place, build: Builder) -> None:
    """The command of pypiserver's image: the port from its variable, its paths, its server."""
    moved = build("hatchling", "yard-moved")
    passwords, packages = str(place.passwords), str(place.packages)
    options = ["--server", "gunicorn", "-P", passwords, "-a", "update,download,list"]
    command = [sys.executable, "-m", "wheelyard", "run", *options, packages]
    variables = {"PYTHONPATH": str(REPOSITORY / "src"), "PYPISERVER_PORT": str(place.port)}
    with running(place, command, **variables):
        install(place, f"http://ana:{IN_URL}@{place.address}/simple/", moved)
