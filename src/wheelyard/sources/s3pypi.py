"""
Import source `s3pypi`: its bucket, with `NAME/FILE`, and the page of each project beside its files.

The page is the object `NAME/` (s3pypi 1 and 2) or `NAME/index.html` (s3pypi 0, `--index.html`,
`--unsafe-s3-website`). Its links have `#sha256=...`, except those of s3pypi 0. A file that the page
does not list was not served by that index: it was removed from the page by hand, or two uploads
have replaced each other's page. There is no other metadata; the date is that of the object.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from wheelyard.http_client.address_policy import FetchError
from wheelyard.sources.candidate import Candidate, Skipped, SourceItem
from wheelyard.sources.distribution_files import distribution_files
from wheelyard.sources.field_parsing import BadDigest, parse_hash
from wheelyard.sources.file_tree import FileTree, read_bounded
from wheelyard.sources.web.html_links import Link, read_links

PAGES: Final = ("", "index.html")
"""The names of a project's page, below its folder."""
PAGE_LIMIT_BYTES: Final = 16 * 1024**2
MAX_LINKS: Final = 100_000
TITLE: Final = b"<title>Package Index</title>"

Links = Mapping[str, Link]
"""The links of a project's page, by filename."""


class S3pypiSource:
    """Source of the distributions that the pages of an s3pypi bucket list."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield each distribution with the digest in its page, and `Skipped` for unlisted ones.

        If a page cannot be used, yield a `Skipped` with the reason, and its files without digests.
        """
        current: str | None = None
        links: Links | None = None
        for file in distribution_files(self._tree):
            if isinstance(file, Skipped):
                yield file
                continue
            folder = _folder_of(file)
            if folder != current:
                current = folder
                try:
                    links = _read_links(_read_page(self._tree, folder))
                except (OSError, FetchError) as error:
                    why = f"its page cannot be used ({error}), so its files are taken without it"
                    yield Skipped(f"{self._tree}/{folder}", why, is_error=True)
                    links = None
            yield from _described(file, links)


def _described(file: Candidate, links: Links | None) -> Iterator[SourceItem]:
    if links is None:
        yield file
    elif file.filename not in links:
        why = "the page of its project does not list it (--from files imports it all the same)"
        yield Skipped(file.location, why)
    else:
        link, hashes = links[file.filename], file.hashes
        try:
            hashes = {**hashes, **parse_hash(link.href.partition("#")[2])}
        except BadDigest as error:
            why = f"{error}; the file is taken without it"
            yield Skipped(file.location, why, is_error=True)
        yield replace(file, hashes=hashes, yanked=link.yanked)


def looks_like_s3pypi(tree: FileTree, distribution: Candidate) -> bool:
    """Return whether there is a page of s3pypi beside a distribution, and lists it."""
    try:
        page = _read_page(tree, _folder_of(distribution))
        return TITLE in page and distribution.filename in _read_links(page)
    except (OSError, FetchError):
        return False


def _folder_of(file: Candidate) -> str:
    """Return the folder of a distribution, with a slash at the end; empty at the root."""
    folder, slash, _ = file.path.rpartition("/")
    return folder + slash


def _read_page(tree: FileTree, folder: str) -> bytes:
    """Return the page of the project in a folder, empty if there is none; raise OSError."""
    for name in PAGES if folder else ():
        page = tree.find(f"{folder}{name}")
        if page is not None and page.size:  # an empty one is how consoles make a folder
            return bytes(read_bounded(page, PAGE_LIMIT_BYTES))
    return b""


def _read_links(page: bytes) -> Links:
    _, links = read_links(page, "text/html", MAX_LINKS)
    return {unquote(link.href.partition("#")[0]).rpartition("/")[2]: link for link in links}
