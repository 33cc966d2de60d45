"""Refuses a folder or a bucket with the pages of an index, and without the files of the pages."""

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
"""Pages that are read at most, until one of them names a package."""
PAGE_LIMIT_BYTES: Final = 16 * 1024**2
MAX_LINKS: Final = 100_000
_HOST: Final = "tree.invalid"
"""The host of the tree, whose pages have no other URL. No real host has this name (RFC 6761)."""


def require_files_of_pages(tree: FileTree) -> None:
    """
    Raise Invalid (code `bad_source`) for a tree without packages, of which a page links to one.

    Only the first pages of the tree are read. A tree with neither a package nor such a page passes.
    The message says what can be imported instead. Raises Invalid (code `bad_source`) also if the
    tree does not exist, or has no package and a folder that cannot be read. Raises Unavailable if
    the tree does not answer.
    """
    if any(isinstance(entry, Candidate) for entry in distribution_files(tree)):
        return
    first_package = next(_named_packages(tree), None)
    if first_package is not None:
        fact = f"There is no package in {tree}, only pages that name some."
        raise bad_source(f"{fact} {_advice(tree, first_package)}")


def _named_packages(tree: FileTree) -> Iterator[Url]:
    """Yield the URLs of packages that the first pages of the tree name."""
    for page_file in islice(_page_files(tree), MAX_PAGES):
        # a file that cannot be read as a page names no package
        with suppress(OSError, FetchError, BadUrl):
            page_url = parse_url(f"http://{_HOST}{quote(_absolute(tree, page_file.path))}")
            body = read_bounded(page_file, PAGE_LIMIT_BYTES)
            page = read_simple_page(FetchedPage(page_url, "", body), MAX_LINKS)
            for entry in page.files or ():
                url = page.base.resolved(str(entry.url))
                if is_distribution_name(url.filename):
                    yield url


def _page_files(tree: FileTree) -> Iterator[Candidate]:
    """Yield the files of a tree that are named as pages of an index are."""
    for file in tree.entries():
        if isinstance(file, Candidate) and _is_named_as_page(file.filename):
            yield file


def _is_named_as_page(filename: str) -> bool:
    return filename.endswith(PAGE_SUFFIXES) or filename in SITE_FILES


def _absolute(tree: FileTree, path: str) -> str:
    """Return the path of a file of a tree from the root of the machine, or of all buckets."""
    if isinstance(tree, FolderTree):
        return os.path.abspath(tree.root / path)  # noqa: PTH100 - follows no links, as `..` in URLs
    _, _, bucket_path = str(tree).partition("://")
    return f"/{bucket_path}/{path}"


def _advice(tree: FileTree, package_url: Url) -> str:
    """Return what to import for a package that a page of the tree names, as a sentence."""
    if tree.find(PACKAGE_LIST) is not None:
        return (
            f"Import its list, {tree}/{PACKAGE_LIST}, with the --packages-url that dumb-pypi had."
        )
    if package_url.host != _HOST:
        server = f"{package_url.scheme}://{package_url.authority}"
        return (
            f"The files are at {server}: import the URL at which "
            "installers find this index, such as https://packages.example.com/simple/."
        )
    path = unquote(package_url.path)
    folder = _folder_of_files(tree, path)
    if folder:
        return f"The files that they name are in {folder}: import that."
    _, _, filename = path.rpartition("/")
    return (
        f"The files that they name, such as {filename!a}, are not on this machine: "
        "import the folder that has them, or the URL at which installers find this index."
    )


def _folder_of_files(tree: FileTree, path: str) -> str:
    """
    Return the folder beside the tree's that has the file at an absolute path.

    Return an empty text if a folder of this machine has no such file.
    """
    tree_path = _absolute(tree, "").rstrip("/")
    if isinstance(tree, FolderTree):
        path = _existing_file(Path(tree_path), path)
    if not path:
        return ""
    # the folder beside that of the pages, and not the folder of a single project in it
    common = os.path.commonpath([tree_path, path])
    name, slash, _ = path.removeprefix(common).lstrip("/").partition("/")
    folder = f"{common.rstrip('/')}/{name}" if slash else common
    if isinstance(tree, FolderTree):
        return folder
    scheme, _, _ = str(tree).partition(":")
    return f"{scheme}:/{folder}"


def _existing_file(pages_folder: Path, path: str) -> str:
    """Return the file at the path of a link on a page in a folder, or an empty text without one."""
    # the path may begin at the root of the machine, or at that of the site, a folder above the page
    for folder in (*reversed(pages_folder.parents), pages_folder):
        file = f"{folder}{path}".replace("//", "/")
        if os.path.isfile(file):  # noqa: PTH113 - a stranger's text, which a Path would change
            return file
    return ""
