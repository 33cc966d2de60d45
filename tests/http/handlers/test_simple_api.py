"""The Simple API's pages as they are served; what is on them is shown in `tests/rendering`."""

from typing import Any
from urllib.parse import unquote, urljoin

import pytest

from tests.distributions import make_sdist, make_wheel
from tests.http.in_process import InProcessServer
from tests.http.packages import post_form
from wheelyard.model.distribution_filename import parse_name
from wheelyard.rendering.simple_pages import detail_html, detail_json

V1_JSON = "application/vnd.pypi.simple.v1+json"


def page_of(stocked_app: InProcessServer, name: str) -> dict[str, Any]:
    """Return a project's page as JSON, and see that both forms are those of its document."""
    answer = stocked_app.get(f"/simple/{name}/", ("Accept", V1_JSON))
    project = stocked_app.index.projects.get(parse_name(name))
    assert answer.body == detail_json(project)
    assert stocked_app.get(f"/simple/{name}/", ("Accept", "text/html")).body == detail_html(project)
    page: dict[str, Any] = answer.json()
    return page


def test_file_has_its_upload_time(stocked_app: InProcessServer) -> None:
    """A file has the time at which it was uploaded, and what its metadata asks for."""
    wheel_file, sdist_file, newer = page_of(stocked_app, "demo")["files"]
    asked = [file["requires-python"] for file in (wheel_file, sdist_file, newer)]
    assert asked == [">=3.9", ">=3.9", ">=3.10"]
    moments = [file["upload-time"] for file in (wheel_file, sdist_file, newer)]
    assert moments == sorted(moments)


@pytest.mark.parametrize(
    ("name", "version", "quoted"),
    [
        ("epoch", "2!1.0", "epoch-2%211.0-py3-none-any.whl"),
        ("local", "1.0+cu121", "local-1.0%2Bcu121-py3-none-any.whl"),
    ],
)
def test_special_characters_of_versions_are_encoded_in_links(
    stocked_app: InProcessServer, name: str, version: str, quoted: str
) -> None:
    """Epochs and local versions are encoded in links, and plain everywhere else."""
    document = page_of(stocked_app, name)
    (file,) = document["files"]

    assert (document["versions"], file["filename"]) == ([version], unquote(quoted))
    assert file["url"].endswith(f"/{quoted}")
    for url in (file["url"], unquote(file["url"])):
        assert len(stocked_app.get(urljoin(f"/simple/{name}/", url)).body) == file["size"]


def test_markup_in_a_reason_is_text(stocked_app: InProcessServer) -> None:
    """Reasons with markup in them come back as they were given."""
    reason = '</a><script>alert(1)</script> & "worse" \u00ad \U0001f4a9'
    stocked_app.publish(make_wheel("hostile", "1.0", "Requires-Python: >=3.9,<4,!=3.9.1"))
    stocked_app.change("hostile", "yank", version="1.0", reason=reason)
    stocked_app.change("hostile", "status", status="deprecated", reason=reason)
    document = page_of(stocked_app, "hostile")

    assert document["files"][0]["yanked"] == reason
    assert document["project-status"] == {"status": "deprecated", "reason": reason}


@pytest.mark.parametrize("status", ["archived", "deprecated", "quarantined"])
def test_status_is_shown_with_its_reason(stocked_app: InProcessServer, status: str) -> None:
    """A status is shown with its reason; only quarantine hides files (PEP 792)."""
    name = f"was-{status}"
    stocked_app.publish(make_wheel(name))
    stocked_app.change(name, "status", status=status, reason="see <camelot>")
    document = page_of(stocked_app, name)

    assert document["project-status"] == {"status": status, "reason": "see <camelot>"}
    assert len(document["files"]) == (status != "quarantined")
    assert post_form(stocked_app, make_wheel(name, "1.1")).status == (
        200 if status == "deprecated" else 403
    )

    stocked_app.change(name, "status", status="active")
    assert "project-status" not in page_of(stocked_app, name)


def test_deleted_project_is_an_empty_page(stocked_app: InProcessServer) -> None:
    """A project whose files are all deleted is an empty page, not a missing one."""
    stocked_app.publish(make_wheel("hollow"), make_sdist("hollow"))
    stocked_app.change("hollow", "delete", version="1.0")
    document = page_of(stocked_app, "hollow")

    assert (document["files"], document["versions"]) == ([], [])
    assert '"name":"hollow"' in stocked_app.get("/simple/", ("Accept", V1_JSON)).text


def test_spellings_of_a_name_are_one_project(stocked_app: InProcessServer) -> None:
    """However a project is spelled, it is one, under its normal name."""
    stocked_app.publish(
        make_wheel("Odd.Name", "1.0"),
        make_wheel("odd_name", "1.1"),
        make_wheel("ODD-NAME", "1.2"),
    )
    document = page_of(stocked_app, "odd-name")

    assert document["name"] == "odd-name"
    assert document["versions"] == ["1.0", "1.1", "1.2"]
