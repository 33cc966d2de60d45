"""What RFC 4287 asks of a feed, and the entries of one that meets it."""

import re
from dataclasses import dataclass
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

ATOM = "{http://www.w3.org/2005/Atom}"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
ALLOWED = {
    "feed": {"id", "title", "subtitle", "updated", "link", "author", "entry"},
    "entry": {"id", "title", "updated", "published", "link", "author", "content"},
    "author": {"name"},
}
ONCE = {"id", "title", "updated"}


@dataclass(frozen=True)
class Entry:
    """An entry as a feed reader has it."""

    id: str
    title: str
    link: str
    updated: str
    author: str
    text: str


@dataclass(frozen=True)
class Feed:
    """A feed as a feed reader has it."""

    id: str
    title: str
    updated: str
    links: dict[str, str]
    entries: list[Entry]


def parse_feed(body: bytes, url: str = "https://elsewhere.example/") -> Feed:
    """Return a feed that was found at `url`, with absolute links; fail if it is not valid."""
    root = ET.fromstring(body)  # noqa: S314 - of this project
    assert root.tag == f"{ATOM}feed"
    _check(root)
    entries = [_entry(each, url) for each in root.iterfind(f"{ATOM}entry")]
    assert len({entry.id for entry in entries}) == len(entries), "an id is there twice"
    links = {each.attrib["rel"]: urljoin(url, each.attrib["href"]) for each in _all(root, "link")}
    return Feed(_one(root, "id"), _one(root, "title"), _one(root, "updated"), links, entries)


def _entry(element: ET.Element, url: str) -> Entry:
    _check(element)
    (author,), (content,), (link,) = (_all(element, tag) for tag in ("author", "content", "link"))
    _check(author)
    assert (link.attrib["rel"], content.attrib["type"]) == ("alternate", "text")
    name = _one(author, "name")
    assert name.strip(), "an author has a name"
    return Entry(
        _one(element, "id"),
        _one(element, "title"),
        urljoin(url, link.attrib["href"]),
        _one(element, "updated"),
        name,
        content.text or "",
    )


def _check(element: ET.Element) -> None:
    tag = element.tag.removeprefix(ATOM)
    children = [each.tag.removeprefix(ATOM) for each in element]
    assert set(children) <= ALLOWED[tag], children
    if tag == "author":
        return
    assert all(children.count(each) == 1 for each in ONCE), children
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", _one(element, "id"))
    for name in ("updated", "published"):
        assert all(TIME.fullmatch(each.text or "") for each in _all(element, name))


def _all(element: ET.Element, tag: str) -> list[ET.Element]:
    return element.findall(f"{ATOM}{tag}")


def _one(element: ET.Element, tag: str) -> str:
    (found,) = _all(element, tag)
    return found.text or ""
