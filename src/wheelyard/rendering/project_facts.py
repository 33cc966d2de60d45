"""The releases of a project, and the facts that pages about several projects show."""

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
"""Characters of each of them. The longest of PyPI's has half of them."""
# until the year 9999, the last one that Python's dates have
Milliseconds = Annotated[int, Meta(ge=0, lt=253_402_300_800_000)]
"""Milliseconds since the epoch, or 0 for never."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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
        """The first reason among the yanked files, or an empty string if none has a reason."""
        return next((file.yanked for file in self.files if file.yanked), "")

    @property
    def size(self) -> int | None:
        """The bytes of all files, or None if that of one is not known."""
        total = 0
        for file in self.files:
            if file.size is None:
                return None
            total += file.size
        return total

    @property
    def metadata_file(self) -> F_co:
        """The first file with core metadata, which describes the release, or the first file."""
        return next((file for file in self.files if file.has_metadata), self.files[0])


Release = ReleaseOf[File]
"""A release of a private project."""


def releases_of(project: ShownProject[FileT]) -> tuple[ReleaseOf[FileT], ...]:
    """Return the project's releases, newest first, but none if the project is quarantined."""
    return _releases(project.status.served(project.files))


def all_releases(project: Project) -> tuple[Release, ...]:
    """Return the releases of a project, newest first, also if the project is quarantined."""
    return _releases(project.files)


def release_of(project: ShownProject[FileT], version: Version) -> ReleaseOf[FileT] | None:
    """
    Return the release with this version, or None if there is none, or the project is quarantined.

    1.0 and 1.0.0 are one version.
    """
    files = project.status.served(project.files)
    number = strip_trailing_zeros(str(version))
    # a project may have thousands of files, and far fewer versions to compare
    texts = {file.version for file in files}
    spellings = {text for text in texts if strip_trailing_zeros(text) == number}
    released = [file for file in files if file.version in spellings]
    if not released:
        return None
    return ReleaseOf(str(listed_version(released[0].version)), _wheels_first(released))


def find_release(project: ShownProject[FileT], text: str) -> ReleaseOf[FileT] | None:
    """
    Return the release whose version somebody has sent, in any spelling.

    Return None if the text is no version, there is no such release, or the project is quarantined.
    """
    try:
        return release_of(project, parse_version(text))
    except Invalid:
        return None


def versions_of(filenames: Iterable[str], project: NormalizedName | None) -> list[str]:
    """
    Return the distinct versions of a project's files, oldest first.

    `project` is None if it is not known. Raises Invalid (codes `invalid_filename` and
    `invalid_version`) for a name that no file of the project can have. Raises Invalid (code
    `ambiguous_filename`) if only the project could tell where a version begins.
    """
    versions = {parse_known_filename(filename, project).version for filename in filenames}
    return list(map(str, sorted(versions)))


def _releases(files: Iterable[FileT]) -> tuple[ReleaseOf[FileT], ...]:
    groups: dict[Version, list[FileT]] = {}
    for file in files:
        # files of one release may say 1.0 and 1.0.0, which are equal versions
        groups.setdefault(listed_version(file.version), []).append(file)
    newest = sorted(groups, reverse=True)
    return tuple(ReleaseOf(str(version), _wheels_first(groups[version])) for version in newest)


def _wheels_first(files: list[FileT]) -> tuple[FileT, ...]:
    if len(files) > 1:
        # those of a project are sorted by filename, and stay so among wheels and among others
        files = sorted(files, key=lambda file: not file.is_wheel)
    return tuple(files)


def latest_release(releases: Iterable[ReleaseOf[FileT]]) -> ReleaseOf[FileT] | None:
    """
    Return the release that describes a project, whose `releases` are sorted newest first.

    It is the newest final release, else the newest pre-release, both without yanked ones. Else the
    newest yanked one. None if there are no releases.
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
    """What the core metadata of a release say about it, as far as it can be searched."""

    summary: str = ""
    keywords: str = ""
    requirements: Sequence[str] = ()
    imports: Sequence[str] = ()
    """Import names as `acme.core`, and namespaces as `acme.*`."""
    classifiers: Sequence[str] = ()


NOT_DESCRIBED: Final = Description()


class ProjectFacts(Struct, frozen=True, array_like=True, gc=False):
    """
    What is known of one project.

    Its stored form is an array, and a field is only ever added at the end, with a default. An index
    may have 100,000 of them in memory, so texts are joined.
    """

    name: NormalizedName
    version: str = ""
    """Of the latest release, or an empty text without releases."""
    summary: str = ""
    """Of the latest release, or an empty text without releases."""
    keywords: str = ""
    """As the latest release has them, at most `KEYWORDS_LIMIT` characters."""
    requires: str = ""
    """The names of all projects that the latest release requires, each between two spaces."""
    uploaded_by: str = ""
    """The principal that has uploaded the file of `uploaded`, if the project is private."""
    uploaded: Milliseconds = 0
    """When its newest file was uploaded, also one that is yanked or in quarantine."""
    changed: Milliseconds = 0
    text: str = ""
    """Name, summary, keywords and import names, folded by `fold`."""
    document: str = ""
    """
    The revision of the document that this was made from. Empty if only the name is known.

    Of a public project, it changes with its page and with what was decided about it.
    """
    status: str = ""
    """The status unless it is active, else `yanked` if every release is, else an empty text."""
    origin: str = ""
    """The label of the upstream index of a public project, or an empty text for a private one."""
    files: int = 0
    """How many files a private project lists, also while it is in quarantine."""
    bytes: int = 0
    """Of these files, without their core metadata."""
    has_kept_files: bool = False
    """Whether deleted files of a private project can, or could lately, be restored."""
    lost_attestations: int = 0
    """How many files of a private project came with attestations that were not kept."""
    imports: str = ""
    """
    The names that the latest release is imported by, in lower case, each between two spaces.

    A namespace, which other projects may be imported by, too, ends with `.*`. At most
    `IMPORTS_LIMIT` characters.
    """
    classifiers: str = ""
    """
    Those of the latest release, as `is_classifier` wants them, each between two line feeds.

    At most `CLASSIFIERS_LIMIT` characters.
    """

    @property
    def required_names(self) -> tuple[NormalizedName, ...]:
        """The names of the projects that the latest release requires, also for extras, sorted."""
        return tuple(map(NormalizedName, self.requires.split()))

    def has_classifier(self, classifier: str) -> bool:
        """Return whether it has a classifier, in any case, or one below it: `Topic` has others."""
        classifiers = self.classifiers.lower()
        begin = f"\n{classifier.lower()}"
        return f"{begin}\n" in classifiers or f"{begin} :: " in classifiers

    @property
    def state(self) -> str:
        """What lists mark it with: its status, or that it has no files, or an empty text."""
        if self.status:
            return self.status
        # without a document only the name is known, and so not whether there are files
        if self.document and not (self.version or self.files or self.origin):
            return "no files"
        return ""

    @property
    def day(self) -> str:
        """The day (UTC) of the latest upload, else of the latest change, or an empty text."""
        milliseconds = self.uploaded or self.changed
        if not milliseconds:
            return ""
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
        return moment.date().isoformat()


def fold(text: str) -> str:
    """Return `text` in lower case, with `-` for each run of `-`, `_` and `.`, as in names."""
    return canonicalize_name(text)


def name_facts(name: NormalizedName) -> ProjectFacts:
    """Return the facts of a project of which only the name is known."""
    return ProjectFacts(name, text=name)


def private_facts_of(
    project: Project, latest: Release | None, description: Description
) -> ProjectFacts:
    """
    Return the facts of a private project, whose own summary stands for a missing one.

    `latest` is None without releases, and then there is no summary.
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

    Without releases, `latest` is None.
    """
    name = project.name
    version = ""
    summary = ""
    if latest:
        version = latest.version
        summary = _encodable(description.summary[:SUMMARY_LIMIT])
    keywords = _encodable(description.keywords[:KEYWORDS_LIMIT])
    imports = _imports_of(description)
    uploaded_at, uploader = _latest_upload(project.files)

    # an extra of the project may require the project itself
    required = {required_name(text) for text in description.requirements} - {"", name}
    requires = ""
    if required:
        # with spaces at both ends, so that a whole name is found by the spaces around it
        requires = f" {' '.join(sorted(required))} "
    return ProjectFacts(
        name,
        version=version,
        summary=summary,
        keywords=keywords,
        requires=requires,
        uploaded_by=_encodable(uploader),
        uploaded=_milliseconds(uploaded_at),
        text=fold(f"{name} {summary} {keywords}{imports.rstrip()}"),
        status=_status(project, latest),
        imports=imports,
        classifiers=_classifiers_of(description),
    )


def _latest_upload(files: Iterable[ShownFile]) -> tuple[datetime, str]:
    """Return when the newest of some files was uploaded, and who did it, or an empty text."""
    uploads: list[tuple[datetime, str, str]] = []
    for file in files:
        if file.uploaded_at is not None:
            # an upstream index does not say who has uploaded a file
            uploader = file.uploaded_by if isinstance(file, File) else ""
            uploads.append((file.uploaded_at, file.filename, uploader))
    # the filename decides between files of one moment, so that it is always the same one
    uploaded_at, _, uploader = max(uploads, default=(_EPOCH, "", ""))
    return uploaded_at, uploader


def required_name(requirement: str) -> str:
    """Return the normalised name of the project that a requirement (PEP 508) names, or ""."""
    # parsing all of it would take many times as long, and old metadata may be malformed
    match = _REQUIRED_NAME.match(requirement.lstrip())
    if match is None:
        return ""
    return fold(match[0])


def is_classifier(text: str) -> bool:
    """Return whether a text can be a classifier that lists are filtered by."""
    return 0 < len(text) <= CLASSIFIER_LIMIT and text.isprintable()


def _imports_of(description: Description) -> str:
    return _joined((name.lower() for name in description.imports), " ", IMPORTS_LIMIT)


def _classifiers_of(description: Description) -> str:
    return _joined(filter(is_classifier, description.classifiers), "\n", CLASSIFIERS_LIMIT)


def _joined(texts: Iterable[str], between: str, limit: int) -> str:
    """Return each of some texts once, between two separators, and no part of one at the limit."""
    joined = between.join(dict.fromkeys(texts))
    if len(joined) > limit:
        # with the character behind the limit: a text that ends exactly there is whole
        joined = joined[: limit + 1].rpartition(between)[0]
    if not joined:
        return ""
    return f"{between}{joined}{between}"


def _status(project: ShownProject[FileT], latest: ReleaseOf[FileT] | None) -> str:
    if project.status is not Status.ACTIVE:
        return project.status.value
    if latest is not None and latest.is_yanked:
        return "yanked"
    return ""


def _milliseconds(moment: datetime) -> int:
    return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))


def _encodable(text: str) -> str:
    if text.isascii():
        return text
    # metadata may have lone surrogates, with which no document could be stored
    return text.encode("utf-8", "replace").decode()


def search_json(projects: Iterable[ProjectFacts]) -> bytes:
    """Return the bytes of `/search.json`: a JSON list, sorted by name, one entry on a line."""
    entries = map(_entry, sorted(projects, key=attrgetter("name")))
    lines = Encoder().encode_lines(entries)[:-1]
    if not lines:
        return b"[]\n"
    # a line feed within a text is escaped in JSON, so these are all between entries
    return b"[\n" + lines.replace(b"\n", b",\n") + b"\n]\n"


def results_json(total: int, best: Iterable[ProjectFacts], upstream: Sequence[str] = ()) -> bytes:
    """
    Return the bytes of `/search.json?q=`: how many projects were found, and the best of them.

    `upstream` are the indexes in which a page of results looks up the name, too.
    """
    answer: dict[str, object] = {"total": total, "projects": list(map(_entry, best))}
    if upstream:
        answer["upstream"] = upstream
    return Encoder().encode(answer) + b"\n"


def _entry(project: ProjectFacts) -> list[str]:
    """Return `["acme-core", "1.4.0", "What it is"]`, with further facts up to the last."""
    further = [project.keywords, project.state, project.origin, project.imports.strip()]
    # empty ones at the end are left out: a list of 100,000 projects is downloaded as one
    while further and not further[-1]:
        further.pop()
    return [project.name, project.version, project.summary, *further]


def project_json(
    name: NormalizedName,
    release: ReleaseOf[ShownFile],
    core: "CoreMetadata",
    files_url: str,
    releases: Iterable[ReleaseOf[ShownFile]] | None = None,
    last_serial: int = 0,
) -> bytes:
    """
    Return the bytes of `/pypi/<name>/json`: the described release, and the files of `releases`.

    Without `releases`, they are those of `/pypi/<name>/<version>/json`. `files_url` is the URL of
    the folder of files: absolute, or a path from the root of the host.
    """
    body: dict[str, object] = {"info": _info(release, core), "last_serial": last_serial}
    url = f"{files_url}/"
    if releases is not None:
        body["releases"] = {listed.version: _files(name, listed, url) for listed in releases}
    urls = _files(name, release, url)
    return Encoder().encode(body | {"urls": urls, "vulnerabilities": []})


def _files(
    name: NormalizedName, release: ReleaseOf[ShownFile], url: str
) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = []
    for file in release.files:
        path = file_url(name, file.sha256, file.filename)
        listed.append(_file(file, f"{url}{path}"))
    return listed


def _info(release: ReleaseOf[ShownFile], core: "CoreMetadata") -> dict[str, object]:
    yanked_reason = None
    if release.is_yanked:  # one file that is yanked may have a reason, too
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


def _file(file: ShownFile, url: str) -> dict[str, object]:
    packagetype, python_version = _package_type(file.filename)
    upload_second = None
    upload_time = None
    if file.uploaded_at is not None:
        upload_time = timestamp(file.uploaded_at)
        upload_second = upload_time[:19]  # PyPI has both, with and without parts of a second
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
    # parsing is slow, and nearly all files are wheels and sdists, which need none
    if filename.endswith(".whl"):
        return "bdist_wheel", without_label(filename).split("-")[-3]
    if filename.endswith(".tar.gz"):
        return "sdist", "source"
    distribution, *_ = known_filename_readings(filename)  # each reading says the same of these
    return distribution.packagetype, distribution.python_version
