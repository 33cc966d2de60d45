"""
Import source `dumb-pypi`: its package list, and the files that the list names.

The list has one filename, or one JSON object, on each line: `packages.json` of the site, or the
input of dumb-pypi. An object needs only `filename`. `hash` (`ALGORITHM=HEX`), `upload_timestamp`
(seconds), `uploaded_by` and `yanked_reason` are imported (an empty reason is no yank).
`requires_python` and `core_metadata` are read from the file itself. A line that dumb-pypi would
skip is an error here.
"""

from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urljoin

import msgspec
from msgspec import Struct

from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import quoted
from wheelyard.http_client.urls import is_url, redact_url
from wheelyard.sources.candidate import Candidate, FileRecord, Skipped, SourceItem, bad_source
from wheelyard.storage.location import is_bucket

LIST_SUFFIXES: Final = (".json", ".jsonl", ".txt", ".lst")
PROJECT_PAGE: Final = "simple/name/"
"""Base of a relative packages URL: a project page of the site that the list belongs to."""
LINE_LIMIT_BYTES: Final = 1024**2
"""Bytes of one line."""


class NamedFiles(Protocol):
    """Where the files of a list are."""

    def find(self, name: str, /) -> Candidate | None:
        """
        Return the file with a name, or None if it is missing.

        Raises Unavailable if the place does not answer.
        """
        ...


class DumbPypiSource(Struct, frozen=True):
    """Source of the files that a package list names."""

    packages: Candidate
    """The package list."""
    place: str
    """Where the files are, for reports."""
    files: NamedFiles

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield a `Candidate` for each file, and a `Skipped` for each wrong line and missing file.

        Empty lines are passed over. Raises Invalid (code `bad_source`) if the list cannot be read,
        or has a line of a megabyte. Raises Unavailable if the place of the list or of the files
        does not answer.
        """
        # each file is looked for in its place, perhaps by a request, so several threads do that
        yield from prefetch_map(self._candidate_of, _numbered_lines(self.packages))

    def _candidate_of(self, numbered_line: tuple[int, bytes]) -> SourceItem:
        """Return the file that a line of the list names, or what is wrong with the line."""
        number, line = numbered_line
        try:
            record = _parse_line(line)
            file = self.files.find(record.filename)
            if file is not None:
                return record.described(file)
            why = f"{quoted(record.filename)} is not at {self.place}"
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            why = "it is neither a filename nor a JSON object with one"
        except ValueError as error:
            why = str(error)
        return Skipped(f"{self.packages.location}, line {number}", why, is_error=True)


def is_package_list(text: str) -> bool:
    """
    Return whether a location has the suffix of a package list.

    A location on this machine has to be a file, too.
    """
    if not text.endswith(LIST_SUFFIXES):
        return False
    is_remote = is_url(text) or is_bucket(text)
    return is_remote or Path(text).is_file()


def resolve_packages_url(text: str, reference: str) -> str:
    """
    Return the location of the files of the list at `text`, which is not looked for.

    `reference` is the `--packages-url` of dumb-pypi: absolute, or relative to a project's page. For
    a list in a file it may also be a folder relative to the working directory.
    """
    if is_url(reference) or is_bucket(reference):
        return reference
    if is_url(text):
        project_page = urljoin(text, PROJECT_PAGE)
        return urljoin(project_page, reference)
    if is_bucket(text):
        scheme, _, path = text.partition("://")
        folder, _, _ = path.rpartition("/")
        return f"{scheme}://" + normpath(f"{folder}/{PROJECT_PAGE}{reference}")
    if Path(reference).is_dir():
        return reference
    return normpath(Path(text).parent / PROJECT_PAGE / reference)


def _numbered_lines(packages: Candidate) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a list that are not empty, each with its number."""
    for number, line in enumerate(_read_lines(packages), 1):
        if line.strip():
            yield number, line


def _read_lines(packages: Candidate) -> Iterator[bytes]:
    """Yield the lines of a list, which is never in memory as a whole."""
    last_line = b""
    try:
        with packages.read() as chunks:
            for chunk in chunks:
                lines = (last_line + chunk).split(b"\n")
                last_line = lines.pop()  # its end may be in the next chunk
                yield from lines
                # another file, such as an archive, may have no line break at all
                if len(last_line) > LINE_LIMIT_BYTES:
                    raise bad_source(
                        f"{packages.location} is no list of packages: it has lines of a megabyte."
                    )
    except OSError as error:
        raise bad_source(
            f"The package list {packages.location} cannot be read: {error.strerror}. "
            "Check where it is, or try again later."
        ) from error
    yield last_line


def _parse_line(line: bytes) -> FileRecord:
    """Return what a line says, or raise ValueError if it cannot be used."""
    if line.lstrip().startswith(b"{"):
        record = msgspec.json.decode(line, type=FileRecord)
    else:
        record = FileRecord(line.decode().strip())
    if not _is_filename(record.filename):
        raise ValueError(f"{quoted(redact_url(record.filename))} is no filename")
    return record


def _is_filename(text: str) -> bool:
    """Return whether a text may be a filename in the place of the files."""
    # it becomes a part of a path or a URL, and must not lead out of that place
    leads_elsewhere = "/" in text or "\\" in text or ".." in text
    return bool(text) and not leads_elsewhere and text.isprintable()
