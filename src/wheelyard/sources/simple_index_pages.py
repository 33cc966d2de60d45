"""A folder or a bucket that has the pages of an index, but none of the files that they name."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import BadUrl, Url, parse_url
from wheelyard.sources.candidate import (
    SITE_FILES,
    Candidate,
    bad_source,
    is_distribution_name,
)
from wheelyard.sources.file_tree import FileTree, FolderTree, distribution_files, read_bounded
from wheelyard.sources.simple_page import FetchedPage, read_simple_page

PACKAGE_LIST: Final = "packages.json"
"""The list at the root of a site of dumb-pypi."""
PAGE_SUFFIXES: Final = (".html", ".htm", ".json", ".v1_json", ".v1_html")
"""Suffixes of pages, also as mirrors store them."""
MAX_PAGES: Final = 100
"""Pages that are read until one names a package."""
PAGE_LIMIT_BYTES: Final = 16 * 1024**2
MAX_LINKS: Final = 100_000
_HOST: Final = "tree.invalid"
"""The host of the tree, whose pages have no other URL. No real host has this name (RFC 6761)."""


def require_files_of_pages(tree: FileTree) -> None:
    """
    Raise Invalid (code `bad_source`) for a tree that has pages of an index, and no package.

    The message says what can be imported instead. Raises Invalid (code `bad_source`) also if the
    tree does not exist, or has no package and a folder that cannot be read. Raises Unavailable if
    the tree does not answer.
    """
    if any(isinstance(entry, Candidate) for entry in distribution_files(tree)):
        return
    package = next(_named_packages(tree), None)
    if package is not None:
        fact = f"There is no package in {tree}, only pages that name some."
        raise bad_source(f"{fact} {_advice(tree, package)}")


def _named_packages(tree: FileTree) -> Iterator[Url]:
    """Yield the URLs of packages that the first pages of the tree name."""
    pages = (file for file in tree.entries() if isinstance(file, Candidate) and _is_page(file))
    for file in islice(pages, MAX_PAGES):
        # what is no page names no package
        with suppress(OSError, FetchError, BadUrl):
            url = parse_url(f"http://{_HOST}{quote(_absolute(tree, file.path))}")
            body = read_bounded(file, PAGE_LIMIT_BYTES)
            page = read_simple_page(FetchedPage(url, "", body), MAX_LINKS)
            for entry in page.files or ():
                link = page.base.resolved(str(entry.url))
                if is_distribution_name(link.filename):
                    yield link


def _is_page(file: Candidate) -> bool:
    """Return whether a file is named as a page of an index is."""
    return file.filename.endswith(PAGE_SUFFIXES) or file.filename in SITE_FILES


def _absolute(tree: FileTree, path: str) -> str:
    """Return the path of a file of a tree from the root of the machine, or of all buckets."""
    if isinstance(tree, FolderTree):
        return os.path.abspath(tree.root / path)  # noqa: PTH100 - follows no links, as `..` in URLs
    _, _, bucket = str(tree).partition("://")
    return f"/{bucket}/{path}"


def _advice(tree: FileTree, package: Url) -> str:
    """Return what to import for a package that a page of the tree names, as a sentence."""
    if tree.find(PACKAGE_LIST) is not None:
        return (
            f"Import its list, {tree}/{PACKAGE_LIST}, with the --packages-url that dumb-pypi had."
        )
    if package.host != _HOST:
        return (
            f"The files are at {package.scheme}://{package.authority}: import the URL at which "
            "installers find this index, such as https://packages.example.com/simple/."
        )
    path = unquote(package.path)
    place = _folder_of_files(tree, path)
    if place:
        return f"The files that they name are in {place}: import that."
    _, _, filename = path.rpartition("/")
    return (
        f"The files that they name, such as {filename!a}, are not on this machine: "
        "import the folder that has them, or the URL at which installers find this index."
    )


def _folder_of_files(tree: FileTree, path: str) -> str:
    """Return the folder beside the tree's that has the file at an absolute path, or nothing."""
    top = _absolute(tree, "").rstrip("/")
    if isinstance(tree, FolderTree):
        # the path of a link may begin at the root of the site, which is a folder above
        folders = list(reversed(Path(top).parents))
        folders.append(Path(top))
        files = (f"{folder}{path}".replace("//", "/") for folder in folders)
        path = next(filter(os.path.isfile, files), "")
    if not path:
        return ""
    # the folder beside that of the pages, and not the one of a single project in it
    common = os.path.commonpath([top, path])
    name, slash, _ = path.removeprefix(common).lstrip("/").partition("/")
    place = f"{common.rstrip('/')}/{name}" if slash else common
    if isinstance(tree, FolderTree):
        return place
    scheme, _, _ = str(tree).partition(":")
    return f"{scheme}:/{place}"
