"""
The page of a release, and the list of its files, on several pages if there are many.

It depends on nothing of the project's other releases but whether it is the latest, so that a
new release changes few pages of a static site.

    ./                   the page of the release: files 1 to 100
    files/2/             files 101 to 200
    files/cp312/         the files for CPython 3.12, if there are several pages
    files/on-macos/2/    files 101 to 200 of those for macOS
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Final
from urllib.parse import quote

from markupsafe import Markup, escape
from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.model.decoding import counted
from wheelyard.model.distribution_filename import strip_trailing_zeros
from wheelyard.model.grants import with_name
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File
from wheelyard.model.public_packages import Decision, describe
from wheelyard.rendering.listing import HiddenFiles, Origin, ShownFile, ShownProject
from wheelyard.rendering.project_facts import ReleaseOf
from wheelyard.rendering.simple_pages import file_url, listed_version, timestamp
from wheelyard.rendering.web.core_metadata import (
    TEXT_LIMIT,
    dependency_groups,
    parse_dependency,
    people,
    project_links,
)
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.tags import Facet, compatibility_of

FILES_PER_PAGE: Final = 100
"""With more files, a release has several pages of files, and pages of some of them."""
NOT_KNOWN: Final = "not known"
"""What is shown of a public file where its upstream index does not say more."""
MAX_FACETS: Final = 24
"""The most pages by interpreter, and by platform, of which those with the most files are chosen."""


class FileSelection(Struct, frozen=True):
    """A page of the list of files."""

    facet: Facet | None = None
    """What its files have in common, or None for all files."""
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
    """All pages with the same facet, or none if there is only one."""
    interpreters: tuple[tuple[Facet, int], ...]
    """The facets with their number of files, or none if all files are on one page."""
    platforms: tuple[tuple[Facet, int], ...]

    @property
    def last(self) -> int:
        """The number of the last shown file."""
        return self.first + len(self.shown) - 1


def file_list(release: ReleaseOf[ShownFile], facet: str = "", number: int = 1) -> FileList | None:
    """
    Return a page of the files of a release, those with a facet if `facet` is its path.

    None if no file has this facet, or there is no page of this number.
    """
    files = sorted(
        ((compatibility_of(file.filename), file) for file in release.files),
        key=lambda pair: (pair[0].order, pair[1].filename),
    )
    interpreters = _facets(compatibility.interpreters for compatibility, _ in files)
    platforms = _facets(compatibility.platforms for compatibility, _ in files)
    chosen = next(
        (option for option, _ in (*interpreters, *platforms) if option.path == facet), None
    )
    if chosen is None and facet:
        return None  # no file of the release has it
    if chosen is not None:
        files = [pair for pair in files if chosen in (*pair[0].interpreters, *pair[0].platforms)]
    count = -(-len(files) // FILES_PER_PAGE)  # rounded up
    if not 1 <= number <= count:
        return None
    start = (number - 1) * FILES_PER_PAGE
    return FileList(
        FileSelection(chosen, number),
        tuple(file for _, file in files[start : start + FILES_PER_PAGE]),
        start + 1,
        len(files),
        tuple(FileSelection(chosen, page) for page in range(1, count + 1)) if count > 1 else (),
        interpreters,
        platforms,
    )


def file_pages(release: ReleaseOf[ShownFile]) -> Iterator[FileSelection]:
    """Yield each page of the files of a release besides the page of the release itself."""
    if len(release.files) <= FILES_PER_PAGE:
        return  # the page of the release has them all
    first = file_list(release)
    assert first is not None  # noqa: S101 - the first page is always there
    yield from first.pages[1:]
    for facet, count in (*first.interpreters, *first.platforms):
        for number in range(1, -(-count // FILES_PER_PAGE) + 1):
            yield FileSelection(facet, number)


def _facets(of_files: Iterable[Sequence[Facet]]) -> tuple[tuple[Facet, int], ...]:
    """Return the facets of files with their counts, in order, or none if one page has all files."""
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
    if not isinstance(file, File):  # of an upstream index, which does not say who it was
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


HIDDEN_SHOWN: Final = 20
"""How many rows of what is not shown are shown at first, before the folded ones."""


class PublicPackage(Struct, frozen=True):
    """Where a project of an upstream index is from, what of it is not shown, and who decided so."""

    origin: Origin
    hidden: Sequence[HiddenFiles] = ()
    """Newest first."""
    decisions: Sequence[Decision] = ()
    """Those in force."""

    def of_release(self, version: str) -> "PublicPackage":
        """Return the same for the page of one release, without what is hidden of the others."""
        wanted = strip_trailing_zeros(version)
        hidden = [files for files in self.hidden if strip_trailing_zeros(files.version) == wanted]
        return replace(self, hidden=hidden)

    @property
    def stale_time(self) -> str:
        """When its upstream index confirmed it, if that does not answer now, or an empty text."""
        confirmed_at = self.origin.confirmed_at
        return timestamp(confirmed_at) if self.origin.is_stale and confirmed_at else ""

    @property
    def recent_rows(self) -> Markup:
        """The first HIDDEN_SHOWN rows of a table of what is not shown."""
        return _rows(self.hidden[:HIDDEN_SHOWN])

    @property
    def older_rows(self) -> Markup:
        """The rows after `recent_rows`, or none if there are few."""
        return _rows(self.hidden[HIDDEN_SHOWN:])

    @property
    def older(self) -> int:
        """How many rows `older_rows` has."""
        return len(self.hidden[HIDDEN_SHOWN:])

    @property
    def told_decisions(self) -> list[tuple[str, str, str]]:
        """What was decided in words, by whom, and on which day."""
        return [(describe(made), made.by, timestamp(made.at)[:10]) for made in self.decisions]


def public_package(origin: Origin) -> PublicPackage | None:
    """
    Return what pages say of a package of an upstream index, or None for a private project.

    Raises Unavailable if the decisions about the project cannot be read.
    """
    if not origin.is_upstream:
        return None
    return PublicPackage(origin, origin.hidden(), origin.decisions())


def _rows(hidden: Iterable[HiddenFiles]) -> Markup:
    """Return rows of a table, built in Python as there may be thousands."""
    return Markup("".join(map(_row, hidden)))  # noqa: S704 - they are escaped


def _row(hidden: HiddenFiles) -> str:
    return (
        f'<tr><td class="id">{escape(hidden.version)}</td>'
        f"<td>{counted(hidden.count, 'file')}</td>"
        f'<td class="sentence"><bdi>{escape(hidden.reason)}</bdi></td></tr>\n'
    )


_LICENSE: Final = "License :: "
_LICENSE_FAMILIES: Final = ("License :: OSI Approved", "License :: DFSG approved")
"""Classifiers that name no licence when they stand alone."""
_NUMBER: Final = re.compile("[0-9]+")


class ReleaseContent(Struct, frozen=True, kw_only=True):
    """What the page of a release shows, for whoever looks at it."""

    project: ShownProject[ShownFile]
    """Of which only name, status and reason are shown."""
    release: ReleaseOf[ShownFile]
    latest: str
    """The version of the release that describes the project."""
    core: CoreMetadata
    description: Markup
    linked_names: Container[str] = frozenset()
    """The names that dependencies are linked to: projects of this index that may be shown."""
    public: PublicPackage | None = None
    """What else is shown of a release of an upstream index, or None for a private one."""
    lacks_core: bool = False
    """Whether `core` is a minimum because the upstream index has not sent it."""
    is_final: bool = True
    """Whether a later page of the same release would show the same."""

    @property
    def values(self) -> dict[str, object]:
        """What templates show of the release."""
        release, core = self.release, self.core
        return {
            "project": self.project,
            "release": release,
            "version_path": version_path(release.version),
            "latest": self.latest,
            "is_prerelease": listed_version(release.version).is_prerelease,
            "released": release_date(release),
            "core": core,
            "requires_python": release.metadata_file.requires_python,
            "license": _license(core),
            "links": tuple(project_links(core)),
            "authors": people(core.author, core.author_email),
            "maintainers": people(core.maintainer, core.maintainer_email),
            "keywords": _keywords(core.keywords or ""),
            "classifiers": _classifier_groups(core.classifiers),
            "dependencies": dependency_groups(core.requires_dist, core.provides_extra),
            "known": self.linked_names,
            "description": self.description,
            "lacks_core": self.lacks_core,
        }


def release_page(environment: PageEnvironment, viewer: Viewer, content: ReleaseContent) -> bytes:
    """Return the bytes of the page of a release."""
    files = file_list(content.release)
    return environment.render(
        "release.html",
        viewer,
        "../../../",
        is_project=False,
        public=content.public,
        **content.values,
        **file_values(environment, content.project.name, files, "./", "../"),
    )


def files_page(
    environment: PageEnvironment,
    viewer: Viewer,
    project: ShownProject[ShownFile],
    release: ReleaseOf[ShownFile],
    files: FileList,
) -> bytes:
    """Return the bytes of one of the further pages of the files of a release."""
    depth = files.selection.path.count("/")
    return environment.render(
        "files.html",
        viewer,
        "../" * (3 + depth),
        project=project,
        release=release,
        **file_values(environment, project.name, files, "../" * depth, "../" * (depth + 1)),
    )


def file_values(
    environment: PageEnvironment, name: NormalizedName, files: FileList | None, base: str, up: str
) -> dict[str, object]:
    """
    Return what templates show of a page of files.

    `base` is the URL of the page of the release, `up` that of the page of the project, both
    relative to this page.
    """
    assert files is not None  # noqa: S101 - no release is without files
    files_url = environment.files_url
    if "://" not in files_url:  # it is relative to the page of the project
        files_url = f"{up}{files_url}"
    return {"files": files, "rows": file_rows(files.shown, name, files_url), "base": base}


def dependency_names(core: CoreMetadata) -> frozenset[NormalizedName]:
    """Return the names of all projects that a release may need."""
    names = frozenset(parse_dependency(text).name for text in core.requires_dist)
    return names - {""}


def version_path(version: str) -> str:
    """Return a version as the segment of a URL path."""
    return quote(version, safe="!")


def release_date(release: ReleaseOf[ShownFile]) -> str:
    """Return the time of the first upload to a release as `upload-time` is, or an empty text."""
    times = [file.uploaded_at for file in release.files if file.uploaded_at is not None]
    return timestamp(min(times)) if times else ""


def _license(core: CoreMetadata) -> str:
    """Return the licence by the first field that names one: expression, classifiers, text."""
    if core.license_expression:
        return core.license_expression
    named = [
        classifier.rpartition(" :: ")[2]
        for classifier in core.classifiers
        if classifier.startswith(_LICENSE) and classifier not in _LICENSE_FAMILIES
    ]
    # many projects have a whole licence in the field, of which the first line is the title
    return (", ".join(dict.fromkeys(named)) or (core.license or "").partition("\n")[0])[:TEXT_LIMIT]


def _keywords(text: str) -> tuple[str, ...]:
    """Return keywords, which commas separate, or spaces in those of old tools."""
    words = text.split(",") if "," in text else text.split()
    return tuple(dict.fromkeys(word for text in words if (word := text.strip()[:TEXT_LIMIT])))


def _classifier_groups(classifiers: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return classifiers, besides those of licenses, by their first part, with the rest of each."""
    others = (text for text in classifiers if not text.startswith(_LICENSE))
    split = sorted((text.split(" :: ") for text in others), key=_natural_order)
    return tuple(
        (first, tuple(" :: ".join(rest) for _, *rest in group))
        for first, group in groupby(split, key=lambda parts: parts[0])
    )


def _natural_order(parts: list[str]) -> list[str]:
    """Return a sort key that has 3.9 before 3.10."""
    return [_NUMBER.sub(lambda number: number[0].zfill(4), part) for part in parts]
