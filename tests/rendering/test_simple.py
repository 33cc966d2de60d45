"""The two forms of a project's page, for any project there could be."""

import json
from html.parser import HTMLParser
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.rendering.examples import PROJECTS, file, project
from wheelyard.model.project import Project, Status
from wheelyard.rendering.simple import (
    detail_html,
    detail_json,
    list_html,
    list_json,
    served_files,
    versions,
)

NAMES = st.lists(
    st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?", fullmatch=True), max_size=9, unique=True
)


class Anchors(HTMLParser):
    """The attributes of each anchor, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str | None], str]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        if tag == "a":
            self.found.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        """Take text, of which only filenames count."""
        if self.found and data.strip():
            attributes, text = self.found[-1]
            self.found[-1] = (attributes, text + data.strip())


@given(PROJECTS)
def test_both_forms_agree(project: Project) -> None:
    """Whatever a project holds, HTML and JSON list the same files with the same facts."""
    page = json.loads(detail_json(project))
    anchors = Anchors(detail_html(project)).found

    assert len(anchors) == len(page["files"]) == len(served_files(project))
    for (attributes, text), said in zip(anchors, page["files"], strict=True):
        path, _, digest = (attributes["href"] or "").partition("#sha256=")
        assert (path, digest) == (said["url"], said["hashes"]["sha256"])
        assert unquote(path).rpartition("/")[2] == text == said["filename"]
        assert attributes.get("data-requires-python") == said.get("requires-python")
        yanked = attributes.get("data-yanked")
        assert said["yanked"] == (False if yanked is None else yanked or True)


@given(PROJECTS)
def test_every_file_has_a_version(project: Project) -> None:
    """`versions` covers every file, each version once."""
    page = json.loads(detail_json(project))
    assert len(set(page["versions"])) == len(page["versions"])
    assert set(page["versions"]) == {each.version for each in served_files(project)}


@given(NAMES)
def test_lists_agree(names: list[str]) -> None:
    """Both forms of the list of projects have the same names in the same order."""
    normal = [NormalizedName(name) for name in names]
    said = [each["name"] for each in json.loads(list_json(normal))["projects"]]
    anchors = Anchors(list_html(normal)).found
    assert said == names
    assert [(attributes["href"], text) for attributes, text in anchors] == [
        (f"{name}/", name) for name in names
    ]


def test_quarantine_hides_every_file() -> None:
    """A quarantined project has a page, a status, and no files."""
    page = json.loads(detail_json(project(file(), status=Status.QUARANTINED, reason="odd")))
    assert page["project-status"] == {"status": "quarantined", "reason": "odd"}
    assert (page["files"], page["versions"]) == ([], [])


def test_versions_are_in_the_order_of_releases() -> None:
    """Versions are sorted as versions, not as text."""
    files = [file(version) for version in ("1.10", "1.9", "1!0.1", "1.9rc1")]
    assert versions(files) == ["1.9rc1", "1.9", "1.10", "1!0.1"]
