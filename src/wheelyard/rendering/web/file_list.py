"""
The files of a release: filtered, on several pages if there are many, and as a pinned requirement.

    files/                               sdists, then the first wheels. 100 files on a page
    files/?page=2                        the next ones
    files/?q=abi3&python=cp312&page=2    of those that match
    requirements.txt                     the release with the hashes of all its files

A static site has nobody who would filter, so that all files are on one page, and a script filters.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
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
"""With more files, there is a form that filters them."""
MAX_FACETS: Final = 60
"""The most interpreters, and platforms, to choose from: those with the most files."""
NAMED_FILES: Final = 3
"""With more files, the page of a release counts them instead of naming each."""
PINNED_FILES: Final = 12
"""With more files, a page links to the pinned requirement instead of showing it."""
REASON_IN_SHORT: Final = 120
"""The most characters of the reason of a yank that a mark shows unfolded."""
NOT_KNOWN: Final = "not known"
"""What is shown of a public file where its upstream index does not say more."""

TYPES: Final = {"source": "source", "wheel": "wheels", "other": "other formats"}
_HEADINGS: Final = {"source": "Source", "wheel": "Wheels", "other": "Other formats"}


class FileFilter(Struct, frozen=True):
    """Which files of a release a page lists."""

    text: str = ""
    """Words that are all in the filename, or in what the file is for."""
    type: str = ""
    """One of TYPES, or an empty text for all."""
    python: str = ""
    """The `path` of a facet, or an empty text for all."""
    platform: str = ""
    """The `path` of a facet, or an empty text for all."""

    @property
    def query(self) -> str:
        """The query of the URL of its pages, with its question mark, up to their number."""
        texts = {
            "q": self.text,
            "type": self.type,
            "python": self.python,
            "platform": self.platform,
        }
        fields = {name: text for name, text in texts.items() if text}
        # at the end, as a template writes the number of a page behind it
        fields["page"] = ""
        return f"?{urlencode(fields)}"

    def matches(self, file: "DescribedFile") -> bool:
        """Return whether a file is listed."""
        if self.type not in ("", file.type):
            return False
        compatibility = file.compatibility
        if self.python and not _has_facet(compatibility.interpreters, self.python):
            return False
        if self.platform and not _has_facet(compatibility.platforms, self.platform):
            return False
        return all(word in file.words for word in self.text.lower().split())


ALL_FILES: Final = FileFilter()


def _has_facet(facets: Iterable[Facet], path: str) -> bool:
    return any(facet.path == path for facet in facets)


class DescribedFile(Struct, frozen=True):
    """A file, and what it is for."""

    file: ShownFile
    compatibility: Compatibility

    @property
    def type(self) -> str:
        """One of TYPES."""
        match self.compatibility.kind:
            case "sdist":
                return "source"
            case "wheel":
                return "wheel"
            case _:  # an egg or an installer, as old releases have them
                return "other"

    @property
    def words(self) -> str:
        """What the words of a filter are looked for in."""
        return f"{self.file.filename} {self.compatibility.text} {self.synonyms}".lower()

    @property
    def synonyms(self) -> str:
        """What people look for besides what the page shows."""
        kind = self.compatibility.kind
        if "x86-64" in self.compatibility.text:
            return f"{kind} x64"
        return kind

    @property
    def order(self) -> tuple[int, tuple[int, int, str], str]:
        """A sort key: sdists, then wheels by what they are for."""
        kinds = tuple(TYPES)
        return kinds.index(self.type), self.compatibility.order, self.file.filename


class FileList(FilteredPage[DescribedFile], frozen=True, kw_only=True):
    """A page of the list of files of a release, and the way to the others."""

    filter: FileFilter
    types: Sequence[Facet]
    """The types that a form offers to choose from."""
    interpreters: Sequence[Facet]
    """The interpreters that it offers, with the number of their files."""
    platforms: Sequence[Facet]
    """The platforms that it offers, with the number of their files."""

    @property
    def has_form(self) -> bool:
        """Whether there are so many files that one may want to filter them."""
        return self.unfiltered > FILTERED_FILES


def file_list(
    release: ReleaseOf[ShownFile],
    selected: FileFilter = ALL_FILES,
    number: int = 1,
    size: int = ROWS_PER_PAGE,
) -> FileList | None:
    """
    Return a page of the files of a release, or None if there is no page of this number.

    A page has `size` files. If no file is `selected`, there is one page without files.
    """
    files = [DescribedFile(file, compatibility_of(file.filename)) for file in release.files]
    files.sort(key=lambda file: file.order)
    matching = list(filter(selected.matches, files))
    pages = page_count(len(matching), size)
    if not 1 <= number <= pages:
        return None
    start = (number - 1) * size

    # what a form offers is of all files: a choice must not take the others away
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
        interpreters=_counted(file.compatibility.interpreters for file in files),
        platforms=_counted(file.compatibility.platforms for file in files),
    )


def _counted(facets_of_files: Iterable[Sequence[Facet]]) -> list[Facet]:
    """Return facets, in order, with the number of their files behind their labels."""
    counts = Counter(chain.from_iterable(facets_of_files))
    frequent = dict(counts.most_common(MAX_FACETS))
    labelled: list[Facet] = []
    for facet, count in counts.items():  # in the order of the files, and not by their number
        if facet in frequent:
            labelled.append(Facet(facet.path, f"{facet.label} ({count:,})"))
    return labelled


def file_tables(
    environment: PageEnvironment, name: NormalizedName, files: FileList, to_project: str
) -> list[tuple[str, Markup]]:
    """
    Return the tables of a page of files: the heading of each, and its rows.

    The rows are built in Python, as that is faster than a template. `to_project` is the URL of the
    page of the project, relative to this page.
    """
    # escaped once for thousands of rows
    base = escape(_base_url(environment, to_project))
    tables: list[tuple[str, Markup]] = []
    for kind, group in groupby(files.entries, key=lambda file: file.type):
        rows = "".join(_row(base, name, file) for file in group)
        tables.append((_HEADINGS[kind], Markup(rows)))  # noqa: S704 - they are escaped
    return tables


class ShortFile(Struct, frozen=True):
    """A file as the page of its release names it."""

    filename: str
    url: str
    size: str
    yanked: str | None
    """The reason, perhaps empty, if it is yanked, or None."""


class FilesInShort(Struct, frozen=True):
    """The files of a release, as its page names or counts them."""

    named: Sequence[ShortFile]
    """All of them, if they are few."""
    counted: str
    """How many there are of each type, and their size, in words."""


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
        return FilesInShort((), _counted_types(release))
    base = _base_url(environment, to_project)
    named: list[ShortFile] = []
    for file in files:
        url = f"{base}/{file_url(name, file.sha256, file.filename)}"
        named.append(ShortFile(file.filename, url, size_in_words(file.size), file.yanked))
    return FilesInShort(named, _counted_types(release))


def _counted_types(release: ReleaseOf[ShownFile]) -> str:
    """Return how many files of each type a release has, and their size if it is known."""
    # by the filename alone: this page does not need what each file is for
    wheels = sum(file.is_wheel for file in release.files)
    sources = sum(file.filename.endswith(SDIST_SUFFIXES) for file in release.files)
    counts = {
        "wheel": wheels,
        "source file": sources,
        "other file": len(release.files) - wheels - sources,
    }
    texts = [counted(count, what) for what, count in counts.items() if count]
    if release.size is not None:
        texts.append(readable_size(release.size))
    return ", ".join(texts)


def size_in_words(size: int | None, unknown: str = "") -> str:
    """Return a size with its unit, or `unknown` if an upstream index has not said it."""
    if size is None:
        return unknown
    return readable_size(size)


def _base_url(environment: PageEnvironment, to_project: str) -> str:
    """Return the URL of the folder of files, as it is written on this page."""
    url = environment.files_url
    if "://" in url:
        return url
    # it is relative to the page of the project, and this one may be below that
    return f"{to_project}{url}"


def _row(base: str, name: NormalizedName, described: DescribedFile) -> str:
    """Return the row of a file as HTML, with further words for the script that filters rows."""
    file = described.file
    url = f"{base}/{file_url(name, file.sha256, file.filename)}"
    return (
        f'<tr data-words="{described.synonyms}">\n'
        f'<td><a href="{url}">{escape(file.filename)}</a>{_marks(file)}\n'
        f"<div>{escape(described.compatibility.text)}</div>\n{_details(file, url)}</td>\n"
        f"<td>{size_in_words(file.size, NOT_KNOWN)}</td>\n"
        f"<td>{_upload(file)}</td>\n"
        "</tr>\n"
    )


def _marks(file: ShownFile) -> str:
    """Return the HTML of what is to be known of a file, each mark after a blank."""
    marks = ""
    if file.yanked is not None:
        marks = f" {yank_mark(file.yanked)}"
    if not isinstance(file, File):
        if file.has_provenance:  # an upstream index says so, and nobody here has verified it
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


def _details(file: ShownFile, url: str) -> str:
    """Return the HTML of the digest and the metadata of a file, folded, as far as it has them."""
    titles: list[str] = []
    lines = ""
    if file.sha256:
        titles.append("SHA-256")
        lines += f'<p class="digest">SHA-256 <code data-copy="SHA-256">{file.sha256}</code></p>\n'
    if file.serves_metadata:
        titles.append("metadata")
        # PEP 658: the URL of the metadata is that of the file with this ending
        lines += f'<p><a href="{url}.metadata">Metadata</a></p>\n'
    if not titles:
        return ""
    return f"<details>\n<summary>{' and '.join(titles)}</summary>\n{lines}</details>\n"


def _upload(file: ShownFile) -> str:
    """Return the HTML of when a file was uploaded, and by whom if that was to this index."""
    if file.uploaded_at is None:
        return NOT_KNOWN
    at = timestamp(file.uploaded_at)
    time = f'<time datetime="{at}">{at[:10]} {at[11:16]} UTC</time>'
    if not isinstance(file, File):  # of an upstream index, which does not say who it was
        return time
    # the name comes from a provider of sign-in, where people may choose any
    who = escape(describe_principal(file.uploaded_by, file.uploaded_by_name))
    return f'{time} <bdi class="id">{who}</bdi>'


def yank_mark(reason: str) -> str:
    """Return the HTML of a mark that says that something is yanked, and why: folded if long."""
    if not reason:
        return '<span class="mark warning">yanked</span>'
    short = reason
    is_long = len(reason) > REASON_IN_SHORT
    if is_long:
        short = f"{reason[:REASON_IN_SHORT]}…"
    # a reason may be written from right to left, so that `bdi` keeps the words around it in order
    mark = f'<span class="mark warning">yanked: <bdi>{escape(short)}</bdi></span>'
    if not is_long:
        return mark
    return f"<details><summary>{mark}</summary><bdi>{escape(reason)}</bdi></details>"


def pinned_hashes(release: ReleaseOf[ShownFile]) -> list[str]:
    """
    Return the SHA-256 of the files that a pinned requirement allows: of those not yanked.

    If all are yanked, it is that of all of them. Files without a known SHA-256 are left out.
    """
    files: Iterable[ShownFile] = release.files
    if not release.is_yanked:
        # installers prefer a file that is not yanked (PEP 592), so nobody needs the hash of one
        files = [file for file in files if file.yanked is None]
    return sorted({file.sha256 for file in files} - {""})


def pinned_requirement(package: str, release: ReleaseOf[ShownFile]) -> str:
    """
    Return the lines of a requirements file with a release and the hashes of its files.

    `package` is the name of its project, perhaps with extras in brackets, or empty if the caller
    writes it before the lines.
    """
    lines = [f"{package}=={release.version}"]
    lines += [f"--hash=sha256:{digest}" for digest in pinned_hashes(release)]
    return " \\\n    ".join(lines)


def has_requirements_file(release: ReleaseOf[ShownFile]) -> bool:
    """Return whether pages link to the pinned requirement, as it is too long for them."""
    return len(pinned_hashes(release)) > PINNED_FILES
