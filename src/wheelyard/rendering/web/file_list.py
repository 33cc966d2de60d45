"""
The files of a release: filtered, on several pages if there are many, and as a pinned requirement.

    files/                               sdists, then the first wheels; 100 files on a page
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
from wheelyard.rendering.web.environment import ROWS_PER_PAGE, PageEnvironment
from wheelyard.rendering.web.page_numbers import FilteredPage, page_count
from wheelyard.rendering.web.tags import Compatibility, Facet, compatibility_of

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
    """The same."""

    @property
    def query(self) -> str:
        """The query of the URL of its pages, with its question mark, up to their number."""
        texts = {
            "q": self.text,
            "type": self.type,
            "python": self.python,
            "platform": self.platform,
        }
        given = [(name, text) for name, text in texts.items() if text]
        return f"?{urlencode([*given, ('page', '')])}"

    def matches(self, file: "DescribedFile") -> bool:
        """Return whether a file is listed."""
        fits = file.compatibility
        return (
            self.type in ("", file.type)
            and (not self.python or any(self.python == one.path for one in fits.interpreters))
            and (not self.platform or any(self.platform == one.path for one in fits.platforms))
            and all(word in file.words for word in self.text.lower().split())
        )


ALL_FILES: Final = FileFilter()


class DescribedFile(Struct, frozen=True):
    """A file, and what it is for."""

    file: ShownFile
    compatibility: Compatibility

    @property
    def type(self) -> str:
        """One of TYPES."""
        kind = self.compatibility.kind
        return "source" if kind == "sdist" else "wheel" if kind == "wheel" else "other"

    @property
    def words(self) -> str:
        """What the words of a filter are looked for in."""
        fits = self.compatibility
        return f"{self.file.filename} {fits.text} {self.synonyms}".lower()

    @property
    def synonyms(self) -> str:
        """What people look for besides what the page shows."""
        return f"{self.compatibility.kind}{' x64' if 'x86-64' in self.compatibility.text else ''}"

    @property
    def order(self) -> tuple[int, tuple[int, int, str], str]:
        """A sort key: sdists, then wheels by what they are for."""
        kinds = tuple(TYPES)
        return kinds.index(self.type), self.compatibility.order, self.file.filename


class FileList(FilteredPage[DescribedFile], frozen=True, kw_only=True):
    """A page of the list of files of a release, and the way to the others."""

    filter: FileFilter
    types: Sequence[Facet]
    """What a form offers to choose from. Interpreters and platforms have their counts."""
    interpreters: Sequence[Facet]
    platforms: Sequence[Facet]

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
    """Return a page of the files of a release, or None if there is no page of this number."""
    described = (DescribedFile(file, compatibility_of(file.filename)) for file in release.files)
    files = sorted(described, key=lambda file: file.order)
    matching = list(filter(selected.matches, files))
    pages = page_count(len(matching), size)
    if not 1 <= number <= pages:
        return None
    start = (number - 1) * size
    types = {file.type for file in files}
    return FileList(
        filter=selected,
        shown=matching[start : start + size],
        first=start + 1 if matching else 0,
        total=len(matching),
        number=number,
        pages=pages,
        unfiltered=len(files),
        types=[Facet(*pair) for pair in TYPES.items() if pair[0] in types],
        interpreters=_counted(file.compatibility.interpreters for file in files),
        platforms=_counted(file.compatibility.platforms for file in files),
    )


def _counted(of_files: Iterable[Sequence[Facet]]) -> list[Facet]:
    """Return facets, in order, with the number of their files behind their labels."""
    counts = Counter(chain.from_iterable(of_files))
    most = dict(counts.most_common(MAX_FACETS))
    return [
        Facet(facet.path, f"{facet.label} ({count:,})")
        for facet, count in counts.items()
        if facet in most
    ]


def file_tables(
    environment: PageEnvironment, name: NormalizedName, files: FileList, to_project: str
) -> list[tuple[str, Markup]]:
    """
    Return the tables of a page of files: the heading of each, and its rows.

    The rows are built in Python, as that is faster than a template. `to_project` is the URL of the
    page of the project, relative to this page.
    """
    base = escape(_base_url(environment, to_project))
    return [
        (
            _HEADINGS[kind],
            Markup("".join(_row(base, name, file) for file in group)),  # noqa: S704 - they are escaped
        )
        for kind, group in groupby(files.shown, key=lambda file: file.type)
    ]


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
    """Return the files of a release in short; `to_project` is as for `file_tables`."""
    base = _base_url(environment, to_project)
    files = release.files
    named = files if len(files) <= NAMED_FILES else ()
    wheels = sum(file.is_wheel for file in files)
    sources = sum(file.filename.endswith(SDIST_SUFFIXES) for file in files)
    others = len(files) - wheels - sources
    texts = [
        counted(count, what)
        for count, what in ((wheels, "wheel"), (sources, "source file"), (others, "other file"))
        if count
    ]
    sizes = [file.size for file in files if file.size is not None]
    if len(sizes) == len(files):
        texts.append(readable_size(sum(sizes)))
    return FilesInShort(
        [
            ShortFile(
                file.filename,
                f"{base}/{file_url(name, file.sha256, file.filename)}",
                "" if file.size is None else readable_size(file.size),
                file.yanked,
            )
            for file in named
        ],
        ", ".join(texts),
    )


def _base_url(environment: PageEnvironment, to_project: str) -> str:
    url = environment.files_url
    # it may be relative to the page of the project
    return url if "://" in url else f"{to_project}{url}"


def _row(base: str, name: NormalizedName, described: DescribedFile) -> str:
    file = described.file
    url = f"{base}/{file_url(name, file.sha256, file.filename)}"
    marks = "" if file.yanked is None else f" {yank_mark(file.yanked)}"
    if isinstance(file, File) and file.waived_rules:
        rules = escape(", ".join(file.waived_rules))
        marks += f' <span class="mark">imported as it is: {rules}</span>'
    if file.has_provenance and isinstance(file, File):
        marks += ' <span class="mark">attested</span>'
    elif file.has_provenance:  # an upstream index says so, and nobody here has verified it
        marks += ' <span class="mark">attestations listed</span>'
    elif isinstance(file, File) and file.lost_attestations:
        marks += ' <span class="mark warning">attestations not kept</span>'
    metadata = f'<p><a href="{url}.metadata">Metadata</a></p>\n' if file.serves_metadata else ""
    digest = (
        f'<p class="digest">SHA-256 <code data-copy="SHA-256">{file.sha256}</code></p>\n'
        if file.sha256
        else ""
    )
    titles = [title for title, part in (("SHA-256", digest), ("metadata", metadata)) if part]
    details = (
        f"<details>\n<summary>{' and '.join(titles)}</summary>\n{digest}{metadata}</details>\n"
        if titles
        else ""
    )
    return (
        f'<tr data-words="{described.synonyms}">\n'
        f'<td><a href="{url}">{escape(file.filename)}</a>{marks}\n'
        f"<div>{escape(described.compatibility.text)}</div>\n{details}</td>\n"
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
    if not isinstance(file, File):  # of an upstream index, which does not say who it was
        return time
    who = escape(describe_principal(file.uploaded_by, file.uploaded_by_name))
    return f'{time} <bdi class="id">{who}</bdi>'


def yank_mark(reason: str) -> str:
    """Return the HTML of a mark that says that something is yanked, and why: folded if long."""
    is_long = len(reason) > REASON_IN_SHORT
    shown = f"{reason[:REASON_IN_SHORT]}…" if is_long else reason
    suffix = f": <bdi>{escape(shown)}</bdi>" if shown else ""
    mark = f'<span class="mark warning">yanked{suffix}</span>'
    whole = f"<details><summary>{mark}</summary><bdi>{escape(reason)}</bdi></details>"
    return whole if is_long else mark


def pinned_hashes(release: ReleaseOf[ShownFile]) -> list[str]:
    """Return the SHA-256 of the files that a pinned requirement allows: of those not yanked."""
    files = [file for file in release.files if release.is_yanked or file.yanked is None]
    return sorted({file.sha256 for file in files} - {""})


def pinned_requirement(package: str, release: ReleaseOf[ShownFile]) -> str:
    """
    Return the lines of a requirements file with a release and the hashes of its files.

    `package` is the name of its project, perhaps with extras in brackets.
    """
    hashes = (f"--hash=sha256:{digest}" for digest in pinned_hashes(release))
    return " \\\n    ".join((f"{package}=={release.version}", *hashes))


def has_requirements_file(release: ReleaseOf[ShownFile]) -> bool:
    """Return whether pages link to the pinned requirement, as it is too long for them."""
    return len(pinned_hashes(release)) > PINNED_FILES
