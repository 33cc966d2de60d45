"""The Simple API's pages: JSON and HTML say the same, and say it as the standards have it."""

import re
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from tests.http.packages import post, publish, sdist, wheel
from tests.http.servers import Site

pytestmark = pytest.mark.integration

V1_JSON = "application/vnd.pypi.simple.v1+json"
HOSTILE = [
    "breaks on <3.14> & \"worse\" 'still'",
    "</a><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "&amp; &lt; &#x3c;",
    "grüße \u00ad \U0001f4a9",
    "a\u00a0b",
]
HATCH = re.compile(r"<a [^>]+>([^<]+)</a>")
"""How Hatch finds the files that are there already."""

Page = dict[str, Any]


class Links(HTMLParser):
    """The anchors and the `meta` elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.anchors: list[dict[str, str | None]] = []
        self.meta: dict[str | None, str | None] = {}
        self.tags: set[str] = set()
        self._inside = False
        self.feed(page)

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


def both(site: Site, name: str) -> tuple[Page, Links, str]:
    """Return a project's page as JSON, as HTML, and the text of the latter."""
    document = site.get(f"/simple/{name}/", Accept=V1_JSON).json()
    text = site.get(f"/simple/{name}/", Accept="text/html").text
    return document, Links(text), text


def assert_same(document: Page, links: Links, text: str) -> None:
    """Both forms have the same files, and the same of each."""
    assert links.meta.get("pypi:repository-version") == document["meta"]["api-version"] == "1.4"
    status = document.get("project-status", {"status": "active"})
    assert links.meta.get("pypi:project-status", "active") == status["status"]
    assert links.meta.get("pypi:project-status-reason") == status.get("reason")
    assert [a["text"] for a in links.anchors] == [f["filename"] for f in document["files"]]
    assert HATCH.findall(text) == [file["filename"] for file in document["files"]]
    for anchor, file in zip(links.anchors, document["files"], strict=True):
        assert from_html(anchor) == from_json(file)
    assert links.tags <= {"html", "head", "meta", "title", "body", "a"}


def from_html(anchor: dict[str, str | None]) -> tuple[object, ...]:
    """Return what an anchor says of a file."""
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


def from_json(file: Page) -> tuple[object, ...]:
    """Return what JSON says of a file, in the words of HTML."""
    metadata, yanked = file["core-metadata"], file["yanked"]
    return (
        (file["url"], f"sha256={file['hashes']['sha256']}"),
        file.get("requires-python"),
        f"sha256={metadata['sha256']}" if metadata else None,
        None if yanked is False else "" if yanked is True else yanked,
        (str(file["size"]), file["upload-time"]),
    )


def test_list_of_projects(stocked: Site) -> None:
    """The list has every project once, in order, by relative links, and nothing else."""
    document = stocked.get("/simple/", Accept=V1_JSON).json()
    links = Links(stocked.get("/simple/", Accept="text/html").text)

    names = [each["name"] for each in document["projects"]]
    assert names == sorted(set(names))
    assert document == {"meta": {"api-version": "1.4"}, "projects": [{"name": n} for n in names]}
    assert [(a["href"], a["text"]) for a in links.anchors] == [(f"{n}/", n) for n in names]
    assert links.meta["pypi:repository-version"] == "1.4"


@pytest.mark.parametrize("name", ["demo", "epoch", "local"])
def test_both_forms_say_the_same(stocked: Site, name: str) -> None:
    """HTML and JSON of a project hold the same facts."""
    assert_same(*both(stocked, name))


def test_keys_of_a_file(stocked: Site) -> None:
    """A file has the keys of the standard and no others; absent ones are not null."""
    wheel_file, sdist_file, newer = both(stocked, "demo")[0]["files"]

    assert wheel_file.keys() == {
        *("filename", "url", "hashes", "requires-python", "core-metadata"),
        *("yanked", "size", "upload-time"),
    }
    assert wheel_file["requires-python"] == sdist_file["requires-python"] == ">=3.9"
    assert newer["requires-python"] == ">=3.10"
    assert list(wheel_file["hashes"]) == ["sha256"]
    assert "requires-python" not in both(stocked, "epoch")[0]["files"][0]
    moment = wheel_file["upload-time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", moment)
    assert abs((datetime.fromisoformat(moment) - stocked.index.ambient.now()).total_seconds()) < 300


@pytest.mark.parametrize(
    ("name", "version", "quoted"),
    [
        ("epoch", "2!1.0", "epoch-2%211.0-py3-none-any.whl"),
        ("local", "1.0+cu121", "local-1.0%2Bcu121-py3-none-any.whl"),
    ],
)
def test_versions_with_special_characters(
    stocked: Site, name: str, version: str, quoted: str
) -> None:
    """Epochs and local versions are encoded in links, and plain everywhere else."""
    document, links, _ = both(stocked, name)
    (file,) = document["files"]

    assert document["versions"] == [version]
    assert file["filename"] == links.anchors[0]["text"] == unquote(quoted)
    assert file["url"].endswith(f"/{quoted}")
    plain = urljoin(f"/simple/{name}/", unquote(file["url"]))
    for path in (urljoin(f"/simple/{name}/", file["url"]), plain):
        assert len(stocked.get(path).content) == file["size"]


@pytest.mark.parametrize("reason", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_reasons(site: Site, reason: str) -> None:
    """Reasons with markup in them come back as they were given, in both forms (P20)."""
    publish(site, wheel("hostile", "1.0", "Requires-Python: >=3.9,<4,!=3.9.1"))
    site.change("hostile", "yank", version="1.0", reason=reason)
    site.change("hostile", "status", status="deprecated", reason=reason)
    document, links, text = both(site, "hostile")

    assert document["files"][0]["yanked"] == links.anchors[0]["data-yanked"] == reason
    assert document["project-status"] == {"status": "deprecated", "reason": reason}
    assert_same(document, links, text)


def test_yank_and_unyank(site: Site) -> None:
    """A yank without a reason is `true`, with one it is the reason, and it can be taken back."""
    publish(site, wheel("wavering", "1.0"), sdist("wavering", "1.0"), wheel("wavering", "1.1"))

    def states() -> list[object]:
        document, links, text = both(site, "wavering")
        assert_same(document, links, text)
        return [file["yanked"] for file in document["files"]]

    site.change("wavering", "yank", version="1.0")
    assert states() == [True, True, False]
    site.change("wavering", "yank", version="1.0", file="wavering-1.0.tar.gz", reason="old")
    assert states() == [True, "old", False]
    site.change("wavering", "unyank", version="1.0")
    assert states() == [False, False, False]


@pytest.mark.parametrize("status", ["archived", "deprecated", "quarantined"])
def test_status(site: Site, status: str) -> None:
    """A status is shown with its reason; only quarantine hides files (PEP 792)."""
    name = f"was-{status}"
    publish(site, wheel(name))
    site.change(name, "status", status=status, reason="see <camelot>")
    document, links, text = both(site, name)

    assert document["project-status"] == {"status": status, "reason": "see <camelot>"}
    assert_same(document, links, text)
    assert len(document["files"]) == (status != "quarantined")
    assert document["versions"] == ([] if status == "quarantined" else ["1.0"])
    assert post(site, wheel(name, "1.1")).status_code == (200 if status == "deprecated" else 403)

    site.change(name, "status", status="active")
    assert "project-status" not in both(site, name)[0]


def test_deleted_project_is_an_empty_page(site: Site) -> None:
    """A project whose files are all deleted is an empty page, not a missing one."""
    publish(site, wheel("hollow"))
    site.change("hollow", "delete", version="1.0")
    document, links, _ = both(site, "hollow")

    assert (document["files"], document["versions"], links.anchors) == ([], [], [])
    assert {"name": "hollow"} in site.get("/simple/", Accept=V1_JSON).json()["projects"]


def test_versions_are_in_order(site: Site) -> None:
    """Each version is listed once, normalised, from the oldest to the newest."""
    versions = ["1.10", "1.9", "1.9rc1", "1!0.1", "1.9.post1", "1.9+local"]
    publish(site, *(wheel("ordered", version) for version in versions), sdist("ordered", "1.9"))

    listed = both(site, "ordered")[0]["versions"]
    assert listed == ["1.9rc1", "1.9", "1.9+local", "1.9.post1", "1.10", "1!0.1"]


def test_spelling_of_a_name(site: Site) -> None:
    """However a project is spelled, it is one, under its normal name."""
    publish(site, wheel("Odd.Name", "1.0"), wheel("odd_name", "1.1"), wheel("ODD-NAME", "1.2"))
    document, links, text = both(site, "odd-name")

    assert document["name"] == "odd-name"
    assert document["versions"] == ["1.0", "1.1", "1.2"]
    assert_same(document, links, text)
