"""Moving over from servers that are run here first, and that have written the data themselves."""

import hashlib
import json
import os
import shutil
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.clients.harness import Sandbox, pip_of, program
from tests.clients.projects import Built, sha256
from tests.clients.reading import ErrorResponse, fetch
from tests.fake_gcs.server import FakeGcs
from tests.migration.conftest import NewGuide
from tests.migration.guide_runner import digests
from tests.migration.systems import PASSWORD, Devpi, new_devpi, running, twine
from tests.ports import free_port

pytestmark = pytest.mark.clients

THEN = datetime(2021, 4, 1, 12, 30, 15, tzinfo=UTC)
REASON = 'it was "broken" & bad'


def test_a_folder_of_pypiserver_is_taken_over(
    new_guide: NewGuide, old_release: Built, other: Built, python: Path, sandbox: Sandbox
) -> None:
    """What twine has sent to pypiserver comes along as it was, and so do passwords and paths."""
    packages = sandbox.folder / "packages"
    packages.mkdir()
    digest = hashlib.sha1(PASSWORD.encode()).digest()  # noqa: S324 - the test's own file
    passwords = sandbox.folder / "htpasswd"
    passwords.write_text(f"ana:{{SHA}}{b64encode(digest).decode()}\n")
    port = free_port()
    listening = ["-i", "127.0.0.1", "-p", str(port), "--disable-fallback"]
    closed = ["-P", str(passwords), "-a", "update,download,list"]
    executable = str(program("pypiserver", "pypi-server"))
    command = [executable, "run", *listening, *closed, str(packages)]
    with running(sandbox, command, f"http://127.0.0.1:{port}/health"):
        files = (old_release.wheel, old_release.sdist, other.wheel, other.sdist)
        twine(sandbox, f"http://127.0.0.1:{port}/", "ana", *files)
    os.utime(packages / old_release.wheel.name, (THEN.timestamp(), THEN.timestamp()))
    stands_for = {"/data/packages": str(packages), "PASSWORD": PASSWORD}
    guide = new_guide("pypiserver", stands_for)

    assert "imported 4 files\n" in guide.type("Import")
    with guide.serving("--private", "-P", str(passwords)) as server:
        guide.type("Client configuration")
        with pytest.raises(ErrorResponse, match="401"):
            fetch(f"{server.url}/packages/{old_release.wheel.name}")

    old_release.assert_installed(python)
    assert (sandbox.folder / old_release.wheel.name).read_bytes() == old_release.wheel.read_bytes()
    kept = guide.files("acme-core")
    assert kept[old_release.wheel.name].uploaded_at == THEN
    assert len(kept) == 4
    assert {name: file.sha256 for name, file in guide.files("acme-tools").items()} == digests(other)


@pytest.mark.weekly
def test_dumb_pypi_as_a_site(
    new_guide: NewGuide, old_release: Built, other: Built, python: Path, sandbox: Sandbox
) -> None:
    """A site of dumb-pypi goes on under its URLs, and publishing to it is one command."""
    site, port = make_dumb_pypi(sandbox, old_release, other), free_port()
    url = f"http://127.0.0.1:{port}"
    guide = new_guide("dumb-pypi", {"/srv/site": str(site), "https://old.example.com": url})
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with running(sandbox, [*command, "--directory", str(site)], f"{url}/packages.json"):
        install(sandbox, f"{url}/simple", old_release)
        guide.wheelyard("import", f"{url}/packages.json", "--packages-url", "../../pool/")
        guide.type("Static site")
        kept = fetch(f"{url}/pool/{old_release.wheel.name}")
        page = fetch(f"{url}/simple/acme-core/index.html").decode()
        legacy = json.loads(fetch(f"{url}/pypi/acme-core/json"))

    old_release.assert_installed(python)
    assert kept == old_release.wheel.read_bytes()
    assert "acme_core-1.1.tar.gz" in page
    assert legacy["info"]["version"] == "1.1"
    assert old_release.sdist.name in {file["filename"] for file in legacy["releases"]["1.0"]}


def test_dumb_pypi_as_a_server(
    new_guide: NewGuide,
    cloud: FakeGcs,
    old_release: Built,
    other: Built,
    python: Path,
    sandbox: Sandbox,
) -> None:
    """Dates, uploaders and yanks of dumb-pypi come along from a bucket, a copy of it, and a URL."""
    site, port = make_dumb_pypi(sandbox, old_release, other), free_port()
    bucket = cloud.bucket("acme-pypi")
    for path in filter(Path.is_file, site.rglob("*")):
        name = path.relative_to(site).as_posix()
        bucket.put(name.replace("pool/", "raw/"), path.read_bytes())
    url = f"http://127.0.0.1:{port}"
    stands_for = {"/srv/site": str(site), "https://old.example.com": url}
    guide = new_guide("dumb-pypi", stands_for, **cloud.environment())
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with running(sandbox, [*command, "--directory", str(site)], f"{url}/packages.json"):
        output = guide.type("Import")
    with guide.serving() as server:
        guide.type("Server")
        raw = fetch(f"{server.url}/raw/{other.wheel.name}")

    assert output.count("imported 4 files\n") == 1
    assert output.count("imported 0 files, 4 there already\n") == 2
    old_release.assert_installed(python)
    assert raw == other.wheel.read_bytes()
    file = guide.files("acme-core")[old_release.wheel.name]
    assert (file.uploaded_at, file.uploaded_by, file.yanked) == (THEN, "ana", None)
    tools = guide.files("acme-tools")
    assert {name: file.sha256 for name, file in tools.items()} == digests(other)
    assert tools[other.wheel.name].yanked == REASON
    assert tools[other.sdist.name].yanked is None


@pytest.mark.weekly
def test_an_index_of_devpi_is_taken_over(
    new_guide: NewGuide, old_release: Built, other: Built, python: Path, sandbox: Sandbox
) -> None:
    """An index of devpi and its base become one, at the same URLs, with dates and the uploader."""
    devpi = new_devpi(sandbox)
    stands_for = {
        "/srv/devpi": str(devpi.folder),
        "/srv/devpi-export": str(sandbox.folder / "export"),
        "https://old.example.com": devpi.url,
        "PASSWORD": PASSWORD,
    }
    guide = new_guide("devpi", stands_for)
    guide.add_program("devpi-export", f'exec {program("devpi", "devpi-export")} "$@"')
    before = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - beside devpi's clock
    with devpi.serving():
        stock(sandbox, devpi, old_release, other)
        pages = f"{devpi.url}/ana/dev/+simple/"
        install(sandbox, pages, old_release)
        seen = guide.wheelyard("import", "--dry-run", pages)
    guide.settings.mkdir()
    digest = hashlib.sha1(PASSWORD.encode()).digest()  # noqa: S324 - the test's own file
    (guide.settings / "htpasswd").write_text(f"ana:{{SHA}}{b64encode(digest).decode()}\n")

    assert "would import 4 files\n" in seen
    assert "imported 4 files\n" in guide.type("Import")
    guide.write("Server configuration")
    with guide.serving():
        guide.type("Client configuration")

    old_release.assert_installed(python)
    files = {**guide.files("acme-core"), **guide.files("acme-tools")}
    for name, digest_before in (digests(old_release) | digests(other)).items():
        assert files[name].sha256 == digest_before
        assert files[name].uploaded_by == "ana"
        assert before <= files[name].uploaded_at <= datetime.now(UTC)  # noqa: TID251
    assert files["acme_core-1.1.tar.gz"].uploaded_by == "htpasswd:ana"


def stock(sandbox: Sandbox, devpi: Devpi, old: Built, other: Built) -> None:
    """Fill two indexes of devpi, one of which has the other as its base."""
    login = devpi.add_user("ana")
    devpi.add_index(login, "ana/base")
    devpi.add_index(login, "ana/dev", "ana/base")
    twine(sandbox, f"{devpi.url}/ana/base/", "ana", other.wheel, other.sdist)
    twine(sandbox, f"{devpi.url}/ana/dev/", "ana", old.wheel, old.sdist)


def make_dumb_pypi(sandbox: Sandbox, old: Built, other: Built) -> Path:
    """Make a site with dumb-pypi, from a list with all supported fields."""
    site = sandbox.folder / "site"
    (site / "pool").mkdir(parents=True)
    lines = []
    for file in (old.wheel, old.sdist, other.wheel, other.sdist):
        shutil.copy(file, site / "pool")
        line = {
            "filename": file.name,
            "hash": f"sha256={sha256(file)}",
            "requires_python": ">=3.9",
            "uploaded_by": "ana",
            "upload_timestamp": int(THEN.timestamp()),
        }
        if file == other.wheel:
            line["yanked_reason"] = REASON
        lines.append(json.dumps(line))
    fed = sandbox.folder / "list.json"
    fed.write_text("\n".join(lines))
    where = ["--packages-url", "../../pool/", "--output-dir", str(site)]
    sandbox.run(program("dumb-pypi"), "--package-list-json", fed, *where)
    return site


def install(sandbox: Sandbox, url: str, project: Built) -> None:
    """Install from the old index, and see that it works."""
    python = sandbox.python("before")
    options = ["install", "--no-deps", "--index-url", url]
    sandbox.run(*pip_of(python), *options, project.requirement)
    project.assert_installed(python)
