"""Moving over from systems that keep packages in S3, written there by these systems themselves."""

from collections.abc import Iterator

import pytest

from tests.clients.harness import Sandbox, program
from tests.clients.projects import Built
from tests.clients.reading import fetch
from tests.migration.conftest import NewGuide
from tests.migration.guide_runner import digests
from tests.services.fixtures import Emulators
from tests.services.s3 import REGION
from tests.services.service import Service

pytestmark = pytest.mark.clients


@pytest.fixture
def s3(emulators: Emulators) -> Iterator[Service]:
    """S3 with a bucket of packages."""
    with emulators.serving("s3", "acme-pypi") as service:
        yield service


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--index.html", "--put-root-index"), marks=pytest.mark.weekly)]
)
def test_a_bucket_of_s3pypi_is_taken_over(
    new_guide: NewGuide,
    s3: Service,
    old_release: Built,
    other: Built,
    sandbox: Sandbox,
    options: tuple[str, ...],
) -> None:
    """What s3pypi has uploaded comes along, with its digests, whichever pages it has written."""
    location = s3.location("acme-pypi")
    files = [file for built in (old_release, other) for file in (built.wheel, built.sdist)]
    bucket = ("--bucket", location.removeprefix("s3://"), "--region", REGION, *options)
    sandbox.run(program("s3pypi"), "upload", *files, *bucket, **s3.environment())
    guide = new_guide("s3pypi", {"s3://acme-pypi": location}, **s3.environment())

    assert "imported 4 files\n" in guide.type("Import")
    s3.log.clear()
    assert "imported 0 files, 4 there already\n" in guide.type("Import")
    with guide.serving() as server:
        guide.type("Client configuration", TOKEN=server.token)
        assert b"acme_tools-1.0" in fetch(f"{server.url}/acme-tools/").lower()

    assert not [record.name for record in s3.log.records("media") if record.name.endswith(".whl")]
    old_release.assert_installed(sandbox.folder / "venv" / "bin" / "python")
    assert "acme_core-1.1.tar.gz" in guide.files("acme-core")
    assert {name: file.sha256 for name, file in guide.files("acme-tools").items()} == digests(other)
