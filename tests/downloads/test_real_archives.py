"""Archives that real projects have published, through the server and back."""

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from tests.clients.harness import REPOSITORY, new_sandbox, program
from tests.clients.projects import sha256
from tests.clients.reading import ErrorResponse, fetch, page, post
from tests.clients.servers import Server, running_server

pytestmark = [pytest.mark.downloads, pytest.mark.slow]

CACHE = REPOSITORY / ".cache" / "downloads"


@dataclass(frozen=True)
class DownloadRequest:
    """
    The arguments of one `pip download`.

    Args:
        folder: What to call it, and the folder where it goes.
        options: For which Python and platform; the same files, whatever machine runs this.
        pins: The requirements, as they stand in a command line.
    """

    folder: str
    options: tuple[str, ...]
    pins: str

    @property
    def cache(self) -> Path:
        """The cache folder for later runs; each set of pins has its own."""
        return CACHE / f"{self.folder}-{hashlib.sha256(self.pins.encode()).hexdigest()[:16]}"

    def command(self, target: Path) -> tuple[str | Path, ...]:
        """The command line of that `pip download`."""
        return (
            *(program("pip"), "--python", program("build", "python"), "download", "--quiet"),
            *("--no-deps", "--no-build-isolation", "--dest", target),
            *self.options,
            *self.pins.split(),
        )


def wheels_for(python: str, *platforms: str) -> tuple[str, ...]:
    """The options that make pip fetch wheels for that Python and platform."""
    which = (f"--platform={platform}" for platform in platforms)
    return ("--only-binary=:all:", f"--python-version={python}", *which)


ALL_WANTED = (
    DownloadRequest(
        "linux",
        wheels_for("3.11", "manylinux_2_28_x86_64", "manylinux2014_x86_64"),
        """
        attrs==26.1.0 backports.tarfile==1.2.0 boto3==1.44.5 certifi==2026.10.18
        cryptography==50.0.2 django==5.2.19 googleapis-common-protos==1.76.0 grpcio==1.85.1
        jaraco.functools==4.6.0 lxml==6.1.3 markupsafe==3.0.4 numpy==2.4.6 pandas==3.1.1
        pillow==13.0.0 pip==26.3 protobuf==7.36.2 pydantic-core==2.50.4 pyyaml==6.0.3
        requests==2.34.2 ruamel.yaml==0.19.1 setuptools==84.2.1 six==1.17.0 sqlalchemy==2.1.9
        types-requests==2.33.0.20261030 xgboost==2.1.4 zope.interface==8.7
        """,
    ),
    DownloadRequest(
        "macos",
        wheels_for("3.12", "macosx_11_0_arm64"),
        "cryptography==50.0.2 msgspec==0.22.0 numpy==2.5.5 uvloop==0.23.0",
    ),
    DownloadRequest("musl", wheels_for("3.12", "musllinux_1_2_x86_64"), "orjson==3.13.0"),
    DownloadRequest(
        "windows", wheels_for("3.13", "win_amd64"), "numpy==2.5.5 psutil==7.2.2 pywin32==312"
    ),
    DownloadRequest(
        "sdists",
        ("--no-binary=:all:",),
        """
        click==8.5.1 docopt==0.6.2 flask==3.1.3 flask-sqlalchemy==3.1.1 flit-core==4.2.0
        future==0.18.3 hatchling==1.33.0 idna==3.20 jinja2==3.1.6 markupsafe==3.0.4
        packaging==26.3 pdm-backend==2.5.0 poetry-core==2.5.0 pytz==2026.6 requests==2.34.2
        rich==15.0.0 simplejson==4.3.0 six==1.17.0 termcolor==1.1.0 tomli==2.5.0 wheel==0.48.0
        zope.event==6.2
        """,
    ),
)


@pytest.fixture(scope="module")
def archives() -> list[Path]:
    """The archives, fetched with this user's settings: mirror, proxy, cache."""
    path = os.pathsep.join((str(program("build", "python").parent), os.defpath))
    for wanted in ALL_WANTED:
        command = wanted.command(wanted.cache)
        # The path leads setup.py and its like to the backends that are installed.
        subprocess.run(["env", f"PATH={path}", *command], check=True, timeout=900)
    return sorted(file for wanted in ALL_WANTED for file in wanted.cache.iterdir())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all of them."""
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def refusals(server: Server, archives: list[Path]) -> dict[str, str]:
    """Publish them all; holds what the server did not take, with its reason."""
    return {file.name: reason for file in archives if (reason := refusal(server, file))}


def test_real_archives_are_accepted(refusals: dict[str, str]) -> None:
    """Archives that the public registry took are accepted here."""
    assert refusals == {}


@pytest.mark.usefixtures("refusals")
def test_real_archives_are_listed(server: Server, archives: list[Path]) -> None:
    """Each file is on its project's page with its digest, and comes back with these bytes."""
    projects = {project_of(file) for file in archives}
    files = {file.filename: file for name in projects for file in page(server, name)}
    digests = {file.name: sha256(file) for file in archives}

    assert {name: file.sha256 for name, file in files.items()} == digests
    for name, digest in digests.items():
        assert hashlib.sha256(fetch(files[name].url)).hexdigest() == digest, name


@pytest.mark.usefixtures("refusals")
def test_metadata_is_that_of_the_wheel(server: Server, archives: list[Path]) -> None:
    """The `.metadata` of each wheel is its METADATA, byte for byte."""
    wheels = {file.name: file for file in archives if file.suffix == ".whl"}
    listed = [file for name in map(project_of, wheels.values()) for file in page(server, name)]
    served = {file.filename: file.url for file in listed if file.filename in wheels}

    assert served.keys() == wheels.keys()
    for name, url in served.items():
        assert fetch(f"{url}.metadata") == metadata_in(wheels[name]), name


@pytest.mark.usefixtures("refusals")
@pytest.mark.parametrize("wanted", ALL_WANTED, ids=lambda wanted: wanted.folder)
def test_pip_downloads_the_same_files(
    server: Server, tmp_path: Path, wanted: DownloadRequest
) -> None:
    """`pip download` fetches the same files from this index as from the public one."""
    sandbox = new_sandbox(tmp_path)
    path = os.pathsep.join((str(program("build", "python").parent), os.defpath))

    sandbox.run(
        *wanted.command(sandbox.folder),
        "--no-cache-dir",
        "--index-url",
        server.index_url,
        PATH=path,
    )

    before = {file.name: sha256(file) for file in wanted.cache.iterdir()}
    assert {file.name: sha256(file) for file in sandbox.folder.iterdir()} == before


def refusal(server: Server, file: Path) -> str:
    """Publish a file; returns what the server had against it, nothing if it took it."""
    try:
        post(server, file)
    except ErrorResponse as refused:
        return str(refused)
    return ""


def project_of(file: Path) -> str:
    """The project that a filename belongs to."""
    if file.suffix == ".whl":
        return parse_wheel_filename(file.name)[0]
    return parse_sdist_filename(file.name)[0]


def metadata_in(wheel: Path) -> bytes:
    """The METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if is_metadata(each))
        return archive.read(name)


def is_metadata(member: str) -> bool:
    """Return whether a member is the wheel's own METADATA; some wheels contain other ones."""
    return member.endswith(".dist-info/METADATA") and member.count("/") == 1
