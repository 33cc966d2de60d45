"""PyPI's JSON about a project and about one release."""

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.http.in_process import InProcessServer


@pytest.fixture(scope="module")
def app_with_releases(stocked_app: InProcessServer) -> InProcessServer:
    """The application with three releases of one project: the middle one final and not yanked."""
    stocked_app.publish(make_wheel("whole", "1.0"), make_sdist("whole", "1.0"))
    stocked_app.publish(make_wheel("whole", "1.1"), make_wheel("whole", "2.0rc1"))
    stocked_app.change("whole", "yank", version="1.1", reason="broken")
    return stocked_app


def test_file_facts_are_those_of_the_simple_api(app_with_releases: InProcessServer) -> None:
    """A file has the whole shape, and its facts are those of the Simple API."""
    simple = app_with_releases.get("/simple/whole/", ("Accept", "application/json")).json()["files"]
    by_name = {file["filename"]: file for file in simple}
    releases = app_with_releases.get("/pypi/whole/json").json()["releases"]

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
        assert len(app_with_releases.get(file["url"]).body) == file["size"]
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
    app_with_releases: InProcessServer, path: str
) -> None:
    """Name and version may have any spelling, with or without a slash at the end."""
    answer = app_with_releases.get(path)
    assert answer.status == 200
    assert answer.json()["info"]["name"] == "whole"


def test_project_without_files_has_no_release(stocked_app: InProcessServer) -> None:
    """A project without files has no release to describe, and its page says so."""
    stocked_app.publish(make_wheel("emptied"))
    stocked_app.change("emptied", "delete", version="1.0")
    assert stocked_app.get("/pypi/emptied/json").status == 404
    page = stocked_app.get("/project/emptied/", ("Accept", "text/html")).text
    assert "all of them were deleted" in page
    stocked_app.publish(make_wheel("locked"))
    stocked_app.change("locked", "status", status="quarantined")
    assert stocked_app.get("/pypi/locked/json").status == 404
