"""What pip and uv install of sdists whose version has a hyphen: our own and public ones."""

from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.clients.harness import Sandbox, site_packages
from tests.http.servers import RunningServer, running_server
from tests.operations.old_sdists import REAL, old_sdist
from tests.upstream.fake_pages import FakeFile
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.settings import upstream_settings
from tests.upstream.test_confusion_clients import pip, uv

pytestmark = [pytest.mark.clients, pytest.mark.integration]
OWN = (("team-demo", "1.0-1", "1.0.post1"), ("team-x", "1.0.0-alpha.1", "1.0.0a1"))
"""Packages of our own: the project, the version in the filename, and the normalised one."""


@pytest.fixture(scope="module")
def public() -> Iterator[FakeUpstream]:
    """A public index with real filenames, and an older version of each project."""
    with running_fake_upstream() as upstream:
        for filename, (project, _) in REAL.items():
            version = filename.removeprefix(f"{project}-").removesuffix(".tar.gz")
            for made in (old_sdist(project, version), old_sdist(project, "0.1")):
                upstream.publish(FakeFile(filename=made.filename, body=made.body, project=project))
        yield upstream


@pytest.fixture(scope="module")
def index(
    public: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server before the public index, with files of its own."""
    config = upstream_settings(public)
    with running_server(tmp_path_factory.mktemp("front"), config=config) as server:
        for project, version, _ in OWN:
            for made in (old_sdist(project, version), old_sdist(project, "0.1")):
                answer = server.client.request(
                    "POST",
                    "/legacy/",
                    files={"content": (made.filename, made.body)},
                    auth=("__token__", server.token),
                )
                assert answer.status_code == 200, answer.text
        yield server


def installed(python: Path, projects: list[str]) -> list[str]:
    """Return the versions of installed projects."""
    found = distributions(path=[str(site_packages(python))])
    versions = {canonicalize_name(each.name): each.version for each in found}
    return [versions[canonicalize_name(project)] for project in projects]


def test_real_public_filenames(index: RunningServer, sandbox: Sandbox) -> None:
    """Through us, pip and uv install the version that each real filename stands for."""
    url, names = f"{index.url}/simple/", [name for name, _ in REAL.values()]
    first, second = sandbox.python("pip"), sandbox.python("uv")

    sandbox.run(*pip(first, "--pre", "--no-deps", "--index-url", url, *names))
    sandbox.run(*uv(second, "--prerelease=allow", "--no-deps", "--default-index", url, *names))

    for python in (first, second):
        assert installed(python, names) == [real for _, real in REAL.values()]


def test_files_of_our_own(index: RunningServer, sandbox: Sandbox) -> None:
    """Both pip and uv install our own sdists whose version has a hyphen, by exact version, too."""
    url = f"{index.url}/simple/"
    first, second = sandbox.python("pip"), sandbox.python("uv")
    exact = [f"{project}=={real}" for project, _, real in OWN]

    sandbox.run(*pip(first, "--no-deps", "--index-url", url, *exact))
    sandbox.run(*uv(second, "--no-deps", "--default-index", url, *exact))

    for python in (first, second):
        versions = installed(python, [project for project, _, _ in OWN])
        assert versions == [real for _, _, real in OWN]
