"""
The files of a release as rows of a table, on several pages if there are many.

    ./                   the page of the release: files 1 to 100
    files/2/             files 101 to 200
    files/cp312/         the files for CPython 3.12, if there are several pages
    files/on-macos/2/    files 101 to 200 of those for macOS
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from markupsafe import escape
from itertools import chain
from typing import Final

from markupsafe import Markup
from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.grants import with_name
from wheelyard.model.project import File
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ReleaseOf
from wheelyard.rendering.simple_pages import file_url, timestamp
from wheelyard.rendering.web.tags import Facet, compatibility_of

FILES_PER_PAGE: Final = 100
"""With more files, a release has several pages of files, and pages of some of them."""
NOT_KNOWN: Final = "not known"
"""What is shown of a public file where its upstream index does not say more."""
MAX_FACETS: Final = 24
"""The most pages by interpreter, and the most by platform; those with the most files are chosen."""


class FileSelection(Struct, frozen=True):
    """A page of the list of files."""

    facet: Facet | None = None
    """What its files have in common; None for all files."""
    number: int = 1
    """1 for the first page of the files with this facet."""

    @property
    def path(self) -> str:
        """The path of the page, relative to the page of the release."""
        facet = f"{self.facet.path}/" if self.facet else ""
        number = f"{self.number}/" if self.number > 1 else ""
        return f"files/{facet}{number}" if facet or number else ""


class FileList(Struct, frozen=True):
    """A page of the list of files of a release, and the way to the others."""

    selection: FileSelection
    shown: tuple[ShownFile, ...]
    first: int
    """The number of the first shown file, from 1."""
    total: int
    """How many files have the facet of the selection."""
    pages: tuple[FileSelection, ...]
    """All pages with the same facet; none if there is only one."""
    interpreters: tuple[tuple[Facet, int], ...]
    """The facets with their number of files; none if all files are on one page."""
    platforms: tuple[tuple[Facet, int], ...]

    @property
    def last(self) -> int:
        """The number of the last shown file."""
        return self.first + len(self.shown) - 1


def file_list(release: ReleaseOf[ShownFile], facet: str = "", number: int = 1) -> FileList | None:
    """Return a page of the files of a release by the path of its facet; None if there is none."""
    files = sorted(
        ((compatibility_of(file.filename), file) for file in release.files),
        key=lambda each: (each[0].order, each[1].filename),
    )
    interpreters = _facets(each.interpreters for each, _ in files)
    platforms = _facets(each.platforms for each, _ in files)
    chosen = next((each for each, _ in (*interpreters, *platforms) if each.path == facet), None)
    if chosen is None and facet:
        return None
    if chosen is not None:
        files = [pair for pair in files if chosen in (*pair[0].interpreters, *pair[0].platforms)]
    count = -(-len(files) // FILES_PER_PAGE)
    if not 1 <= number <= count:
        return None
    start = (number - 1) * FILES_PER_PAGE
    return FileList(
        FileSelection(chosen, number),
        tuple(file for _, file in files[start : start + FILES_PER_PAGE]),
        start + 1,
        len(files),
        tuple(FileSelection(chosen, each) for each in range(1, count + 1)) if count > 1 else (),
        interpreters,
        platforms,
    )


def file_pages(release: ReleaseOf[ShownFile]) -> Iterator[FileSelection]:
    """Yield each page of the files of a release besides the page of the release itself."""
    if len(release.files) <= FILES_PER_PAGE:
        return
    first = file_list(release)
    assert first is not None  # noqa: S101 - the first page is always there
    yield from first.pages[1:]
    for facet, count in (*first.interpreters, *first.platforms):
        for number in range(1, -(-count // FILES_PER_PAGE) + 1):
            yield FileSelection(facet, number)


def _facets(of_files: Iterable[Sequence[Facet]]) -> tuple[tuple[Facet, int], ...]:
    """Return the facets of files with their counts, in order; none if one page has all files."""
    every = tuple(of_files)
    if len(every) <= FILES_PER_PAGE:
        return ()
    counts = Counter(chain.from_iterable(every))
    most = dict(counts.most_common(MAX_FACETS))
    return tuple((facet, count) for facet, count in counts.items() if facet in most)


def file_rows(files: Iterable[ShownFile], name: NormalizedName, files_url: str) -> Markup:
    """Return the rows of a table of files, built in Python as that is faster than a template."""
    base = escape(files_url)
    rows = (_file_row(file, f"{base}/{file_url(name, file)}") for file in files)
    return Markup("".join(rows))  # noqa: S704 - they are escaped


def _file_row(file: ShownFile, url: str) -> str:
    compatibility = compatibility_of(file.filename)
    marks = "" if file.yanked is None else f" {yank_mark(file.yanked)}"
    if isinstance(file, File) and file.waived_rules:
        rules = escape(", ".join(file.waived_rules))
        marks += f' <span class="mark">imported as it is: {rules}</span>'
    metadata = f' · <a href="{url}.metadata">metadata</a>' if file.serves_metadata else ""
    digest = f'SHA-256 <code data-copy="SHA-256">{file.sha256}</code>' if file.sha256 else ""
    return (
        f'<tr>\n<td><a href="{url}">{escape(file.filename)}</a>{marks}\n'
        f"<div>{escape(compatibility.text)}{metadata}</div>\n"
        f'<div class="digest">{digest}</div></td>\n'
        f"<td>{compatibility.kind}</td>\n"
        f"<td>{NOT_KNOWN if file.size is None else readable_size(file.size)}</td>\n"
        f"<td>{_upload(file)}</td>\n"
        "</tr>\n"
    )


def _upload(file: ShownFile) -> str:
    """Return the HTML of when a file was uploaded, and by whom if that was to this index."""
    if file.uploaded_at is None:
        return NOT_KNOWN
    at = timestamp(file.uploaded_at)
    time = f'<time datetime="{at}">{at[:10]} {at[11:16]} UTC</time>'
    if not isinstance(file, File):
        return time
    who = escape(with_name(file.uploaded_by, file.uploaded_by_name))
    return f'{time}<br>by <bdi class="id">{who}</bdi>'


def yank_mark(reason: str) -> str:
    """Return the HTML of a mark that says that something is yanked, and why."""
    suffix = f": <bdi>{escape(reason)}</bdi>" if reason else ""
    return f'<span class="mark warning">yanked{suffix}</span>'


def readable_size(size: int) -> str:
    """Return a size as text with a unit: bytes, KiB, MiB or GiB."""
    exponent = min((size.bit_length() - 1) // 10, 3)
    if exponent <= 0:
        return f"{size} bytes"
    return f"{size / 1024**exponent:.1f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"
