"""PyPI's JSON about a project and about one release."""

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.http.packages import publish
from tests.http.servers import RunningServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server_with_releases(server: RunningServer) -> RunningServer:
    """The server with three releases of one project: the middle one final and not yanked."""
    publish(server, make_wheel("whole", "1.0"), make_sdist("whole", "1.0"))
    publish(server, make_wheel("whole", "1.1"), make_wheel("whole", "2.0rc1"))
    server.change("whole", "yank", version="1.1", reason="broken")
    return server


def test_file_facts_are_those_of_the_simple_api(server_with_releases: RunningServer) -> None:
    """A file has the whole shape, and its facts are those of the Simple API."""
    simple = server_with_releases.get("/simple/whole/", Accept="application/json").json()["files"]
    by_name = {file["filename"]: file for file in simple}
    releases = server_with_releases.get("/pypi/whole/json").json()["releases"]

    for file in (file for files in releases.values() for file in files):
        same = by_name[file["filename"]]
        assert file["digests"] == same["hashes"]
        assert file["size"] == same["size"]
        assert file["core-metadata"] == same["core-metadata"]
        assert file["upload_time_iso_8601"] == same["upload-time"]
        assert file["upload_time"] == same["upload-time"][:19]
        assert file["requires_python"] == same.get("requires-python")
        assert file["yanked"] == bool(same["yanked"])
        assert file["yanked_reason"] == (same["yanked"] or None)
        assert len(server_with_releases.get(file["url"]).content) == file["size"]
    kinds = [(file["packagetype"], file["python_version"]) for file in releases["1.0"]]
    assert kinds == [("bdist_wheel", "py3"), ("sdist", "source")]


@pytest.mark.parametrize(
    "path",
    [
        *("/pypi/whole/json/", "/pypi/Whole/json", "/pypi/WHOLE/1.0/json", "/pypi/whole/1/json/"),
        *("/pypi/whole/1.0.0/json", "/pypi/whole/v1.0/json", "/pypi/whole/2.0-rc.1/json"),
    ],
)
def test_name_and_version_may_have_any_spelling(
    server_with_releases: RunningServer, path: str
) -> None:
    """Name and version may have any spelling, with or without a slash at the end."""
    answer = server_with_releases.get(path)
    assert answer.status_code == 200
    assert answer.json()["info"]["name"] == "whole"


def test_project_without_files_has_no_release(server: RunningServer) -> None:
    """A project without files has no release to describe, and its page says so."""
    publish(server, make_wheel("emptied"))
    server.change("emptied", "delete", version="1.0")
    assert server.get("/pypi/emptied/json").status_code == 404
    page = server.get("/project/emptied/", Accept="text/html").text
    assert "all of them were deleted" in page
    publish(server, make_wheel("locked"))
    server.change("locked", "status", status="quarantined")
    assert server.get("/pypi/locked/json").status_code == 404
