"""
Import source `dumb-pypi`: its package list, and the files that the list names.

The list has one filename, or one JSON object, on each line: `packages.json` of the site, or the
input of dumb-pypi. An object needs only `filename`; `hash` (`ALGORITHM=HEX`), `upload_timestamp`
(seconds), `uploaded_by` and `yanked_reason` are imported (an empty reason is no yank).
`requires_python` and `core_metadata` are read from the file itself. A line that dumb-pypi would
skip is an error here.
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
from wheelyard.http_client.urls import Url, is_url, redact_url
from wheelyard.sources.candidate import Candidate, OpenChunks, Skipped, SourceItem, bad_source
from wheelyard.sources.field_parsing import clean_uploader, parse_epoch_seconds, parse_hash
from wheelyard.sources.file_tree import FileTree, to_candidate
from wheelyard.sources.web.index_client import IndexClient
from wheelyard.sources.web.resumable_download import ResumableDownload
from wheelyard.storage.location import is_bucket

LIST_SUFFIXES: Final = (".json", ".jsonl", ".txt", ".lst")
PROJECT_PAGE: Final = "simple/name/"
"""Base of a relative packages URL: a project page of the site that the list belongs to."""
LINE_LIMIT_BYTES: Final = 1024**2
"""Bytes of one line."""


@dataclass(frozen=True, slots=True)
class PackageList:
    """The location of a package list, and a function that opens it."""

    text: str = field(repr=False)
    """The location of the list."""
    redacted: str
    """The location of the list for reports, without credentials."""
    open: OpenChunks


class FileLocator(Struct, frozen=True):
    """Finds the files that a package list names."""

    redacted: str
    """The location of the files for reports, without credentials."""
    fetch: Callable[[str], Candidate | None]
    """Returns the file with a name, None if it is missing."""


class _ListEntry(Struct):
    filename: str
    hash: str | None = None
    upload_timestamp: float | str | None = None
    uploaded_by: str | None = None
    yanked_reason: str | None = None


class DumbPypiSource(Struct, frozen=True):
    """Source of the files that a package list names."""

    packages: PackageList
    locator: FileLocator

    def candidates(self) -> Iterator[SourceItem]:
        """Yield a `Candidate` for each file; a `Skipped` for each wrong line and missing file."""
        lines = enumerate(_read_lines(self.packages), 1)
        yield from prefetch_map(self._candidate_of, (each for each in lines if each[1].strip()))

    def _candidate_of(self, numbered: tuple[int, bytes]) -> SourceItem:
        number, line = numbered
        location = f"{self.packages.redacted}, line {number}"
        try:
            entry = _parse_line(line)
            hashes = parse_hash(entry.hash or "")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            why = "it is neither a filename nor a JSON object with one"
            return Skipped(location, why, is_error=True)
        except ValueError as error:
            return Skipped(location, str(error), is_error=True)
        found = self.locator.fetch(entry.filename)
        if found is None:
            why = f"{quoted(entry.filename)} is not at {self.locator.redacted}"
            return Skipped(location, why, is_error=True)
        return replace(
            found,
            hashes={**found.hashes, **hashes},
            uploaded_at=parse_epoch_seconds(entry.upload_timestamp) or found.uploaded_at,
            uploaded_by=clean_uploader(entry.uploaded_by),
            yanked=entry.yanked_reason or None,
        )


def is_package_list(text: str) -> bool:
    """Return whether a location has the suffix of a package list; a local one must be a file."""
    is_remote = is_url(text) or is_bucket(text)
    return text.endswith(LIST_SUFFIXES) and (is_remote or Path(text).is_file())


def package_list_in_tree(tree: FileTree, name: str, text: str) -> PackageList:
    """Return the list `name` of a tree, or raise Invalid; `text` is its location for reports."""
    entry = tree.find(name)
    if entry is None:
        raise bad_source(f"There is no package list {quoted(name)} in {tree}. Check the name.")
    return PackageList(text, text, partial(tree.read, entry))


def resolve_packages_url(text: str, reference: str) -> str:
    """
    Return the location of the files of the list at `text`.

    `reference` is the `--packages-url` of dumb-pypi: absolute, or relative to a project's page; for
    a list in a file also a folder relative to the working directory.
    """
    if is_url(reference) or is_bucket(reference):
        return reference
    if is_url(text):
        return urljoin(urljoin(text, PROJECT_PAGE), reference)
    if is_bucket(text):
        scheme, _, path = text.partition("://")
        return f"{scheme}://" + normpath(f"{path.rpartition('/')[0]}/{PROJECT_PAGE}{reference}")
    if Path(reference).is_dir():
        return reference
    return normpath(Path(text).parent / PROJECT_PAGE / reference)


def locate_in_tree(tree: FileTree) -> FileLocator:
    """Return a locator for the files directly in a tree."""

    def fetch(filename: str) -> Candidate | None:
        entry = tree.find(filename)
        return None if entry is None else to_candidate(tree, entry)

    return FileLocator(str(tree), fetch)


def locate_at_url(web: IndexClient, root: Url) -> FileLocator:
    """Return a locator for the files in a folder URL; it finds every name, without a request."""
    return FileLocator(
        root.redacted,
        lambda name: ResumableDownload(web, root.resolved(quote(name))).candidate(name),
    )


def _read_lines(packages: PackageList) -> Iterator[bytes]:
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


def _parse_line(line: bytes) -> _ListEntry:
    if line.lstrip().startswith(b"{"):
        entry = msgspec.json.decode(line, type=_ListEntry)
    else:
        entry = _ListEntry(line.decode().strip())
    name = entry.filename
    if not name or "/" in name or "\\" in name or ".." in name or not name.isprintable():
        raise ValueError(f"{quoted(redact_url(name))} is no filename")
    return entry
