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
from wheelyard.exporting.site_folder import MANIFEST_PATH
from wheelyard.storage.base import Store

BASE = "https://packages.example.com/all/of/them"
"""The base URL of the sites."""
MANIFEST = str(MANIFEST_PATH)
Site = Mapping[str, bytes]
"""The bytes at each path."""


def tree(site: Path | Store) -> dict[str, bytes]:
    """Return everything in a site but its manifest."""
    if isinstance(site, Path):
        paths = (path for path in site.rglob("*") if path.is_file())
        bodies = {str(path.relative_to(site)): path.read_bytes() for path in paths}
    else:
        bodies = dict(objects(site))
    bodies.pop(MANIFEST, None)
    return bodies


def pages_of(site: Site) -> set[str]:
    """Return the paths of a site's pages."""
    others = (FILES, "-/assets/")
    return {path for path in site if not path.startswith(others) and not path.endswith(".gz")}


class Link(Struct, frozen=True):
    """A link of a page, and what it promises."""

    path: str
    sha256: str = ""
    metadata: str = ""

    def is_kept(self, site: Site) -> bool:
        """Whether it leads to what it promises."""
        is_folder = self.path.endswith("/") or not self.path
        body = site.get(self.path, site.get(f"{self.path}index.html") if is_folder else None)
        if body is None or self.sha256 not in ("", _digest(body)):
            return False
        metadata = site.get(f"{self.path}.metadata")
        return not self.metadata or (metadata is not None and _digest(metadata) == self.metadata)


def broken(site: Site, *, is_written_now: bool = False) -> list[str]:
    """
    Return every link of a site's pages that does not lead to what it promises.

    While an export writes the site, those of pages for people may lead to what comes later.
    """
    tops = ("simple/", "pypi/") if is_written_now else ("",)
    pages = sorted(path for path in pages_of(site) if path.startswith(tops))
    links = ((page, link) for page in pages for link in _links(page, site[page]))
    return [f"{page}: {link}" for page, link in links if not link.is_kept(site)]


@lru_cache(10_000)  # a site is looked at again after each step
def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@lru_cache(10_000)
def _links(page: str, body: bytes) -> tuple[Link, ...]:
    return tuple(dict.fromkeys(_links_in(page, body)))


def _links_in(page: str, body: bytes) -> Iterator[Link]:
    if page == "search.json":
        yield from (Link(f"project/{name}/") for name, *_ in json.loads(body))
    elif page.endswith("feed.xml"):
        feed = parse_feed(body, f"{BASE}/{page}")
        for url in (*feed.links.values(), *(entry.link for entry in feed.entries)):
            yield Link(_path_of(page, url))
    elif page.endswith("json"):
        fields = json.loads(body)
        yield from (Link(f"simple/{project['name']}/") for project in fields.get("projects", ()))
        for file in (*fields.get("files", ()), *fields.get("urls", ())):
            sha256 = (file.get("hashes") or file["digests"])["sha256"]
            metadata = (file["core-metadata"] or {}).get("sha256", "")
            yield Link(_path_of(page, file["url"]), sha256, metadata)
    elif page.endswith(".html"):
        parser = _Links(page)
        parser.feed(body.decode())
        yield from parser.links


class _Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[Link] = []
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = {name: value or "" for name, value in attrs}
        urls = [fields[name] for name in ("src", "data-src") if name in fields]
        self.links += (Link(_path_of(self._page, url)) for url in urls)
        if tag not in {"a", "link"} or "nofollow" in fields.get("rel", ""):
            return
        kind, _, digest = urldefrag(fields["href"]).fragment.partition("=")
        sha256 = digest if kind == "sha256" else ""
        metadata = fields.get("data-core-metadata", "").removeprefix("sha256=")
        self.links.append(Link(_path_of(self._page, fields["href"]), sha256, metadata))


def _path_of(page: str, url: str) -> str:
    """Return where in a site a link leads; one that leaves the site is nowhere."""
    whole = urldefrag(urljoin(f"{BASE}/{page}", url)).url
    assert whole.startswith(f"{BASE}/"), (page, url)
    return unquote(urlsplit(whole).path.removeprefix(urlsplit(BASE).path).lstrip("/"))
