"""Imported files as they are served: byte for byte, and with nothing promised that is not there."""

import hashlib
from datetime import UTC, datetime

import pytest

from tests.archive.builders import sdist_bytes, wheel_bytes
from tests.distributions import Distribution
from tests.http.servers import RunningServer
from tests.operations.fake_sources import FakeFiles, FakeSource
from tests.operations.in_memory_index import ALICE
from tests.operations.old_files import EGG, INSTALLER, list_old_file
from wheelyard.operations.importing.parallel_import import Importer

pytestmark = pytest.mark.integration

JSON = "application/vnd.pypi.simple.v1+json"
THEN = datetime(2014, 5, 6, 7, 8, 9, tzinfo=UTC)
OLD = b"Metadata-Version: 1.1\nName: demo\nVersion: 1.0\nSummary: Old\nRequires-Dist: x (>=\n"

FILES = {
    made.filename: made
    for made in (
        Distribution("demo-1.0-py3-none-any.whl", wheel_bytes(metadata=OLD)),
        Distribution("demo-1.0.tar.gz", sdist_bytes(pkg_info=None)),
        EGG,
        INSTALLER,
        Distribution("bare-1.0.tar.gz", sdist_bytes(pkg_info=None, top=b"bare-1.0")),
    )
}
WAIVED = {
    "demo-1.0-py3-none-any.whl": ("invalid_metadata",),
    "demo-1.0.tar.gz": ("missing_metadata",),
    EGG.filename: ("invalid_filename", "missing_metadata"),
    INSTALLER.filename: ("invalid_filename", "missing_metadata"),
}


@pytest.fixture(scope="module")
def server_with_old_files(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> RunningServer:
    """The server with a project that has every kind of old file, and one without any metadata."""
    index, files = server.index, FakeFiles()
    for made in (EGG, INSTALLER):
        list_old_file(index.uploads, made, tmp_path_factory.mktemp("old"), THEN)
    taken = [made for made in FILES.values() if made not in (EGG, INSTALLER)]
    offers = [files.offer(made, uploaded_at=THEN, uploaded_by="<ann>") for made in taken]
    report = Importer(index.uploads.with_waivers).run(FakeSource(offers), ALICE)
    assert report.refused == []
    return server


def test_imported_file_is_listed_with_its_time(server_with_old_files: RunningServer) -> None:
    """Every file is listed with its source's time; metadata is promised where there is some."""
    page = server_with_old_files.get("/simple/demo/", accept=JSON).json()

    promised = {file["filename"]: bool(file["core-metadata"]) for file in page["files"]}
    assert promised == {name: name.endswith(".whl") for name in WAIVED}
    assert {file["upload-time"] for file in page["files"]} == {"2014-05-06T07:08:09.000000Z"}
    html = server_with_old_files.get("/simple/demo/", accept="text/html").text
    assert html.count("data-core-metadata") == 1


@pytest.mark.parametrize("filename", FILES)
def test_imported_file_is_served_byte_for_byte(
    server_with_old_files: RunningServer, filename: str
) -> None:
    """Every file is served byte for byte, by key and by name; its metadata only if it has some."""
    name, body = filename.partition("-")[0], FILES[filename].body
    path = f"/files/{name}/{hashlib.sha256(body).hexdigest()}/{filename}"

    for each in (path, f"/files/{name}/{filename}", f"/packages/{filename}"):
        assert server_with_old_files.get(each).content == body
    metadata = server_with_old_files.get(f"{path}.metadata")
    assert metadata.status_code == (200 if filename.endswith(".whl") else 404)
    assert metadata.content == OLD or metadata.status_code == 404


def test_json_names_every_kind_as_pypi_does(server_with_old_files: RunningServer) -> None:
    """PyPI's JSON names every kind as PyPI does, and shows what can be read of the metadata."""
    page = server_with_old_files.get("/pypi/demo/json").json()

    kinds = {file["filename"]: file["packagetype"] for file in page["urls"]}
    assert kinds == {
        "demo-1.0-py3-none-any.whl": "bdist_wheel",
        "demo-1.0.tar.gz": "sdist",
        "demo-1.0-py2.7.egg": "bdist_egg",
        "demo-1.0.win32-py2.7.exe": "bdist_wininst",
    }
    assert {file["python_version"] for file in page["urls"]} == {"py3", "source", "2.7"}
    assert (page["info"]["summary"], page["info"]["requires_dist"]) == ("Old", None)
    assert not any(file["core-metadata"] for file in page["urls"] if "whl" not in file["filename"])


def test_project_without_metadata_has_all_pages(server_with_old_files: RunningServer) -> None:
    """A project none of whose files has metadata has its JSON and its page."""
    info = server_with_old_files.get("/pypi/bare/json").json()["info"]

    assert (info["name"], info["version"], info["summary"]) == ("bare", "1.0", "")
    assert server_with_old_files.get("/project/bare/", accept="text/html").status_code == 200


def test_page_says_which_rules_were_waived(server_with_old_files: RunningServer) -> None:
    """The page for people says which rules a file fails that was taken all the same."""
    page = server_with_old_files.get("/project/demo/files/", accept="text/html").text

    for codes in WAIVED.values():
        assert f"imported as it is: {', '.join(codes)}<" in page
    assert '<bdi class="id">&lt;ann&gt;<' in page
