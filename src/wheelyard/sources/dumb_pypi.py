"""
dumb-pypi's package list, and the files that it stands for.

A list of filenames, one on a line, or of JSON objects, one on a line: `packages.json` of the site,
or what was fed to it. Of an object only `filename` has to be there; `hash` (`ALGORITHM=HEX`),
`upload_timestamp` (seconds), `uploaded_by` and `yanked_reason` are taken over (one that is empty is
no yank there). `requires_python` and `core_metadata` are not: the file itself says them. A line
that dumb-pypi would skip is a fault here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from os.path import normpath
from pathlib import Path
from typing import Final
from urllib.parse import quote, urljoin

import msgspec
from msgspec import Struct

from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.errors import quoted
from wheelyard.http_client.urls import Url, is_http_url, redact_credentials
from wheelyard.sources.candidate import (
    Candidate,
    OpenChunks,
    Skipped,
    SourceItem,
    bad_source,
)
from wheelyard.sources.field_parsing import clean_uploader, parse_epoch_seconds, parse_hash_spec
from wheelyard.sources.file_tree import FileTree, to_candidate
from wheelyard.sources.web.index_client import IndexClient
from wheelyard.sources.web.resumable_download import ResumableDownload
from wheelyard.storage.gcs.location import SCHEME, is_bucket

LIST_SUFFIXES: Final = (".json", ".jsonl", ".txt", ".lst")
PROJECT_PAGE: Final = "simple/name/"
"""What a relative packages URL is relative to: a page of the site beside the list."""
LINE_LIMIT_BYTES: Final = 1024**2
"""Bytes of one line."""


@dataclass(frozen=True, slots=True)
class PackageList:
    """A package list, to be read."""

    text: str = field(repr=False)
    """Where it is."""
    redacted: str
    """What a report calls it."""
    open: OpenChunks


@dataclass(frozen=True, slots=True)
class FileLocator:
    """Where the files of a list are."""

    redacted: str
    """What a person calls it."""
    fetch: Callable[[str], Candidate | None]
    """Returns a file by its name, None if there is none of that name."""


class _Line(Struct):
    filename: str
    hash: str | None = None
    upload_timestamp: float | str | None = None
    uploaded_by: str | None = None
    yanked_reason: str | None = None


@dataclass(frozen=True, slots=True)
class DumbPypiSource:
    """The packages that a list names."""

    packages: PackageList
    shelf: FileLocator

    def candidates(self) -> Iterator[SourceItem]:
        """Yield what there is."""
        lines = enumerate(_lines_of(self.packages), 1)
        yield from prefetch_map(self._offer, (each for each in lines if each[1].strip()))

    def _offer(self, numbered: tuple[int, bytes]) -> SourceItem:
        number, line = numbered
        tree = f"{self.packages.redacted}, line {number}"
        try:
            said = _parsed(line)
            hashes = parse_hash_spec(said.hash or "")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            why = "it is neither a filename nor a JSON object with one"
            return Skipped(tree, why, is_error=True)
        except ValueError as error:
            return Skipped(tree, str(error), is_error=True)
        found = self.shelf.fetch(said.filename)
        if found is None:
            why = f"{quoted(said.filename)} is not at {self.shelf.redacted}"
            return Skipped(tree, why, is_error=True)
        return replace(
            found,
            hashes={**found.hashes, **hashes},
            uploaded_at=parse_epoch_seconds(said.upload_timestamp) or found.uploaded_at,
            uploaded_by=clean_uploader(said.uploaded_by),
            yanked=said.yanked_reason or None,
        )


def is_package_list(text: str) -> bool:
    """Return whether a source is a package list, by its name."""
    is_elsewhere = is_http_url(text) or is_bucket(text)
    return text.endswith(LIST_SUFFIXES) and (is_elsewhere or Path(text).is_file())


def package_list_in_tree(tree: FileTree, name: str, text: str) -> PackageList:
    """Return a list in a place, named by `text`; raise Invalid if there is none (`bad_source`)."""
    item = tree.find(name)
    if item is None:
        raise bad_source(f"There is no package list {quoted(name)} in {tree}. Check the name.")
    return PackageList(text, text, partial(tree.read, item))


def package_list_at_url(web: IndexClient, url: Url) -> PackageList:
    """Return a list below a URL."""
    return PackageList(url.without_userinfo, url.redacted, ResumableDownload(web, url).open)


def resolve_packages_url(text: str, reference: str) -> str:
    """
    Return where the files of a list are.

    Args:
        text: Where the list is.
        reference: What dumb-pypi was given as `--packages-url`: absolute, or relative to a
            project's page; of a list in a file it may be a folder too, as the shell names it.
    """
    if is_http_url(reference) or is_bucket(reference):
        return reference
    if is_http_url(text):
        return urljoin(urljoin(text, PROJECT_PAGE), reference)
    if is_bucket(text):
        folder = text.removeprefix(SCHEME).rpartition("/")[0]
        return SCHEME + normpath(f"{folder}/{PROJECT_PAGE}{reference}")
    if Path(reference).is_dir():
        return reference
    return normpath(Path(text).parent / PROJECT_PAGE / reference)


def locate_in_tree(tree: FileTree) -> FileLocator:
    """Return the files that lie flat in a place."""

    def fetch(filename: str) -> Candidate | None:
        item = tree.find(filename)
        return None if item is None else to_candidate(tree, item)

    return FileLocator(str(tree), fetch)


def locate_at_url(web: IndexClient, root: Url) -> FileLocator:
    """Return the files below a URL; whether they are there is known when they are read."""
    return FileLocator(
        root.redacted,
        lambda name: ResumableDownload(web, root.resolved(quote(name))).candidate(name),
    )


def _lines_of(packages: PackageList) -> Iterator[bytes]:
    rest = b""
    try:
        with packages.open() as chunks:
            for chunk in chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
                if len(rest) > LINE_LIMIT_BYTES:
                    raise bad_source(
                        f"{packages.redacted} is no list of packages: it has lines of a megabyte."
                    )
    except OSError as error:
        raise bad_source(
            f"The package list {packages.redacted} cannot be read: {error.strerror}. "
            "Check where it is, or try again later."
        ) from error
    yield rest


def _parsed(line: bytes) -> _Line:
    if line.lstrip().startswith(b"{"):
        said = msgspec.json.decode(line, type=_Line)
    else:
        said = _Line(line.decode().strip())
    name = said.filename
    if not name or "/" in name or "\\" in name or ".." in name or not name.isprintable():
        raise ValueError(f"{quoted(redact_credentials(name))} is no filename")
    return said
