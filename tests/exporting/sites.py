"""A static site as its readers find it: what it has, and where its links lead."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from msgspec import Struct

from tests.operations.in_memory_index import objects
from tests.rendering.atom import parse_feed
from wheelyard.catalog.keys import FILES
from wheelyard.exporting.manifest import MANIFEST_PATH
from wheelyard.storage.base import Store

BASE = "https://packages.example.com/all/of/them"
"""The base URL of the sites."""
MANIFEST = str(MANIFEST_PATH)
NO_PAGES = {"favicon.ico", "robots.txt", "health"}
Site = Mapping[str, bytes]
"""The bytes at each path."""


def tree(site: Path | Store) -> dict[str, bytes]:
    """Return everything in a site but its manifest."""
    if isinstance(site, Path):
        found = {
            str(path.relative_to(site)): path.read_bytes()
            for path in site.rglob("*")
            if path.is_file()
        }
    else:
        found = dict(objects(site))
    found.pop(MANIFEST, None)
    return found


def pages_of(site: Site) -> set[str]:
    """Return the paths of a site's pages."""
    others = (FILES, "-/assets/")
    return {path for path in site if not path.startswith(others) and not path.endswith(".gz")}


class Link(Struct, frozen=True):
    """A link of a page, and what it promises."""

    path: str
    sha256: str = ""
    metadata: str = ""


def broken(site: Site, *, is_written_now: bool = False) -> list[str]:
    """
    Return every link of a site's pages that does not lead to what it promises.

    While an export writes the site, those of pages for people may lead to what comes later.
    """
    pages = pages_of(site)
    if is_written_now:
        pages = {path for path in pages if path.startswith(("simple/", "pypi/"))}
    return [
        f"{page}: {link}"
        for page in sorted(pages)
        for link in _links(page, site[page])
        if not _is_kept(site, link)
    ]


def _is_kept(site: Site, link: Link) -> bool:
    is_folder = link.path.endswith("/") or not link.path
    body = site.get(link.path, site.get(f"{link.path}index.html") if is_folder else None)
    if body is None or link.sha256 not in ("", _digest(body)):
        return False
    metadata = site.get(f"{link.path}.metadata")
    return not link.metadata or (metadata is not None and _digest(metadata) == link.metadata)


@lru_cache(10_000)  # a site is looked at again after each step
def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@lru_cache(10_000)
def _links(page: str, body: bytes) -> tuple[Link, ...]:
    return tuple(dict.fromkeys(_links_in(page, body)))


def _links_in(page: str, body: bytes) -> Iterator[Link]:
    if page in NO_PAGES:
        return
    if page == "search.json":
        for name, *_ in json.loads(body):
            yield Link(f"project/{name}/")
    elif page.endswith("feed.xml"):
        feed = parse_feed(body, f"{BASE}/{page}")
        for url in (*feed.links.values(), *(entry.link for entry in feed.entries)):
            yield Link(_path_of(page, url))
    elif page.endswith("json"):
        yield from _links_of_json(page, json.loads(body))
    else:
        parser = _Links(page)
        parser.feed(body.decode())
        parser.close()
        yield from parser.links


def _links_of_json(page: str, fields: dict[str, list[dict[str, object]]]) -> Iterator[Link]:
    for project in fields.get("projects", ()):
        yield Link(f"simple/{project['name']}/")
    for file in (*fields.get("files", ()), *fields.get("urls", ())):
        core, url = file["core-metadata"], str(file["url"])
        digests = file.get("hashes") or file.get("digests")
        assert isinstance(digests, dict)
        metadata = core["sha256"] if isinstance(core, dict) else ""
        yield Link(_path_of(page, url), digests["sha256"], metadata)


class _Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[Link] = []
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = {name: value or "" for name, value in attrs}
        for name in ("src", "data-src"):
            if name in fields:
                self.links.append(Link(_path_of(self._page, fields[name])))
        if tag not in {"a", "link"} or "nofollow" in fields.get("rel", ""):
            return
        fragment = urldefrag(fields["href"]).fragment
        sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        metadata = fields.get("data-core-metadata", "").removeprefix("sha256=")
        self.links.append(Link(_path_of(self._page, fields["href"]), sha256, metadata))


def _path_of(page: str, url: str) -> str:
    """Return where in a site a link leads; one that leaves the site is nowhere."""
    whole = urldefrag(urljoin(f"{BASE}/{page}", url)).url
    assert whole.startswith(f"{BASE}/"), (page, url)
    return unquote(urlsplit(whole).path.removeprefix(urlsplit(BASE).path).lstrip("/"))
