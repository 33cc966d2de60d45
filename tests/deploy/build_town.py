"""Where the files of deploy/cloud-build are carried out: an index, buckets, and a package."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from tests.bucket.server import BucketServer, running_bucket_server
from tests.clients.harness import REPOSITORY, Desk, program, system_program
from tests.clients.projects import write_project
from tests.deploy.build_metadata import GOOGLE, UNIQUE_ID, Metadata, running_metadata
from tests.deploy.builds import ACCOUNT, CloudBuild, Outcome, new_python
from tests.http.servers import Site, running_site
from tests.trust.issuer import stand_in

FILES = REPOSITORY / "deploy" / "cloud-build"
INDEX = "https://packages.example.com"
KMS = "UFVULVRIRS1FTkNSWVBURUQtVE9LRU4tSEVSRQ=="

CONFIG = f"""\
[access]
private = true

[google]
allow_private = true

[google.id_token]
audience = ["{INDEX}"]
keys_url = "KEYS"

[trusted_publishing]
audience = ["packages.example.com"]

[[grant]]
who = ["serviceAccount:{ACCOUNT}"]
projects = ["*"]
actions = ["upload"]

[[publisher]]
id = "cloud-build"
provider = "oidc"
issuer = "ISSUER"
jwks_url = "KEYS"
allow_private_issuer = true
require_jti = false
match = {{ sub = "{UNIQUE_ID}", email = "{ACCOUNT}" }}
projects = ["acme-core"]
"""


@dataclass(frozen=True)
class Town:
    """An index, the identity of builds, and the service that runs them."""

    site: Site
    metadata: Metadata
    cloud: CloudBuild

    def submit(self, name: str, source: Path, after: str = "", **substitutions: str) -> Outcome:
        """Run one of the files with the index that there is."""
        here = {"_INDEX_URL": f"{self.site.url}/", "_AUDIENCE": INDEX}
        config = FILES / f"{name}.yaml"
        declared = yaml.safe_load(config.read_text())["substitutions"]
        asked = {each: text for each, text in here.items() if each in declared}
        return self.cloud.submit(config, source, after=after, **asked, **substitutions)

    def files(self, project: str = "acme-core") -> dict[str, str]:
        """Return what the index has of a project: names, and who published each."""
        answer = self.site.get(f"/api/v1/projects/{project}", self.site.token)
        if answer.status_code == 404:
            return {}
        return {each["filename"]: each["uploaded-by"] for each in answer.json()["files"]}


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python as an image has it, with nothing installed."""
    return new_python(tmp_path_factory.mktemp("images") / "bare")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pip has fetched already."""
    return str(tmp_path_factory.mktemp("pip-cache"))


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The product as builds install it: the URL of a wheel of this clone, with its digest."""
    folder, home = tmp_path_factory.mktemp("product"), tmp_path_factory.mktemp("home")
    python = program("build", "python")
    Desk(REPOSITORY, home).run(python, "-m", "build", "--wheel", "--no-isolation", "-o", folder)
    (wheel,) = folder.glob("*.whl")
    return f"{wheel.as_uri()}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}"


@pytest.fixture(scope="session")
def stocked_python(tmp_path_factory: pytest.TempPathFactory, cache: str, product: str) -> Path:
    """A Python with what the steps install, which each need not fetch again then."""
    folder = tmp_path_factory.mktemp("images") / "stocked"
    ours = f"wheelyard[gcs] @ {product}"
    return new_python(folder, "build", "twine", "pytest", ours, PIP_CACHE_DIR=cache)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, stocked_python: Path, cache: str) -> Path:
    """A workspace in which the package is built and tested, and nothing is published yet."""
    folder = tmp_path_factory.mktemp("built")
    cloud = CloudBuild(folder / "cloud", stocked_python, {"PIP_CACHE_DIR": cache})
    source = new_source(folder / "acme-core")
    outcome = cloud.submit(FILES / "cloudbuild.yaml", source, TAG_NAME="v1.0")
    assert outcome.done == ("build", "test", "unchanged", "publish"), outcome.log
    assert "_INDEX_URL: is not set" in outcome.log
    return outcome.workspace


@pytest.fixture
def town(tmp_path: Path, stocked_python: Path, cache: str) -> Iterator[Town]:
    """An index that knows builds by their Google identity."""
    with stand_in() as issuer, running_metadata(ACCOUNT) as metadata:
        issuer.serve_keys(GOOGLE)
        config = CONFIG.replace("KEYS", issuer.keys_url).replace("ISSUER", issuer.url)
        metadata.issuers["packages.example.com"] = issuer.url
        with running_site(tmp_path / "site", config=config) as site:
            network = {"GCE_METADATA_HOST": metadata.address, "PIP_CACHE_DIR": cache}
            cloud = CloudBuild(tmp_path / "cloud", stocked_python, network)
            yield Town(site, metadata, cloud)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A package of somebody's, with a test, as a commit."""
    return new_source(tmp_path / "acme-core")


def new_source(folder: Path) -> Path:
    """Write the package, and commit it."""
    write_project(folder, "setuptools", "acme-core", "1.0")
    (folder / "tests").mkdir()
    test = "import acme_core\n\n\ndef test_it():\n    assert acme_core.main() is None\n"
    (folder / "tests" / "test_it.py").write_text(test)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit everything that lies in a folder."""
    git = [system_program("git"), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    desk = Desk(folder, folder.parent)
    date = {"GIT_COMMITTER_DATE": "2026-03-04T05:06:07Z", "GIT_AUTHOR_DATE": "2026-03-04T05:06:07Z"}
    desk.run(*git, "init", "--quiet")
    desk.run(*git, "add", ".")
    desk.run(*git, "commit", "--quiet", "--message=x", **date)


def succeeded(outcome: Outcome) -> bool:
    """Whether a build has, with its log where it has not."""
    assert outcome.succeeded, outcome.log
    return True


@pytest.fixture
def buckets(tmp_path: Path, town: Town) -> Iterator[tuple[Town, BucketServer, Desk]]:
    """The same with buckets, and somebody who may use them."""
    names = ("acme-packages-wheelyard", "pypi-packages", "pypi-meta", "pypi-static", "site")
    with running_bucket_server(*names) as server:
        network = {**town.cloud.network, **server.environment()}
        desk = Desk(tmp_path / "somebody", tmp_path / "their-home")
        for place in (desk.folder, desk.home):
            place.mkdir()
        yield replace(town, cloud=replace(town.cloud, network=network)), server, desk
