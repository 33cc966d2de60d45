"""The files of deploy/cloud-build, carried out against a running index and a bucket."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bucket.server import BucketServer
from tests.clients.conftest import desk as _desk
from tests.clients.harness import REPOSITORY, Desk, program, wheelyard
from tests.deploy import build_town
from tests.deploy.build_town import FILES, INDEX, KMS, Town, succeeded
from tests.deploy.builds import ACCOUNT, PROJECT, new_python
from tests.trust.issuer import Answer, stand_in

pytestmark = [pytest.mark.clients, pytest.mark.slow]

desk = _desk
bare_python, stocked_python = build_town.bare_python, build_town.stocked_python
cache, product = build_town.cache, build_town.product
built, source = build_town.built, build_town.source
buckets, town = build_town.buckets, build_town.town

DECRYPT = """\
#!/bin/sh
# What Cloud KMS does, without its arithmetic: base64 for a cipher.
for word in "$@"; do
  case $word in
    --ciphertext-file=*) from=${word#*=} ;;
    --plaintext-file=*) to=${word#*=} ;;
  esac
done
base64 -d "$from" > "$to"
"""
PUT = """\
import sys
from google.cloud import storage

_, file, url = sys.argv
storage.Blob.from_string(url, client=storage.Client()).upload_from_filename(file)
"""
NEW = {"acme_core-1.0-py3-none-any.whl", "acme_core-1.0.tar.gz"}


def test_by_its_own_identity(town: Town, source: Path, bare_python: Path, desk: Desk) -> None:
    """A tagged commit is published as the build's own account; its images have only Python."""
    bare = replace(town, cloud=replace(town.cloud, python=bare_python))

    outcome = bare.submit("cloudbuild", source, TAG_NAME="v1.0")

    assert succeeded(outcome)
    assert town.files() == dict.fromkeys(NEW, f"serviceAccount:{ACCOUNT}")
    assert not outcome.holds(town.metadata.given[0])
    python = desk.python()
    index = f"http://__token__:{town.site.token}@{town.site.address}/simple/"
    desk.run(program("pip"), "--python", python, "install", "--index-url", index, "acme-core")


def test_twice(town: Town, source: Path, built: Path) -> None:
    """A build that is run again is a success, because the same commit gives the same bytes."""
    assert succeeded(town.submit("cloudbuild", built, after="unchanged"))
    before = town.site.kept()

    assert succeeded(town.submit("cloudbuild", source, TAG_NAME="v1.0"))

    assert town.site.kept() == before


def test_another_file_of_the_same_name(town: Town, source: Path, built: Path) -> None:
    """What is built anew with other contents under a version that is published is refused."""
    assert succeeded(town.submit("cloudbuild", built, after="unchanged"))
    (source / "src" / "acme_core" / "more.py").write_text("")
    before = town.site.kept()

    outcome = town.submit("cloudbuild", source, TAG_NAME="v1.0")

    assert not outcome.succeeded
    assert "with different content). Use a new version." in re.sub(r"\s+", " ", outcome.log)
    assert town.site.kept() == before


@pytest.mark.parametrize("tag", ["v1.1", "release"])
def test_another_tag(town: Town, source: Path, tag: str) -> None:
    """Nothing is published of a commit whose version is not what its tag says."""
    outcome = town.submit("cloudbuild", source, TAG_NAME=tag)

    assert not outcome.succeeded
    assert "is version 1.0, and the tag says" in outcome.log
    assert outcome.done == ("build",)
    assert town.files() == {}


def test_no_tag(town: Town, source: Path) -> None:
    """A build that nobody has tagged says how it is started."""
    outcome = town.submit("cloudbuild", source)

    assert not outcome.succeeded
    assert "--substitutions=TAG_NAME=v1.2" in outcome.log


def test_a_failing_test(town: Town, source: Path) -> None:
    """Nothing is published of a package whose tests fail."""
    (source / "tests" / "test_it.py").write_text("def test_it():\n    assert False\n")

    outcome = town.submit("cloudbuild", source, TAG_NAME="v1.0")

    assert not outcome.succeeded
    assert outcome.done == ("build", "test")
    assert town.files() == {}


def test_the_wheel_is_tested(town: Town, source: Path) -> None:
    """A module that lies in the source, and not in the wheel, is not there for the tests."""
    (source / "forgotten.py").write_text("")
    (source / "tests" / "test_it.py").write_text("import forgotten\n\n\ndef test_it(): ...\n")

    outcome = town.submit("cloudbuild", source, TAG_NAME="v1.0")

    assert outcome.done == ("build", "test"), outcome.log
    assert "No module named 'forgotten'" in outcome.log


@pytest.mark.parametrize("test", ["touch dist/more-1.0.tar.gz", "sh -c 'echo >> dist/*.whl'"])
def test_a_test_that_builds(town: Town, source: Path, test: str) -> None:
    """Nothing is published if the tests have added to what was built, or have changed it."""
    outcome = town.submit("cloudbuild", source, TAG_NAME="v1.0", _TEST=test)

    assert not outcome.succeeded
    assert "The tests have changed what lies in dist" in outcome.log
    assert outcome.done == ("build", "test", "unchanged")
    assert town.files() == {}


def test_nothing_to_publish(town: Town, source: Path) -> None:
    """A folder that arrives without wheels and sdists is told why that may be."""
    outcome = town.submit("folder", source)

    assert not outcome.succeeded
    assert "remove dist/.gitignore, and submit again" in outcome.log


def test_nowhere_to_publish(town: Town, built: Path) -> None:
    """A folder for which no index and no store is named is published nowhere."""
    outcome = town.cloud.submit(FILES / "folder.yaml", built / "dist")

    assert not outcome.succeeded
    assert "give the build the substitution _INDEX_URL or _STORE" in outcome.log


def test_no_identity(town: Town, built: Path) -> None:
    """A build whose account may not have ID tokens names the role that is missing."""
    town.metadata.may_identify = False

    outcome = town.submit("cloudbuild", built, after="unchanged")

    assert not outcome.succeeded
    assert "roles/iam.serviceAccountOpenIdTokenCreator on itself" in outcome.log


@pytest.mark.parametrize("name", ["secret-manager", "kms"])
def test_a_stored_token(town: Town, built: Path, name: str) -> None:
    """A token in Secret Manager, or encrypted by KMS, publishes, and is in no log and no file."""
    token = town.site.make_token("acme-*")
    version = f"projects/{PROJECT}/secrets/wheelyard-token/versions/latest"
    line = f"{token}\n"  # as a pipe leaves it
    cloud = replace(town.cloud, secrets={version: line, KMS: line})

    outcome = replace(town, cloud=cloud).submit(name, built, after="unchanged")

    assert succeeded(outcome)
    assert set(town.files()) == NEW
    assert not outcome.holds(token)


def test_an_encrypted_pypirc(town: Town, built: Path, desk: Desk) -> None:
    """A .pypirc that lies encrypted in the repository publishes, and is never in the workspace."""
    token = town.site.make_token("acme-*")
    known = "[distutils]\nindex-servers = wheelyard\n\n[wheelyard]\n"
    text = f"{known}repository = {town.site.url}/legacy/\nusername = __token__\npassword = "
    (desk.folder / "pypirc").write_text(text + token)
    encrypted = desk.run("base64", "-w0", desk.folder / "pypirc")
    workspace = shutil.copytree(built, desk.folder / "workspace")
    (workspace / ".pypirc.enc").write_text(encrypted)
    cloud = replace(town.cloud, gcloud=DECRYPT)

    outcome = replace(town, cloud=cloud).submit("kms-file", workspace, after="unchanged")

    assert succeeded(outcome)
    assert set(town.files()) == NEW
    assert not outcome.holds(token)
    decrypted = outcome.volumes / "credentials" / "pypirc"
    assert decrypted.stat().st_mode & 0o077 == 0


def test_trusted_publishing(town: Town, built: Path, desk: Desk) -> None:
    """A build gets a token for its publisher's projects, and the token is dead afterwards."""
    outcome = town.submit("trusted", built, after="unchanged")

    assert succeeded(outcome)
    assert town.files() == dict.fromkeys(NEW, "publisher:cloud-build")
    assert not outcome.holds(town.metadata.given[0])
    listed = json.loads(wheelyard(desk, "token", "list", "--json", "--store", town.site.store))
    assert [each for each in listed["tokens"] if each["publishers"]] == []


def index_without_end() -> dict[str, Answer]:
    """Return what an index answers that gives tokens, takes files, and takes no token back."""
    paths = {"audience": {"audience": "packages.example.com"}, "mint-token": {"token": "wyd_x"}}
    oidc = {f"/_/oidc/{name}": Answer(json.dumps(each).encode()) for name, each in paths.items()}
    return {"/legacy/": Answer(), "/_/oidc/burn-token": Answer(b"", 503), **oidc}


def test_a_token_that_is_not_given_back(town: Town, built: Path) -> None:
    """What is published is a success, though the index does not take its token back."""
    with stand_in() as index:
        index.answers |= index_without_end()
        asked = {"_INDEX_URL": index.url}
        outcome = town.cloud.submit(FILES / "trusted.yaml", built, after="unchanged", **asked)

    assert succeeded(outcome)
    assert "The token was not given back (HTTP Error 503" in outcome.log
    assert "Traceback" not in outcome.log


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9", "cannot be reached"),
        ("packages.example.com", "Is _INDEX_URL right?"),
        ("", "Is _INDEX_URL right?"),
    ],
)
def test_an_index_that_is_away(town: Town, built: Path, url: str, words: str) -> None:
    """An index that is not reached, or not an index, is told of in one line."""
    with stand_in() as other:
        other.answers["/_/oidc/audience"] = Answer(b"<html>")
        asked = {"_INDEX_URL": url or other.url}
        outcome = town.cloud.submit(FILES / "trusted.yaml", built, after="unchanged", **asked)

    assert not outcome.succeeded
    assert words in outcome.log
    assert "Traceback" not in outcome.log


def test_straight_into_the_bucket(
    buckets: tuple[Town, BucketServer, Desk], built: Path, product: str
) -> None:
    """A tagged commit is published with no server, and pip installs it from the static site."""
    town, server, desk = buckets
    asked = {"_SITE": "gs://site", "_WHEELYARD": product}

    none = town.submit("bucket", built, "unchanged", **asked)
    assert not none.succeeded
    assert "There is no store at gs://acme-packages-wheelyard" in none.log
    assert "the first build there takes _NEW_STORE=yes" in none.log
    assert server.bucket("acme-packages-wheelyard").names() == []
    assert succeeded(town.submit("bucket", built, "unchanged", _NEW_STORE="yes", **asked))
    assert succeeded(town.submit("bucket", built, "unchanged", **asked))

    server.bucket("site").public = True
    names = server.bucket("acme-packages-wheelyard").names()
    assert {name.rpartition("/")[2] for name in names} >= NEW
    index = f"{server.url}/site/simple/"
    python = desk.python()
    desk.run(program("pip"), "--python", python, "install", "--index-url", index, "acme-core")
    desk.run(python, "-c", "import acme_core")


@pytest.mark.parametrize("name", ["bucket", "folder"])
@pytest.mark.parametrize(
    "given",
    [
        {"_STORE": "acme-packages-wheelyard"},
        {"_STORE": "gs://"},
        {"_STORE": "gs://acme-packages-wheelyard", "_SITE": "site"},
    ],
)
def test_a_folder_of_the_step(town: Town, built: Path, name: str, given: dict[str, str]) -> None:
    """A store or a site that is no bucket is refused: it would end with the build."""
    source = built if name == "bucket" else built / "dist"
    after = "unchanged" if name == "bucket" else ""

    outcome = town.cloud.submit(FILES / f"{name}.yaml", source, after=after, **given)

    assert not outcome.succeeded
    assert "_STORE and _SITE are gs://BUCKET" in outcome.log


@pytest.mark.parametrize("name", ["bucket", "folder"])
@pytest.mark.parametrize(
    "given", ["", "wheelyard[gcs]", "wheelyard[gcs]==0.1.0", "https://x.example/wheelyard.whl"]
)
def test_what_is_installed_is_named(town: Town, built: Path, name: str, given: str) -> None:
    """A build with rights on the bucket installs no name that anybody may have taken."""
    source = built if name == "bucket" else built / "dist"
    asked = {"_STORE": "gs://acme-packages-wheelyard", "_WHEELYARD": given}
    after = "unchanged" if name == "bucket" else ""

    outcome = town.cloud.submit(FILES / f"{name}.yaml", source, after=after, **asked)

    assert not outcome.succeeded
    assert "_WHEELYARD: give the build this substitution" in outcome.log


@pytest.mark.parametrize("is_right", [True, False])
def test_wheelyard_from_a_bucket(
    buckets: tuple[Town, BucketServer, Desk], built: Path, product: str, *, is_right: bool
) -> None:
    """The wheel of wheelyard itself may lie in a bucket, and is the one that was meant."""
    town, server, desk = buckets
    url, _, digest = product.partition("#sha256=")
    wheel = Path(url.removeprefix("file://"))
    run_python = (sys.executable, "-c", PUT, wheel, f"gs://site/tools/{wheel.name}")
    desk.run(*run_python, **server.environment())
    there = f"gs://site/tools/{wheel.name}#sha256={digest if is_right else digest[::-1]}"
    store = {"_STORE": "gs://acme-packages-wheelyard", "_NEW_STORE": "yes"}
    asked = {**store, "_WHEELYARD": there}
    # else pip keeps what it has got already, whatever is asked for
    cloud = replace(town.cloud, python=new_python(desk.folder / "bare", "google-cloud-storage"))

    outcome = cloud.submit(FILES / "folder.yaml", built / "dist", **asked)

    assert outcome.succeeded == is_right, outcome.log
    assert is_right or "DO NOT MATCH THE HASHES" in outcome.log


def test_a_folder_that_is_built(town: Town, built: Path) -> None:
    """A folder of wheels and sdists is published as it is."""
    assert succeeded(town.submit("folder", built / "dist"))

    assert town.files() == dict.fromkeys(NEW, f"serviceAccount:{ACCOUNT}")


def test_the_command_line_of_backupni(
    buckets: tuple[Town, BucketServer, Desk], built: Path, product: str
) -> None:
    """What was published with backupni's uploader goes on with the same words, once moved."""
    town, server, desk = buckets
    cloud = server.environment()
    words = {
        "_WHL_NAME": '"acme_core-1.0-py3-none-any"',
        "_PACKAGES_BUCKET": '"pypi-packages"',
        "_META_DATA_BUCKET": '"pypi-meta"',
        "_STATIC_BUCKET": '"pypi-static"',
        "_DOMAIN": '"packages.example.com"',
    }
    config = FILES / "folder.yaml"

    dist = shutil.copytree(built / "dist", desk.folder / "dist")
    before = town.cloud.submit(config, dist, _WHEELYARD=product, **words)

    assert not before.succeeded
    assert "There is no store at gs://pypi-packages" in before.log
    store = ("--store", "gs://pypi-packages")
    (dist / "acme_core-1.0.tar.gz").rename(desk.folder / "acme_core-1.0.tar.gz")
    run(desk, cloud, "upload", *store, desk.folder / "acme_core-1.0.tar.gz")
    run(desk, cloud, "export", "gs://pypi-static", *store, "--base-url", f"{INDEX}/")

    assert succeeded(town.cloud.submit(config, dist, _WHEELYARD=f'"{product}"', **words))

    page = server.bucket("pypi-static").get("simple/acme-core/index.html")
    assert page is not None
    assert set(re.findall(r">(acme_core[^<]+)<", page.data.decode())) == NEW


def run(desk: Desk, environment: dict[str, str], *arguments: str | Path) -> None:
    """Run the product's command line beside a build."""
    source = str(REPOSITORY / "src")
    desk.run(sys.executable, "-m", "wheelyard", *arguments, PYTHONPATH=source, **environment)
