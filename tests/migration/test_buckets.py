"""Moving over from systems that keep packages in a bucket, laid out as each of them does."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, program
from tests.clients.projects import Built
from tests.clients.reading import ErrorResponse, fetch, listed
from tests.fake_gcs.objects import Bucket
from tests.fake_gcs.server import FakeGcs
from tests.migration.conftest import NewGuide
from tests.migration.guide_runner import digests
from tests.waiting import until

pytestmark = pytest.mark.clients

PASSWORD = "s3cret-and-long"
HASHING = f"""
from passlib.hash import sha512_crypt
print(sha512_crypt.using(rounds=20500).hash({PASSWORD!r}))
"""
"""The password hashing of pypicloud by default."""
TOKEN = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3"
"""33 letters and digits, as backupni makes them."""
THEN = datetime(2021, 4, 1, 12, 30, 15, tzinfo=UTC)


@pytest.mark.weekly
def test_a_store_of_gaepypi_is_taken_over(
    new_guide: NewGuide,
    cloud: FakeGcs,
    old_release: Built,
    other: Built,
    python: Path,
    sandbox: Sandbox,
) -> None:
    """Accounts, URLs and uploads of GAEPyPI go on, with names that were never normalised."""
    bucket = cloud.bucket("acme.appspot.com")
    for built, folder in ((old_release, "acme-core"), (other, "acme_tools")):
        for file in (built.wheel, built.sdist):
            bucket.put(f"packages/{folder}/1.0/{file.name}", file.read_bytes())
    account = {"username": "ana", "password": hashlib.sha1(PASSWORD.encode()).hexdigest()}  # noqa: S324 - GAEPyPI's
    accounts = {"accounts": [account | {"roles": ["write"]}, account | {"username": "bo"}]}
    (sandbox.folder / "config.json").write_text(json.dumps(accounts))
    guide = new_guide("gaepypi", {"PASSWORD": PASSWORD}, **cloud.environment())

    assert "imported 4 files\n" in guide.type("Import")
    guide.type("Server configuration")
    with guide.serving() as server:
        guide.type("Client configuration")
        at_bo = f"http://bo:{PASSWORD}@{server.address}/packages"
        kept = fetch(f"{at_bo}/acme_tools/1.0/{other.sdist.name}")
        with pytest.raises(ErrorResponse, match="401"):
            fetch(f"{server.url}/packages/acme-core/1.0/{old_release.wheel.name}")

    assert kept == other.sdist.read_bytes()
    assert (sandbox.folder / old_release.wheel.name).read_bytes() == old_release.wheel.read_bytes()
    old_release.assert_installed(python)
    assert "acme_core-1.1.tar.gz" in guide.files("acme-core")
    assert {name: file.sha256 for name, file in guide.files("acme-tools").items()} == digests(other)


@pytest.mark.weekly
def test_a_store_of_backupni_is_taken_over(
    new_guide: NewGuide, cloud: FakeGcs, old_release: Built, python: Path, sandbox: Sandbox
) -> None:
    """A token of backupni opens index and `/raw/FILE` as before; dates and uploaders come along."""
    wheel = old_release.wheel
    cloud.bucket("pypi-acme-packages").put(wheel.name, wheel.read_bytes())
    metadata = {
        "filename": wheel.name,
        "hash": f"sha256={digests(old_release)[wheel.name]}",
        "uploaded_by": "CI",
        "upload_timestamp": int(THEN.timestamp()),
    }
    cloud.bucket("pypi-acme-meta").put(f"{wheel.name}.meta", json.dumps(metadata).encode())
    guide = new_guide(
        "backupni", {}, TOKEN=TOKEN, WHEELYARD_ACCESS_STATIC_TOKEN=TOKEN, **cloud.environment()
    )

    assert "imported 1 file\n" in guide.type("Import")
    guide.write("Server configuration")
    with guide.serving(WHEELYARD_ACCESS_STATIC_TOKEN=TOKEN) as server:
        guide.type("Client configuration")
        with pytest.raises(ErrorResponse, match="401"):
            fetch(f"{server.url}/raw/{wheel.name}")
        assert fetch(f"http://{TOKEN}:@{server.address}/raw/{wheel.name}") == wheel.read_bytes()

    assert (sandbox.folder / wheel.name).read_bytes() == wheel.read_bytes()
    old_release.assert_installed(python)
    file = guide.files("acme-core")[wheel.name]
    assert (file.uploaded_at, file.uploaded_by) == (THEN, "CI")
    assert "acme_core-1.1.tar.gz" in guide.files("acme-core")


def test_a_store_of_pypicloud_is_taken_over(
    new_guide: NewGuide,
    cloud: FakeGcs,
    old_release: Built,
    other: Built,
    python: Path,
    sandbox: Sandbox,
) -> None:
    """Passwords that pypicloud has hashed go on to open both index URLs; uploaders come along."""
    bucket = cloud.bucket("acme-pypicloud")
    for built in (old_release, other):
        for file in (built.wheel, built.sdist):
            _put_as_pypicloud(bucket, "pypi/", built, file)
    hashed = sandbox.run(program("pypiserver", "python"), "-c", HASHING).strip()
    users = [{"username": "ana", "admin": True, "password": hashed}]
    users.append({"username": "old", "admin": False, "password": "$pbkdf2-sha512$10500$a$b"})
    (sandbox.folder / "acl.json").write_text(json.dumps({"users": users}))
    guide = new_guide("pypicloud", {"PASSWORD": PASSWORD}, **cloud.environment())

    assert "imported 4 files\n" in guide.type("Import")
    assert "old needs a new password\n" in guide.type("Server configuration")
    with guide.serving() as server:
        guide.type("Client configuration")
        with pytest.raises(ErrorResponse, match="401"):
            fetch(f"{server.url}/simple/acme-core/")

    old_release.assert_installed(python)
    files = guide.files("acme-core")
    assert files[old_release.wheel.name].uploaded_by == "ana"
    assert files["acme_core-1.1.tar.gz"].uploaded_by == "htpasswd:ana"
    assert {name: file.sha256 for name, file in guide.files("acme-tools").items()} == digests(other)


def test_a_bucket_behind_nginx_is_taken_over(
    new_guide: NewGuide, cloud: FakeGcs, old_release: Built, other: Built, python: Path
) -> None:
    """The index of a bucket behind nginx stays at the root; a file copied there is published."""
    bucket = cloud.bucket("acme-pypi")
    for file in (old_release.wheel, old_release.sdist):
        bucket.put(f"acme-core/{file.name}", file.read_bytes())
    bucket.put("acme-core/", b"")  # what gcsfuse makes of a folder
    bucket.put("acme-core/README.txt", b"not a package")
    guide = new_guide("nginx", {}, **cloud.environment())

    assert "imported 2 files, 1 passed over\n" in guide.type("Import")
    watching = ("--watch", "gs://acme-pypi", "--watch-every", "1")
    with guide.serving(*watching, **cloud.environment()) as server:
        guide.type("Client configuration", TOKEN=server.token)
        for file in (other.wheel, other.sdist):
            bucket.put(f"Acme_Tools/{file.name}", file.read_bytes())
        until(lambda: listed(server, "acme-tools") == digests(other))
        assert b"acme_tools-1.0" in fetch(f"{server.url}/Acme_Tools/").lower()

    old_release.assert_installed(python)
    assert "acme_core-1.1.tar.gz" in guide.files("acme-core")


def _put_as_pypicloud(bucket: Bucket, prefix: str, built: Built, file: Path) -> None:
    body = file.read_bytes()
    digest = hashlib.md5(file.name.encode()).hexdigest()  # noqa: S324 - where it lies
    name = built.name.lower().replace("_", "-")
    metadata = {
        "name": name,
        "version": built.version,
        "summary": "A small project that says who it is.",
        "uploader": "ana",
        "hash_sha256": hashlib.sha256(body).hexdigest(),
        "hash_md5": hashlib.md5(body).hexdigest(),  # noqa: S324 - what it knows
    }
    bucket.put(f"{prefix}{digest[:4]}/{name}/{file.name}", body, metadata=metadata)
