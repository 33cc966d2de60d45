"""
The files of a release: filtered, on several pages if there are many, and as a pinned requirement.

    files/                               sdists, then the first wheels. 100 files on a page
    files/?page=2                        the next 100 files
    files/?q=abi3&python=cp312&page=2    the second page of the files that match
    requirements.txt                     the release with the hashes of all its files

A static site has no server that filters, so all files are on one page, and a script filters them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Final
from urllib.parse import urlencode

from markupsafe import Markup, escape
from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.access import describe_principal
from wheelyard.model.decoding import counted, readable_size
from wheelyard.model.distribution_filename import SDIST_SUFFIXES, file_url
from wheelyard.model.project import File
from wheelyard.rendering.listing import ShownFile
from wheelyard.rendering.project_facts import ReleaseOf
from wheelyard.rendering.simple_pages import timestamp
from wheelyard.rendering.web.compatibility import Compatibility, Facet, compatibility_of
from wheelyard.rendering.web.environment import ROWS_PER_PAGE, PageEnvironment
from wheelyard.rendering.web.page_numbers import FilteredPage, page_count

FILTERED_FILES: Final = 10
"""With more files, the page has a form that filters them."""
MAX_FACETS: Final = 60
"""The most interpreters, and platforms, that the form offers: those with the most files."""
NAMED_FILES: Final = 3
"""With more files, the page of a release counts the files instead of naming each."""
PINNED_FILES: Final = 12
"""With more files, a page links to the pinned requirement instead of showing it."""
REASON_IN_SHORT: Final = 120
"""The most characters of the reason of a yank that a mark shows unfolded."""
NOT_KNOWN: Final = "not known"
"""The text in place of a fact of a public file that its upstream index does not tell."""

TYPES: Final = {"source": "source", "wheel": "wheels", "other": "other formats"}
_HEADINGS: Final = {"source": "Source", "wheel": "Wheels", "other": "Other formats"}


class FileFilter(Struct, frozen=True):
    """Which files of a release a page lists."""

    text: str = ""
    """Words, each of which is in the filename or in the words for what the file is for."""
    type: str = ""
    """One of TYPES, or an empty text for all types."""
    python: str = ""
    """The `path` of an interpreter's facet, or an empty text for all interpreters."""
    platform: str = ""
    """The `path` of a platform's facet, or an empty text for all platforms."""

    @property
    def query(self) -> str:
        """The query of a page's URL, with the question mark and without the page number."""
        texts = {
            "q": self.text,
            "type": self.type,
            "python": self.python,
            "platform": self.platform,
        }
        fields = {name: text for name, text in texts.items() if text}
        # the last field, as a template writes the page number behind the query
        fields["page"] = ""
        return f"?{urlencode(fields)}"

    def matches(self, file: "DescribedFile") -> bool:
        """Return whether a file passes every condition of the filter."""
        if self.type not in ("", file.type):
            return False
        compatibility = file.compatibility
        if self.python and not _has_facet(compatibility.interpreters, self.python):
            return False
        if self.platform and not _has_facet(compatibility.platforms, self.platform):
            return False
        words_of_file = file.words
        return all(word in words_of_file for word in self.text.lower().split())


ALL_FILES: Final = FileFilter()


def _has_facet(facets: Iterable[Facet], path: str) -> bool:
    """Return whether one of the facets has this path."""
    return any(facet.path == path for facet in facets)


class DescribedFile(Struct, frozen=True):
    """A file, and the systems and interpreters that it is for."""

    file: ShownFile
    compatibility: Compatibility

    @property
    def type(self) -> str:
        """The type of the file, one of TYPES."""
        match self.compatibility.kind:
            case "sdist":
                return "source"
            case "wheel":
                return "wheel"
            case _:
                # an egg or an installer of an old release
                return "other"

    @property
    def words(self) -> str:
        """The text in which a filter looks for its words, in lower case."""
        return f"{self.file.filename} {self.compatibility.text} {self.synonyms}".lower()

    @property
    def synonyms(self) -> str:
        """Words that the page does not show, and by which people look for the file."""
        kind = self.compatibility.kind
        if "x86-64" in self.compatibility.text:
            return f"{kind} x64"
        return kind

    @property
    def order(self) -> tuple[int, tuple[int, int, str], str]:
        """A sort key: sdists, then wheels by the interpreter and the platform, then the others."""
        types = tuple(TYPES)
        return types.index(self.type), self.compatibility.order, self.file.filename


class FileList(FilteredPage[DescribedFile], frozen=True, kw_only=True):
    """A page of the list of files of a release, with the choices of the form that filters."""

    filter: FileFilter
    types: Sequence[Facet]
    """The types that the form offers."""
    interpreters: Sequence[Facet]
    """The interpreters that the form offers, with the number of their files."""
    platforms: Sequence[Facet]
    """The platforms that the form offers, with the number of their files."""

    @property
    def has_form(self) -> bool:
        """Whether the release has so many files that the page has a form to filter them."""
        return self.unfiltered > FILTERED_FILES


def file_list(
    release: ReleaseOf[ShownFile],
    selected: FileFilter = ALL_FILES,
    number: int = 1,
    size: int = ROWS_PER_PAGE,
) -> FileList | None:
    """
    Return the page `number` of the files of a release, or None if there is no such page.

    A page has `size` files that match the filter `selected`. If no file matches, there is one page
    without files.
    """
    files = [DescribedFile(file, compatibility_of(file.filename)) for file in release.files]
    files.sort(key=attrgetter("order"))
    matching = [file for file in files if selected.matches(file)]
    pages = page_count(len(matching), size)
    if not 1 <= number <= pages:
        return None
    start = (number - 1) * size

    # the form offers the facets of all files: a choice must not remove the other choices
    types = {file.type for file in files}
    return FileList(
        filter=selected,
        entries=matching[start : start + size],
        first=min(start + 1, len(matching)),
        total=len(matching),
        number=number,
        pages=pages,
        unfiltered=len(files),
        types=[Facet(path, label) for path, label in TYPES.items() if path in types],
        interpreters=_count_facets(file.compatibility.interpreters for file in files),
        platforms=_count_facets(file.compatibility.platforms for file in files),
    )


def _count_facets(facets_of_files: Iterable[Sequence[Facet]]) -> list[Facet]:
    """
    Return each facet once, with the number of its files behind its label.

    The facets are in the order of the files. If there are more than `MAX_FACETS`, those with the
    most files are returned.
    """
    counts = Counter(chain.from_iterable(facets_of_files))
    frequent_facets = dict(counts.most_common(MAX_FACETS))
    labelled_facets: list[Facet] = []
    for facet, count in counts.items():
        if facet in frequent_facets:
            labelled_facets.append(Facet(facet.path, f"{facet.label} ({count:,})"))
    return labelled_facets


def file_tables(
    environment: PageEnvironment, name: NormalizedName, files: FileList, to_project: str
) -> list[tuple[str, Markup]]:
    """
    Return the tables of a page of files: the heading of each table, and its rows.

    The rows are built in Python, which is faster than a template. `to_project` is the URL of the
    page of the project, relative to this page.
    """
    # escaped once for thousands of rows
    files_url = escape(_files_url(environment, to_project))
    tables: list[tuple[str, Markup]] = []
    for file_type, files_of_type in groupby(files.entries, key=attrgetter("type")):
        rows = "".join(_render_row(files_url, name, file) for file in files_of_type)
        tables.append((_HEADINGS[file_type], Markup(rows)))  # noqa: S704 - they are escaped
    return tables


class ShortFile(Struct, frozen=True):
    """A file as the page of its release names it."""

    filename: str
    url: str
    size: str
    yanked: str | None
    """The reason of the yank, perhaps empty, or None if the file is not yanked."""


class FilesInShort(Struct, frozen=True):
    """The files of a release, as its page names or counts them."""

    named: Sequence[ShortFile]
    """All files of the release if they are few, or none."""
    counted: str
    """The number of files of each type, and their size together, in words."""


def files_in_short(
    environment: PageEnvironment,
    name: NormalizedName,
    release: ReleaseOf[ShownFile],
    to_project: str,
) -> FilesInShort:
    """
    Return the files of a release in short.

    `to_project` is the URL of the page of the project, relative to this page.
    """
    files = release.files
    if len(files) > NAMED_FILES:
        return FilesInShort((), _types_in_words(release))
    files_url = _files_url(environment, to_project)
    short_files: list[ShortFile] = []
    for file in files:
        url = f"{files_url}/{file_url(name, file.sha256, file.filename)}"
        short_files.append(ShortFile(file.filename, url, size_in_words(file.size), file.yanked))
    return FilesInShort(short_files, _types_in_words(release))


def _types_in_words(release: ReleaseOf[ShownFile]) -> str:
    """Return how many files of each type a release has, and their size if it is known."""
    # by the filename alone, as this page does not show the compatibility of each file
    wheels = sum(file.is_wheel for file in release.files)
    sources = sum(file.filename.endswith(SDIST_SUFFIXES) for file in release.files)
    counts = {
        "wheel": wheels,
        "source file": sources,
        "other file": len(release.files) - wheels - sources,
    }
    texts = [counted(count, noun) for noun, count in counts.items() if count]
    if release.size is not None:
        texts.append(readable_size(release.size))
    return ", ".join(texts)


def size_in_words(size: int | None, unknown: str = "") -> str:
    """Return a size with its unit, or the text `unknown` if the size is None."""
    if size is None:
        return unknown
    return readable_size(size)


def _files_url(environment: PageEnvironment, to_project: str) -> str:
    """Return the URL of the folder of files, absolute or relative to this page."""
    url = environment.files_url
    if "://" in url:
        return url
    # the URL is relative to the page of the project, and this page may be below that
    return f"{to_project}{url}"


def _render_row(files_url: str, name: NormalizedName, described: DescribedFile) -> str:
    """Return the row of a file as HTML, with further words for the script that filters rows."""
    file = described.file
    url = f"{files_url}/{file_url(name, file.sha256, file.filename)}"
    return (
        f'<tr data-words="{described.synonyms}">\n'
        f'<td><a href="{url}">{escape(file.filename)}</a>{_render_marks(file)}\n'
        f"<div>{escape(described.compatibility.text)}</div>\n{_render_details(file, url)}</td>\n"
        f"<td>{size_in_words(file.size, NOT_KNOWN)}</td>\n"
        f"<td>{_render_upload(file)}</td>\n"
        "</tr>\n"
    )


def _render_marks(file: ShownFile) -> str:
    """Return the HTML of the marks of a file, each after a blank."""
    marks = ""
    if file.yanked is not None:
        marks = f" {yank_mark(file.yanked)}"
    if not isinstance(file, File):
        if file.has_provenance:
            # the upstream index lists attestations, and this index has not verified them
            marks += ' <span class="mark">attestations listed</span>'
        return marks
    if file.waived_rules:
        rules = escape(", ".join(file.waived_rules))
        marks += f' <span class="mark">imported as it is: {rules}</span>'
    if file.has_provenance:
        marks += ' <span class="mark">attested</span>'
    elif file.lost_attestations:
        marks += ' <span class="mark warning">attestations not kept</span>'
    return marks


def _render_details(file: ShownFile, url: str) -> str:
    """Return the folded HTML of a file's digest and metadata, or an empty text without both."""
    titles: list[str] = []
    lines = ""
    if file.sha256:
        titles.append("SHA-256")
        lines += f'<p class="digest">SHA-256 <code data-copy="SHA-256">{file.sha256}</code></p>\n'
    if file.serves_metadata:
        titles.append("metadata")
        # PEP 658: the URL of the metadata is the URL of the file with this ending
        lines += f'<p><a href="{url}.metadata">Metadata</a></p>\n'
    if not titles:
        return ""
    return f"<details>\n<summary>{' and '.join(titles)}</summary>\n{lines}</details>\n"


def _render_upload(file: ShownFile) -> str:
    """Return the HTML of the time of an upload, and of the uploader if this index knows that."""
    if file.uploaded_at is None:
        return NOT_KNOWN
    upload_time = timestamp(file.uploaded_at)
    day = upload_time[:10]
    minute = upload_time[11:16]
    time = f'<time datetime="{upload_time}">{day} {minute} UTC</time>'
    # an upstream index does not say who has uploaded a file
    if not isinstance(file, File):
        return time
    # the name comes from a provider of sign-in, where people may choose any name
    uploader = escape(describe_principal(file.uploaded_by, file.uploaded_by_name))
    return f'{time} <bdi class="id">{uploader}</bdi>'


def yank_mark(reason: str) -> str:
    """Return the HTML of the mark of a yank, with its reason, of which a long one is folded."""
    if not reason:
        return '<span class="mark warning">yanked</span>'
    short = reason
    is_long = len(reason) > REASON_IN_SHORT
    if is_long:
        short = f"{reason[:REASON_IN_SHORT]}…"
    # a reason may be written from right to left: `bdi` keeps the words around it in order
    mark = f'<span class="mark warning">yanked: <bdi>{escape(short)}</bdi></span>'
    if not is_long:
        return mark
    return f"<details><summary>{mark}</summary><bdi>{escape(reason)}</bdi></details>"


def pinned_hashes(release: ReleaseOf[ShownFile]) -> list[str]:
    """
    Return the SHA-256 of each file that a pinned requirement allows, sorted.

    These are the files that are not yanked, or all files if all are yanked. Files without a known
    SHA-256 are left out.
    """
    files: Iterable[ShownFile] = release.files
    if not release.is_yanked:
        # installers prefer a file that is not yanked (PEP 592), and so never need a yanked one
        files = [file for file in files if file.yanked is None]
    digests = {file.sha256 for file in files if file.sha256}
    return sorted(digests)


def pinned_requirement(package: str, release: ReleaseOf[ShownFile]) -> str:
    """
    Return the lines of a requirements file with a release and the hashes of its files.

    `package` is the name of the project, perhaps with extras in brackets, or empty if the caller
    writes the name before the lines.
    """
    lines = [f"{package}=={release.version}"]
    lines += [f"--hash=sha256:{digest}" for digest in pinned_hashes(release)]
    return " \\\n    ".join(lines)


def has_requirements_file(release: ReleaseOf[ShownFile]) -> bool:
    """Return whether a pinned requirement is too long for a page, so that pages link to it."""
    return len(pinned_hashes(release)) > PINNED_FILES
