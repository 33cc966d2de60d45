"""Where a package list is, a file, an object or a URL, and what its packages URL means."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from os.path import normpath
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

from wheelyard.outgoing.faults import WebFault
from wheelyard.outgoing.urls import Url
from wheelyard.sources.faults import bad_source, gone
from wheelyard.sources.places import Place, reading_file
from wheelyard.sources.web.fetching import Web
from wheelyard.sources.web.urls import is_url
from wheelyard.storage.cloud.location import SCHEME, is_bucket

SUFFIXES: Final = (".json", ".jsonl", ".txt", ".lst")
PAGE: Final = "simple/name/"
"""What a relative packages URL is relative to: a page of the site beside the list."""


@dataclass(frozen=True, slots=True)
class ListFile:
    """
    A package list, to be read.

    Args:
        text: Where it is.
        shown: What a report calls it.
        pieces: Opens it.
    """

    text: str = field(repr=False)
    shown: str
    pieces: Callable[[], Iterator[bytes]]


def is_list(text: str) -> bool:
    """Return whether a source is a package list, by its name."""
    is_elsewhere = is_url(text) or is_bucket(text)
    return text.endswith(SUFFIXES) and (is_elsewhere or Path(text).is_file())


def list_at_path(path: Path) -> ListFile:
    """
    Return a list in a file.

    Raises:
        Invalid: There is no such file (code `bad_source`).
    """
    if not path.is_file():
        raise bad_source(f"There is no package list {str(path)!a}. Check the name.")
    return ListFile(str(path), str(path), partial(_pieces_of_file, path))


def list_in_place(place: Place, name: str) -> ListFile:
    """Return a list in a bucket."""
    text = f"{place}/{name}"
    return ListFile(text, text, partial(_pieces_in_place, place, name))


def list_at_url(web: Web, url: Url) -> ListFile:
    """Return a list below a URL."""
    return ListFile(url.asked, url.shown, partial(_pieces_at_url, web, url))


def shelf_of(text: str, reference: str) -> str:
    """
    Return where the files of a list are.

    Args:
        text: Where the list is.
        reference: What dumb-pypi was given as `--packages-url`: absolute, or relative to a
            project's page; of a list in a file it may be a folder too, as the shell names it.
    """
    if is_url(reference) or is_bucket(reference):
        return reference
    if is_url(text):
        return urljoin(urljoin(text, PAGE), reference)
    if is_bucket(text):
        folder = text.removeprefix(SCHEME).rpartition("/")[0]
        return SCHEME + normpath(f"{folder}/{PAGE}{reference}")
    if Path(reference).is_dir():
        return reference
    return normpath(Path(text).parent / PAGE / reference)


def _pieces_of_file(path: Path) -> Iterator[bytes]:
    try:
        with reading_file(path) as pieces:
            yield from pieces
    except OSError as error:
        raise bad_source(f"The package list {str(path)!a} cannot be read.") from error


def _pieces_in_place(place: Place, name: str) -> Iterator[bytes]:
    item = place.find(name)
    if item is None:
        raise bad_source(f"There is no package list {name!a} in {place}. Check the name.")
    try:
        with place.read(item) as pieces:
            yield from pieces
    except OSError as error:
        raise bad_source(f"The package list {name!a} cannot be read: {error.strerror}.") from error


def _pieces_at_url(web: Web, url: Url) -> Iterator[bytes]:
    try:
        answer = web.open(url, {"Accept-Encoding": "identity"})
        try:
            yield from answer.pieces(web.pace())
        finally:
            answer.close()
    except WebFault as fault:
        if fault.is_away or fault.is_passing:
            raise gone(f"{url.host} does not answer: {fault.why}. Try again later.") from fault
        raise bad_source(f"There is no package list at {url.shown}: {fault.why}.") from fault
