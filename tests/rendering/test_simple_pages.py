"""The HTML and the JSON form of the Simple API: equal content, and as the standards require."""

import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.rendering.examples import PROJECTS, file, project
from wheelyard.model.project import Project, Status
from wheelyard.rendering.simple_pages import (
    detail_html,
    detail_json,
    distinct_versions,
    list_html,
    list_json,
)

NAMES = st.lists(
    st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?", fullmatch=True), max_size=9, unique=True
)
HATCH = re.compile(r"<a [^>]+>([^<]+)</a>")
"""The pattern by which Hatch finds existing files."""


class Page(HTMLParser):
    """The anchors, with their text, and the `meta` elements of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.anchors: list[dict[str, str | None]] = []
        self.meta: dict[str | None, str | None] = {}
        self.tags: set[str] = set()
        self._inside = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        self.tags.add(tag)
        self._inside = tag == "a"
        if tag == "a":
            assert len(dict(attrs)) == len(attrs)
            self.anchors.append({**dict(attrs), "text": ""})
        elif tag == "meta" and dict(attrs).get("name"):
            self.meta[dict(attrs)["name"]] = dict(attrs)["content"]

    def handle_endtag(self, tag: str) -> None:
        """Take the end of an element."""
        self._inside = self._inside and tag != "a"

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self._inside:
            self.anchors[-1]["text"] = (self.anchors[-1]["text"] or "") + data


def from_html(anchor: dict[str, str | None]) -> tuple[object, ...]:
    """Return the file that an anchor describes."""
    href = urlsplit(anchor["href"] or "")
    assert unquote(href.path).rpartition("/")[2] == anchor["text"]
    assert anchor.get("data-core-metadata") == anchor.get("data-dist-info-metadata")
    return (
        (href.path, href.fragment),
        anchor.get("data-requires-python"),
        anchor.get("data-core-metadata"),
        anchor.get("data-yanked"),
        (anchor["data-size"], anchor["data-upload-time"]),
    )


def from_json(file: dict[str, Any]) -> tuple[object, ...]:
    """Return a file of the JSON form, with the attribute names of the HTML form."""
    metadata, yanked = file["core-metadata"], file["yanked"]
    return (
        (file["url"], f"sha256={file['hashes']['sha256']}"),
        file.get("requires-python"),
        f"sha256={metadata['sha256']}" if metadata else None,
        None if yanked is False else "" if yanked is True else yanked,
        (str(file["size"]), file["upload-time"]),
    )


@given(PROJECTS)
def test_both_forms_agree(project: Project) -> None:
    """Whatever a project holds, HTML and JSON have its status and the same of the same files."""
    parsed, html = json.loads(detail_json(project)), detail_html(project)
    page = Page(html)
    assert page.meta["pypi:repository-version"] == parsed["meta"]["api-version"] == "1.4"
    status = parsed.get("project-status", {"status": "active"})
    assert page.meta.get("pypi:project-status", "active") == status["status"]
    assert page.meta.get("pypi:project-status-reason") == status.get("reason")
    names = [file["filename"] for file in parsed["files"]]
    served = project.status.served(project.files)
    assert [anchor["text"] for anchor in page.anchors] == HATCH.findall(html.decode()) == names
    assert names == [file.filename for file in served]
    assert list(map(from_html, page.anchors)) == list(map(from_json, parsed["files"]))
    assert page.tags <= {"html", "head", "meta", "title", "body", "a"}
    assert parsed["versions"] == distinct_versions(served, [])
    assert set(parsed["versions"]) == {each.version for each in served}


@given(NAMES)
def test_both_forms_of_the_list_agree(names: list[str]) -> None:
    """Both forms of the list of projects have the same names in the same order."""
    normal = [NormalizedName(name) for name in names]
    document, page = json.loads(list_json(normal, {})), Page(list_html(normal))
    assert document == {"meta": {"api-version": "1.4"}, "projects": [{"name": n} for n in names]}
    assert [(anchor["href"], anchor["text"]) for anchor in page.anchors] == [
        (f"{n}/", n) for n in names
    ]
    assert page.meta["pypi:repository-version"] == "1.4"


def test_file_has_the_keys_of_the_standard() -> None:
    """A file has the keys of the standard and no others; absent ones are not null."""
    plain = {"filename", "url", "hashes", "core-metadata", "yanked", "size", "upload-time"}
    for requires, keys in ((None, plain), (">=3.9", plain | {"requires-python"})):
        (parsed,) = json.loads(detail_json(project(file(requires_python=requires))))["files"]
        assert parsed.keys() == keys
        assert list(parsed["hashes"]) == ["sha256"]
        assert parsed["upload-time"] == "2026-11-20T12:00:00.000000Z"


def test_quarantine_hides_every_file() -> None:
    """A quarantined project has a page, a status, and no files."""
    page = json.loads(detail_json(project(file(), status=Status.QUARANTINED, reason="odd")))
    assert page["project-status"] == {"status": "quarantined", "reason": "odd"}
    assert (page["files"], page["versions"]) == ([], [])


def test_versions_are_in_the_order_of_releases() -> None:
    """Versions are sorted as versions, not as text, each of them once."""
    files = [file(version) for version in ("1.10", "1.9", "1!0.1", "1.9rc1", "1.9+local")]
    found = distinct_versions([*files, file("1.9", is_wheel=False)], [])
    assert found == ["1.9rc1", "1.9", "1.9+local", "1.10", "1!0.1"]
