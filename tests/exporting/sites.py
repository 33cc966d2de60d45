"""A static site as its readers find it, and ways to watch an export and to end it."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from msgspec.structs import replace

from tests.rendering.atom import parse_feed
from tests.storage.wrapping import WrappedStore
from wheelyard.catalog.keys import FILES
from wheelyard.operations.exporting.manifest import MANIFEST_PATH
from wheelyard.operations.exporting.site_distributions import Site
from wheelyard.storage.base import Key, ObjectVersion, Store, WebType

T = TypeVar("T")

HEEDING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from wheelyard.cli.main import main; main()"
)
"""The command, also where the tests run in the background of a shell, which ignores Ctrl-C."""
BASE = "https://packages.example.com/all/of/them"
"""The base URL of the sites."""
HOME = "wheelyard-export/"
MANIFEST = str(MANIFEST_PATH)

TO_COME = {"", "simple/", "feed.xml"}
"""The pages of a new site that come last, though every page links to them."""
NO_PAGES = {"favicon.ico", "robots.txt", "health"}
Read = Callable[[str], bytes | None]
"""Gives what is at a path of a site."""


class ExportKilled(BaseException):
    """Raised to kill an export."""


@dataclass
class ObservedSite(WrappedStore):
    """
    A site's store that reports every call before it happens: its verb, and the path.

    What `on_call` raises, the call does. A put of something that pages link to is a `file`.
    """

    store: Store
    on_call: Callable[[str, str], None]

    def _call(self, verb: str, key: str, act: Callable[[], T]) -> T:
        self.on_call("file" if verb == "put" and key.startswith(FILES) else verb, key)
        return act()


def observed(site: Site, on_call: Callable[[str, str], None]) -> Site:
    """Return a site that tells of every call that is about to happen."""

    def link_file(key: Key, source: Path) -> None:
        on_call("file", key)
        assert site.link_file is not None
        site.link_file(key, source)

    def copy_object(key: Key, expect: ObjectVersion, kind: WebType) -> None:
        on_call("file", key)
        assert site.copy_object is not None
        site.copy_object(key, expect, kind)

    return replace(
        site,
        store=ObservedSite(site.store, on_call),
        link_file=site.link_file and link_file,
        copy_object=site.copy_object and copy_object,
    )


WRITES = frozenset({"put", "file", "delete"})


@dataclass
class Log:
    """The calls of an export on a site."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, verb: str, path: str) -> None:
        """Take note of a call."""
        self.calls.append((verb, path))

    @property
    def writes(self) -> list[tuple[str, str]]:
        """The calls that change something."""
        return [call for call in self.calls if call[0] in WRITES]

    def paths(self, verb: str) -> set[str]:
        """Return where a verb was used."""
        return {path for each, path in self.calls if each == verb}


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file of a site, but for what only an export reads."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {path: body for path, body in files.items() if not path.startswith((".", HOME))}


def reader(folder: Path) -> Read:
    """Return what reads a site in a folder as a web server does."""

    def read(path: str) -> bytes | None:
        place = folder / path
        try:
            return (place / "index.html" if place.is_dir() else place).read_bytes()
        except FileNotFoundError:
            return None

    return read


def pages_of(folder: Path) -> list[str]:
    """Return the paths of a site's pages."""
    # a folder may be taken away while somebody looks, which `rglob` would not stand
    paths = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return [path for path in (str(each.relative_to(folder)) for each in paths) if is_page(path)]


def is_page(path: str) -> bool:
    """Return whether something of a site is a page."""
    return not (path.startswith((".", HOME, FILES, "-/assets/")) or path.endswith(".gz"))


def broken(read: Read, pages: list[str], *, is_begun: bool = False) -> list[str]:
    """
    Return every link of these pages that does not lead to what it promises.

    Args:
        read: Gives what is there.
        pages: Their paths.
        is_begun: Whether the site may lack pages yet that every page links to.

    The page of a project may be missing where its other pages are there already: it is written
    after them, and nothing else links to them before.
    """

    def is_to_come(page: str, link: Link) -> bool:
        folder = "/".join(page.split("/", 2)[:2]) + "/"
        is_in_project = page.startswith("project/") and link.path.startswith(folder)
        if is_begun and link.path in TO_COME:
            return True
        return is_in_project and read(folder) is None

    return [
        f"{page}: {link}"
        for page in pages
        for link in links(page, read(page) or b"")
        if not (_is_kept(read, link) or is_to_come(page, link))
    ]


@dataclass(frozen=True)
class Link:
    """A link of a page, and what it promises."""

    path: str
    sha256: str = ""
    metadata: str = ""


@lru_cache(10_000)  # a site is looked at again after each step
def links(page: str, body: bytes) -> tuple[Link, ...]:
    """Return the links of a page to the site itself."""
    return tuple(dict.fromkeys(_links(page, body)))


def _links(page: str, body: bytes) -> Iterator[Link]:
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
        yield from parser.found


def _is_kept(read: Read, link: Link) -> bool:
    body = read(link.path)
    if body is None or link.sha256 not in ("", hashlib.sha256(body).hexdigest()):
        return False
    if not link.metadata:
        return True
    core = read(f"{link.path}.metadata")
    return core is not None and hashlib.sha256(core).hexdigest() == link.metadata


def _links_of_json(page: str, fields: dict[str, list[dict[str, object]]]) -> Iterator[Link]:
    for each in fields.get("projects", ()):
        yield Link(f"simple/{each['name']}/")
    for file in (*fields.get("files", ()), *fields.get("urls", ())):
        core, url = file["core-metadata"], str(file["url"])
        digests = file.get("hashes") or file.get("digests")
        assert isinstance(digests, dict)
        metadata = core["sha256"] if isinstance(core, dict) else ""
        yield Link(_path_of(page, url), digests["sha256"], metadata)


class _Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Link] = []
        self._page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = {name: value or "" for name, value in attrs}
        for name in ("src", "data-src"):
            if name in fields:
                self.found.append(Link(_path_of(self._page, fields[name])))
        if tag not in {"a", "link"} or "nofollow" in fields.get("rel", ""):
            return
        fragment = urldefrag(fields["href"]).fragment
        sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        metadata = fields.get("data-core-metadata", "").removeprefix("sha256=")
        self.found.append(Link(_path_of(self._page, fields["href"]), sha256, metadata))


def _path_of(page: str, url: str) -> str:
    """Return where in a site a link leads; one that leaves the site is nowhere."""
    whole = urldefrag(urljoin(f"{BASE}/{page}", url)).url
    assert whole.startswith(f"{BASE}/"), (page, url)
    return unquote(urlsplit(whole).path.removeprefix(urlsplit(BASE).path).lstrip("/"))
