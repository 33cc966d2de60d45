"""
The releases of a project, the facts of a project in lists and searches, and both as JSON.

The JSON documents are `/search.json` and `/pypi/<name>/json`.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Final, Generic, NamedTuple, TypeVar

from msgspec import Meta, Struct
from msgspec.json import Encoder
from msgspec.structs import replace
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from wheelyard.errors import Invalid
from wheelyard.model.distribution_filename import (
    file_url,
    known_filename_readings,
    listed_version,
    parse_known_filename,
    parse_version,
    strip_trailing_zeros,
    without_label,
)
from wheelyard.model.project import SUMMARY_LIMIT, File, Project, Status
from wheelyard.rendering.listing import F_co, ShownFile, ShownProject
from wheelyard.rendering.metadata_contacts import decode_addresses, decode_words
from wheelyard.rendering.simple_pages import (
    metadata_mark,
    stated_hashes,
    timestamp,
)

if TYPE_CHECKING:
    from wheelyard.model.metadata import CoreMetadata


FileT = TypeVar("FileT", bound=ShownFile)

KEYWORDS_LIMIT: Final = 512
"""Characters of the keywords of a project that can be searched."""
IMPORTS_LIMIT: Final = 1024
"""Characters of the import names of a project that can be searched."""
CLASSIFIERS_LIMIT: Final = 1024
"""Characters of the classifiers of a project that lists can be filtered by."""
CLASSIFIER_LIMIT: Final = 128
"""Characters of one classifier. The longest classifier of PyPI has half as many."""
# until the year 9999, the last year of Python's dates
Milliseconds = Annotated[int, Meta(ge=0, lt=253_402_300_800_000)]
"""Milliseconds since the epoch, or 0 for never."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTH_TO_SECONDS: Final = len("2026-01-31T23:59:59")
"""Characters of a time in ISO 8601 before the parts of a second."""
_REQUIRED_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


class ReleaseOf(Struct, Generic[F_co], frozen=True):
    """A version of a project and its files, sorted: wheels first, then by filename."""

    version: str
    files: tuple[F_co, ...]

    @property
    def is_yanked(self) -> bool:
        """Whether every file of the release is yanked."""
        return all(file.yanked is not None for file in self.files)

    @property
    def yanked_reason(self) -> str:
        """The reason of the first file with one, or an empty string if no file has a reason."""
        for file in self.files:
            if file.yanked:
                return file.yanked
        return ""

    @property
    def size(self) -> int | None:
        """The bytes of all files together, or None if the size of a file is not known."""
        total = 0
        for file in self.files:
            if file.size is None:
                return None
            total += file.size
        return total

    @property
    def metadata_file(self) -> F_co:
        """The file whose core metadata describe the release, or the first file without any."""
        for file in self.files:
            if file.has_metadata:
                return file
        return self.files[0]


Release = ReleaseOf[File]
"""A release of a private project."""


def releases_of(project: ShownProject[FileT]) -> tuple[ReleaseOf[FileT], ...]:
    """Return the project's releases, newest first, but none if the project is quarantined."""
    return _group_by_version(project.status.served(project.files))


def all_releases(project: Project) -> tuple[Release, ...]:
    """Return the releases of a project, newest first, also if the project is quarantined."""
    return _group_by_version(project.files)


def release_of(project: ShownProject[FileT], version: Version) -> ReleaseOf[FileT] | None:
    """
    Return the release of a project with this version; 1.0 and 1.0.0 are one version.

    None if the project has no such release, or is quarantined.
    """
    files = project.status.served(project.files)
    short_version = strip_trailing_zeros(str(version))
    # a project may have thousands of files, and far fewer versions to compare
    file_versions = {file.version for file in files}
    spellings = {text for text in file_versions if strip_trailing_zeros(text) == short_version}
    release_files = [file for file in files if file.version in spellings]
    if not release_files:
        return None
    release_version = listed_version(release_files[0].version)
    return ReleaseOf(str(release_version), _wheels_first(release_files))


def find_release(project: ShownProject[FileT], text: str) -> ReleaseOf[FileT] | None:
    """
    Return the release whose version a client has sent as text, in any spelling.

    None if the text is no version, the project has no such release, or it is quarantined.
    """
    try:
        return release_of(project, parse_version(text))
    except Invalid:
        return None


def versions_of(filenames: Iterable[str], project: NormalizedName | None) -> list[str]:
    """
    Return the distinct versions of a project's files, oldest first.

    `project` is None if the name of the project is not known. Raises Invalid (code
    `invalid_filename` or `invalid_version`) for a filename that no file of the project can have,
    and Invalid (code `ambiguous_filename`) if `project` is None and only its name could tell where
    the version begins.
    """
    versions = {parse_known_filename(filename, project).version for filename in filenames}
    return list(map(str, sorted(versions)))


def _group_by_version(files: Iterable[FileT]) -> tuple[ReleaseOf[FileT], ...]:
    """Return the releases that these files of a project make, the newest first."""
    files_by_version: dict[Version, list[FileT]] = {}
    for file in files:
        # files of one release may say 1.0 and 1.0.0, which are equal versions
        files_by_version.setdefault(listed_version(file.version), []).append(file)
    releases: list[ReleaseOf[FileT]] = []
    for version in sorted(files_by_version, reverse=True):
        release_files = _wheels_first(files_by_version[version])
        releases.append(ReleaseOf(str(version), release_files))
    return tuple(releases)


def _wheels_first(files: list[FileT]) -> tuple[FileT, ...]:
    """Return the files of a release, wheels first, and otherwise in the given order."""
    if len(files) == 1:
        return tuple(files)
    wheels = [file for file in files if file.is_wheel]
    other_files = [file for file in files if not file.is_wheel]
    return (*wheels, *other_files)


def latest_release(releases: Iterable[ReleaseOf[FileT]]) -> ReleaseOf[FileT] | None:
    """
    Return the release that describes a project, whose `releases` are sorted newest first.

    The newest final release that is not yanked, else the newest pre-release that is not yanked,
    else the newest release. None if there are no releases.
    """
    newest: ReleaseOf[FileT] | None = None
    newest_prerelease: ReleaseOf[FileT] | None = None
    for release in releases:
        newest = newest or release
        if release.is_yanked:
            continue
        if not listed_version(release.version).is_prerelease:
            return release
        newest_prerelease = newest_prerelease or release
    return newest_prerelease or newest


class Description(NamedTuple):
    """The fields of the core metadata of a release that lists show and searches look in."""

    summary: str = ""
    keywords: str = ""
    requirements: Sequence[str] = ()
    imports: Sequence[str] = ()
    """Import names as `acme.core`, and namespaces as `acme.*`."""
    classifiers: Sequence[str] = ()


NOT_DESCRIBED: Final = Description()
"""The description of a release without core metadata."""


class ProjectFacts(Struct, frozen=True, array_like=True, gc=False):
    """
    What lists and searches know of one project.

    The stored form of these facts is an array, and a field is only ever added at the end, with a
    default. An index may have the facts of 100,000 projects in memory, so that lists of texts are
    joined to one text.
    """

    name: NormalizedName
    version: str = ""
    """The version of the latest release, or an empty text without releases."""
    summary: str = ""
    """The summary of the latest release, or an empty text without releases."""
    keywords: str = ""
    """The keywords of the latest release, at most `KEYWORDS_LIMIT` characters."""
    requires: str = ""
    """The names of all projects that the latest release requires, each between two spaces."""
    uploaded_by: str = ""
    """The principal that has uploaded the newest file, or an empty text for a public project."""
    uploaded: Milliseconds = 0
    """When the newest file was uploaded; files that are yanked or in quarantine count, too."""
    changed: Milliseconds = 0
    """When the last commit has changed a private project."""
    text: str = ""
    """Name, summary, keywords and import names, folded by `fold`."""
    document: str = ""
    """
    The revision of the document that the facts were made from. Empty if only the name is known.

    For a public project, a text that changes with its page and with the decisions about it.
    """
    status: str = ""
    """The status unless it is active, else `yanked` if every release is, else an empty text."""
    origin: str = ""
    """The label of the upstream index of a public project, or an empty text for a private one."""
    files: int = 0
    """How many files a private project lists, also while it is in quarantine."""
    bytes: int = 0
    """The size of these files together, without their core metadata."""
    has_kept_files: bool = False
    """Whether a private project has deleted files in its trash."""
    lost_attestations: int = 0
    """How many files of a private project came with attestations that were not kept."""
    imports: str = ""
    """
    The import names of the latest release, in lower case, each between two spaces.

    A namespace, in which other projects may have modules, too, ends with `.*`. At most
    `IMPORTS_LIMIT` characters.
    """
    classifiers: str = ""
    """
    The classifiers of the latest release that pass `is_classifier`, each between two line feeds.

    At most `CLASSIFIERS_LIMIT` characters.
    """

    @property
    def required_names(self) -> tuple[NormalizedName, ...]:
        """The names of the projects that the latest release requires, also for extras, sorted."""
        return tuple(map(NormalizedName, self.requires.split()))

    def has_classifier(self, classifier: str) -> bool:
        """
        Return whether the latest release has a classifier, or one below it in the tree.

        `Topic :: Software Development` is below `Topic`. Upper and lower case are equal.
        """
        classifiers = self.classifiers.lower()
        line_start = f"\n{classifier.lower()}"
        return f"{line_start}\n" in classifiers or f"{line_start} :: " in classifiers

    @property
    def state(self) -> str:
        """The mark of the project in lists: its status, `no files`, or an empty text."""
        if self.status:
            return self.status
        has_files = bool(self.version or self.files or self.origin)
        # without a document only the name is known, and so not whether there are files
        if self.document and not has_files:
            return "no files"
        return ""

    @property
    def day(self) -> str:
        """
        The day (UTC) of the latest upload, or of the latest change if no upload is known.

        Empty if neither is known.
        """
        milliseconds = self.uploaded or self.changed
        if not milliseconds:
            return ""
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
        return moment.date().isoformat()


def fold(text: str) -> str:
    """Return a text in lower case, with `-` in place of each run of `-`, `_` and `.` (PEP 503)."""
    return canonicalize_name(text)


def name_facts(name: NormalizedName) -> ProjectFacts:
    """Return the facts of a project of which only the name is known."""
    return ProjectFacts(name, text=name)


def private_facts_of(
    project: Project, latest: Release | None, description: Description
) -> ProjectFacts:
    """
    Return the facts of a private project, with the `description` of its latest release.

    The summary of the project's document takes the place of a summary that the description lacks.
    `latest` is None without releases, and then the facts have no summary.
    """
    summary = description.summary or project.summary
    facts = facts_of(project, latest, description._replace(summary=summary))
    changed = 0
    if project.commit:
        changed = max((_milliseconds(event.at) for event in project.commit.events), default=0)
    return replace(
        facts,
        changed=changed,
        document=str(project.revision),
        files=len(project.files),
        bytes=sum(file.size for file in project.files),
        has_kept_files=bool(project.trash),
        lost_attestations=sum(file.lost_attestations for file in project.files),
    )


def facts_of(
    project: ShownProject[FileT],
    latest: ReleaseOf[FileT] | None,
    description: Description = NOT_DESCRIBED,
) -> ProjectFacts:
    """
    Return the facts of a project, with the `description` of its latest release.

    `latest` is None if the project has no releases.
    """
    name = project.name
    version = ""
    summary = ""
    if latest:
        version = latest.version
        summary = _encodable(description.summary[:SUMMARY_LIMIT])
    keywords = _encodable(description.keywords[:KEYWORDS_LIMIT])
    imports = _joined_imports(description)
    searched_text = f"{name} {summary} {keywords}{imports.rstrip()}"
    uploaded_at, uploader = _latest_upload(project.files)
    return ProjectFacts(
        name,
        version=version,
        summary=summary,
        keywords=keywords,
        requires=_joined_requirements(name, description),
        uploaded_by=_encodable(uploader),
        uploaded=_milliseconds(uploaded_at),
        text=fold(searched_text),
        status=_status_in_lists(project, latest),
        imports=imports,
        classifiers=_joined_classifiers(description),
    )


def _joined_requirements(name: NormalizedName, description: Description) -> str:
    """Return the value of `requires` for a project: the names of other projects, sorted."""
    required_names: set[str] = set()
    for requirement in description.requirements:
        required_names.add(required_name(requirement))
    required_names.discard("")
    # an extra of the project may require the project itself
    required_names.discard(name)
    if not required_names:
        return ""
    # with spaces at both ends, so that a search finds a whole name by the spaces around it
    return f" {' '.join(sorted(required_names))} "


def _latest_upload(files: Iterable[ShownFile]) -> tuple[datetime, str]:
    """
    Return when the newest of these files was uploaded, and the principal that has uploaded it.

    The time is the epoch if no upload is known. The principal is empty for a public project.
    """
    uploads: list[tuple[datetime, str, str]] = []
    for file in files:
        if file.uploaded_at is not None:
            # an upstream index does not say who has uploaded a file
            uploader = file.uploaded_by if isinstance(file, File) else ""
            uploads.append((file.uploaded_at, file.filename, uploader))
    # between files of one moment, the filename decides, so that equal files give equal facts
    uploaded_at, _, uploader = max(uploads, default=(_EPOCH, "", ""))
    return uploaded_at, uploader


def required_name(requirement: str) -> str:
    """
    Return the normalised name of the project that a requirement (PEP 508) names.

    Empty if the text begins with no name.
    """
    # parsing the whole requirement takes many times as long, and old metadata may be malformed
    match = _REQUIRED_NAME.match(requirement.lstrip())
    if match is None:
        return ""
    return fold(match[0])


def is_classifier(text: str) -> bool:
    """Return whether a text can be a classifier that people filter lists by."""
    return 0 < len(text) <= CLASSIFIER_LIMIT and text.isprintable()


def _joined_imports(description: Description) -> str:
    """Return the value of `imports` for the description of a release."""
    names = [name.lower() for name in description.imports]
    return _join_once(names, " ", IMPORTS_LIMIT)


def _joined_classifiers(description: Description) -> str:
    """Return the value of `classifiers` for the description of a release."""
    classifiers = [text for text in description.classifiers if is_classifier(text)]
    return _join_once(classifiers, "\n", CLASSIFIERS_LIMIT)


def _join_once(texts: Iterable[str], separator: str, limit: int) -> str:
    """
    Return each of the texts once, with a separator before and after it.

    The result has at most `limit` characters between the first and the last separator. A text that
    would cross the limit is left out, and so are all texts behind that text.
    """
    joined = separator.join(dict.fromkeys(texts))
    if len(joined) > limit:
        # with one character more: a separator there shows that the text before it is whole
        joined, _, _ = joined[: limit + 1].rpartition(separator)
    if not joined:
        return ""
    return f"{separator}{joined}{separator}"


def _status_in_lists(project: ShownProject[FileT], latest: ReleaseOf[FileT] | None) -> str:
    """Return the value of `status` for a project, whose latest release is yanked if all are."""
    if project.status is not Status.ACTIVE:
        return project.status.value
    if latest is not None and latest.is_yanked:
        return "yanked"
    return ""


def _milliseconds(moment: datetime) -> int:
    """Return the milliseconds from the epoch to a moment, or 0 for an earlier moment."""
    return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))


def _encodable(text: str) -> str:
    """Return a text with `?` for lone surrogates, with which a document cannot be stored."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def search_json(projects: Iterable[ProjectFacts]) -> bytes:
    """Return the bytes of `/search.json`: a JSON list, sorted by name, one entry on a line."""
    sorted_projects = sorted(projects, key=attrgetter("name"))
    lines = Encoder().encode_lines(map(_search_entry, sorted_projects)).removesuffix(b"\n")
    if not lines:
        return b"[]\n"
    # a line feed within a text is escaped in JSON, so each line feed is between two entries
    return b"[\n" + lines.replace(b"\n", b",\n") + b"\n]\n"


def results_json(total: int, best: Iterable[ProjectFacts], upstream: Sequence[str] = ()) -> bytes:
    """
    Return the bytes of `/search.json?q=`: how many projects match a search, and the best of them.

    `upstream` has the upstream indexes in which a page of results looks up the name, too.
    """
    answer: dict[str, object] = {"total": total, "projects": list(map(_search_entry, best))}
    if upstream:
        answer["upstream"] = upstream
    return Encoder().encode(answer) + b"\n"


def _search_entry(project: ProjectFacts) -> list[str]:
    """
    Return the entry of a project: `["acme-core", "1.4.0", "What it is"]`, and further facts.

    Empty facts at the end are left out: clients download the list of 100,000 projects as a whole.
    """
    further_facts = [project.keywords, project.state, project.origin, project.imports.strip()]
    while further_facts and not further_facts[-1]:
        further_facts.pop()
    return [project.name, project.version, project.summary, *further_facts]


def project_json(
    name: NormalizedName,
    release: ReleaseOf[ShownFile],
    core: "CoreMetadata",
    files_url: str,
    releases: Iterable[ReleaseOf[ShownFile]] | None = None,
    last_serial: int = 0,
) -> bytes:
    """
    Return the bytes of `/pypi/<name>/json`: a release with its files, and the files of `releases`.

    `core` are the core metadata of `release`. If `releases` is None, return the bytes of
    `/pypi/<name>/<version>/json`. `files_url` is the URL of the folder of files: absolute, or a
    path from the root of the host.
    """
    document: dict[str, object] = {"info": _pypi_info(release, core), "last_serial": last_serial}
    if releases is not None:
        files_by_version: dict[str, object] = {}
        for listed_release in releases:
            files_by_version[listed_release.version] = _pypi_files(name, listed_release, files_url)
        document["releases"] = files_by_version
    document["urls"] = _pypi_files(name, release, files_url)
    document["vulnerabilities"] = []
    return Encoder().encode(document)


def _pypi_files(
    name: NormalizedName, release: ReleaseOf[ShownFile], files_url: str
) -> list[dict[str, object]]:
    """Return the entries of the files of a release, whose URLs are below `files_url`."""
    entries: list[dict[str, object]] = []
    for file in release.files:
        path = file_url(name, file.sha256, file.filename)
        entries.append(_pypi_file(file, f"{files_url}/{path}"))
    return entries


def _pypi_info(release: ReleaseOf[ShownFile], core: "CoreMetadata") -> dict[str, object]:
    """Return the entry `info` of a release, with the keys that PyPI has."""
    yanked_reason = None
    # a release that is not yanked as a whole may have yanked files with a reason
    if release.is_yanked:
        yanked_reason = release.yanked_reason or None
    return {
        "author": decode_words(core.author or ""),
        "author_email": decode_addresses(core.author_email or ""),
        "bugtrack_url": None,
        "classifiers": core.classifiers,
        "description": core.description or "",
        "description_content_type": core.description_content_type,
        "docs_url": None,
        "download_url": core.download_url or "",
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},  # as PyPI has them, too
        "dynamic": core.dynamic or None,
        "home_page": core.home_page or "",
        "keywords": core.keywords or "",
        "license": core.license or "",
        "license_expression": core.license_expression,
        "license_files": core.license_files or None,
        "maintainer": decode_words(core.maintainer or ""),
        "maintainer_email": decode_addresses(core.maintainer_email or ""),
        "name": core.name,
        "package_url": "",
        "platform": ", ".join(core.platforms),
        "project_url": "",
        "project_urls": dict(core.project_urls) or None,
        "provides_extra": core.provides_extra or None,
        "release_url": "",
        "requires_dist": core.requires_dist or None,
        "requires_python": release.metadata_file.requires_python,
        "summary": core.summary or "",
        "version": release.version,
        "yanked": release.is_yanked,
        "yanked_reason": yanked_reason,
    }


def _pypi_file(file: ShownFile, url: str) -> dict[str, object]:
    """Return the entry of a file, with the keys that PyPI has."""
    packagetype, python_version = _package_type(file.filename)
    # PyPI has the time of the upload with and without parts of a second
    upload_second = None
    upload_time = None
    if file.uploaded_at is not None:
        upload_time = timestamp(file.uploaded_at)
        upload_second = upload_time[:_LENGTH_TO_SECONDS]
    return {
        "comment_text": "",
        "core-metadata": metadata_mark(file),
        "digests": stated_hashes(file),
        "downloads": -1,
        "filename": file.filename,
        "has_sig": False,
        "packagetype": packagetype,
        "python_version": python_version,
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": upload_second,
        "upload_time_iso_8601": upload_time,
        "url": url,
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
    }


def _package_type(filename: str) -> tuple[str, str]:
    """Return PyPI's `packagetype` and `python_version` of a file, by its filename."""
    # parsing is slow, and nearly all files are wheels and sdists, which are told by their ending
    if filename.endswith(".whl"):
        *_, python_tag, _abi_tag, _platform_tag = without_label(filename).split("-")
        return "bdist_wheel", python_tag
    if filename.endswith(".tar.gz"):
        return "sdist", "source"
    # all readings of such a filename have the same type and the same version of Python
    distribution, *_ = known_filename_readings(filename)
    return distribution.packagetype, distribution.python_version
