"""
The pages of a release: its description with all facts, its files, and its dependencies.

These pages depend on no other release of the project but the latest. On a static site, they depend
only on whether this release is the latest, so that a new release changes few pages of the site.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Final

from markupsafe import Markup
from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.model.access import describe_principal
from wheelyard.model.distribution_filename import listed_version
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File
from wheelyard.rendering.listing import ShownFile, ShownProject
from wheelyard.rendering.metadata_contacts import people
from wheelyard.rendering.project_facts import ProjectFacts, ReleaseOf, is_classifier
from wheelyard.rendering.simple_pages import timestamp
from wheelyard.rendering.web import core_metadata, file_list, project_frame
from wheelyard.rendering.web.core_metadata import TEXT_LIMIT
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.file_list import FileList
from wheelyard.rendering.web.project_frame import ProjectFrame
from wheelyard.rendering.web.provenance import ShownProvenance
from wheelyard.rendering.web.public_package import OriginNotes
from wheelyard.rendering.web.viewer import Viewer

USERS_SHOWN: Final = 500
"""How many projects that require this project a page names."""
_LICENSE_PREFIX: Final = "License :: "
_LICENSE_FAMILIES: Final = ("License :: OSI Approved", "License :: DFSG approved")
"""Classifiers that name no licence when they stand alone."""
_NUMBER: Final = re.compile("[0-9]+")
_LANGUAGE_VERSION: Final = re.compile(r"(.* :: )[0-9]+(?:\.[0-9]+)*")

ClassifierRow = tuple[tuple[str, str], ...]
"""
Classifiers that a page shows in one row: of each, the shown text and the whole classifier.

The whole classifier is empty if lists cannot be filtered by it.
"""


class Arrival(Struct, frozen=True):
    """A promotion by which files of a release came from another index."""

    source: str
    """The name of the other index."""
    who: str
    """The principal that has promoted the files, in words."""
    at: str
    """The time of the promotion in UTC, as `upload-time`."""


class ReleaseHead(Struct, frozen=True, kw_only=True):
    """The facts that all pages about a release have in common, for every viewer."""

    project: ShownProject[ShownFile]
    """The project, of which the pages show name, status and reason."""
    release: ReleaseOf[ShownFile]
    latest: ReleaseOf[ShownFile]
    """The release that describes the project."""
    is_release: bool
    """Whether the pages are those of the release, and not those of the project."""
    public: OriginNotes | None = None
    """The notes on a public project, or None for a private project."""
    not_shown: OriginNotes | None = None
    """The notes on a private project of which a view hides files, or None."""
    lacks_core: bool = False
    """Whether the upstream index has not sent the core metadata."""
    other_index: str | None = None
    """The name of the index that the project is from, or None if that is this index."""

    def render(
        self,
        environment: PageEnvironment,
        viewer: Viewer,
        tab: str,
        template: str,
        **values: object,
    ) -> bytes:
        """Return the bytes of the page of a tab. `values` are for its template alone."""
        release = self.release
        is_prerelease = listed_version(release.version).is_prerelease
        latest = self.latest
        is_latest_stable = not listed_version(latest.version).is_prerelease
        frame = ProjectFrame(
            name=self.project.name,
            tab=tab,
            version=release.version,
            is_release=self.is_release,
            may_manage=viewer.may_manage,
            # the downloads of public packages are not counted
            counts_downloads=environment.counts_downloads and self.public is None,
            other_index=self.other_index,
            is_public=self.public is not None,
        )
        return environment.render(
            template,
            viewer,
            frame.root,
            frame=frame,
            project=self.project,
            release=release,
            latest=latest.version,
            # a pre-release or a yanked release is the latest only if the project has no other
            has_stable=is_latest_stable and not latest.is_yanked,
            is_prerelease=is_prerelease,
            lacks_core=self.lacks_core,
            public=self.public,
            not_shown=self.not_shown or self.public,
            **values,
        )


class ReleaseContent(Struct, frozen=True, kw_only=True):
    """The content of the pages of a release: its core metadata, and all facts made from them."""

    head: ReleaseHead
    core: CoreMetadata
    description: Markup = Markup()
    linked_names: Mapping[NormalizedName, bool] = {}
    """
    The required projects that the page links to, as the viewer may read them in this index.

    Each has whether it is public.
    """
    is_final: bool = True
    """Whether a later page of this release would have equal bytes."""
    provenance: ShownProvenance | None = None
    """The provenance of one file of the release, or None if no file has one."""
    namespaces: tuple[NormalizedName, ...] = ()
    """The namespaces whose owners have begun the project, the widest first."""
    choice: core_metadata.InstallChoice = core_metadata.NO_CHOICE
    """What the viewer has chosen for the install lines."""

    @property
    def dependency_values(self) -> dict[str, object]:
        """The values that templates need to show the dependencies of the release."""
        core = self.core
        return {
            "core": core,
            "dependencies": core_metadata.dependency_groups(
                core.requires_dist, core.provides_extra
            ),
            "linked_names": self.linked_names,
        }

    def facts(
        self, environment: PageEnvironment, viewer: Viewer, usual_pin: str
    ) -> dict[str, object]:
        """
        Return the values that templates need for the page of the release or of its project.

        `usual_pin` is the way in which install lines ask for a version if the viewer has not chosen
        one, of `PINS`.
        """
        release = self.head.release
        core = self.core
        name = self.head.project.name
        install = core_metadata.install_line(
            name, release.version, core.provides_extra, self.choice, usual=usual_pin
        )
        pinned = ""
        if not file_list.has_requirements_file(release):
            # without the name, as the page writes it with the chosen extras before the lines
            pinned = file_list.pinned_requirement("", release)
        to_project = "../" if self.head.is_release else ""
        return self.dependency_values | {
            "install": install,
            "is_chosen": self.choice != core_metadata.NO_CHOICE,
            "version_path": project_frame.version_path(release.version),
            "released": release_date(release),
            "requires_python": release.metadata_file.requires_python,
            "license": license_of(core),
            "namespaces": self.namespaces,
            "links": tuple(core_metadata.project_links(core)),
            "authors": people(core.author, core.author_email),
            "maintainers": people(core.maintainer, core.maintainer_email),
            "keywords": _split_keywords(core.keywords or ""),
            "classifiers": _classifier_groups(core.classifiers),
            "description": self.description,
            "provenance": self.provenance,
            "lost_attestations": sum(map(_has_lost_attestations, release.files)),
            "files": file_list.files_in_short(environment, name, release, to_project),
            "hashes": len(file_list.pinned_hashes(release)),
            "arrivals": _arrivals(release.files, viewer.hidden_indexes),
            "departures": _departures(release.files, viewer),
            "retention_pin": pin_of(release.files),
            "pinned": pinned,
        }


def release_page(environment: PageEnvironment, viewer: Viewer, content: ReleaseContent) -> bytes:
    """Return the bytes of the page of a release."""
    return content.head.render(
        environment,
        viewer,
        project_frame.DESCRIPTION,
        "release.html",
        is_project=False,
        **content.facts(environment, viewer, core_metadata.EXACT),
    )


def files_page(
    environment: PageEnvironment, viewer: Viewer, head: ReleaseHead, files: FileList
) -> bytes:
    """Return the bytes of a page of the files of a release."""
    name = head.project.name
    to_project = "../../" if head.is_release else "../"
    tables = file_list.file_tables(environment, name, files, to_project)
    return head.render(
        environment, viewer, project_frame.FILES, "files.html", files=files, tables=tables
    )


def dependencies_page(
    environment: PageEnvironment,
    viewer: Viewer,
    content: ReleaseContent,
    used_by: Sequence[ProjectFacts] = (),
) -> bytes:
    """
    Return the bytes of the page with the dependencies of a release.

    `used_by` are the projects that require this project.
    """
    return content.head.render(
        environment,
        viewer,
        project_frame.DEPENDENCIES,
        "dependencies.html",
        used_by=used_by[:USERS_SHOWN],
        users=len(used_by),
        **content.dependency_values,
    )


def dependency_names(core: CoreMetadata) -> frozenset[NormalizedName]:
    """Return the names of all projects that a release may require, also for extras."""
    names: set[NormalizedName] = set()
    for requirement in core.requires_dist:
        dependency = core_metadata.parse_dependency(requirement)
        # a malformed requirement has an empty name
        if dependency.name:
            names.add(dependency.name)
    return frozenset(names)


def release_date(release: ReleaseOf[ShownFile]) -> str:
    """
    Return the time of the first upload to a release, in the format of `upload-time`.

    Empty if no time is known: an upstream index need not say when files were uploaded.
    """
    times = [file.uploaded_at for file in release.files if file.uploaded_at is not None]
    if not times:
        return ""
    return timestamp(min(times))


def license_of(core: CoreMetadata) -> str:
    """
    Return the licence by the first field that names one: expression, classifiers, text.

    Empty if no field names a licence. Names from classifiers and the text are cut at `TEXT_LIMIT`
    characters.
    """
    if core.license_expression:
        # PEP 639: the expression takes the place of the classifiers and of the text
        return core.license_expression
    names: dict[str, None] = {}
    for classifier in core.classifiers:
        if classifier.startswith(_LICENSE_PREFIX) and classifier not in _LICENSE_FAMILIES:
            _, _, name = classifier.rpartition(" :: ")
            names[name] = None
    if names:
        return ", ".join(names)[:TEXT_LIMIT]
    # many projects have the text of a licence in the field, whose first line is the title
    title, _, _ = (core.license or "").partition("\n")
    return title[:TEXT_LIMIT]


def _split_keywords(text: str) -> tuple[str, ...]:
    """Return the keywords in a text with commas between them, or blanks as old tools write them."""
    # None stands for any row of blanks
    separator = "," if "," in text else None
    words = [word.strip()[:TEXT_LIMIT] for word in text.split(separator)]
    distinct_words = dict.fromkeys(word for word in words if word)
    return tuple(distinct_words)


def _classifier_groups(
    classifiers: tuple[str, ...],
) -> tuple[tuple[str, tuple[ClassifierRow, ...]], ...]:
    """Return the rows of classifiers by their first part, without classifiers of licences."""
    # the page shows the licence as a fact of its own
    others = [text for text in classifiers if not text.startswith(_LICENSE_PREFIX)]
    parts_of_classifiers = [classifier.split(" :: ") for classifier in others]
    parts_of_classifiers.sort(key=_natural_order)
    groups: list[tuple[str, tuple[ClassifierRow, ...]]] = []
    for first_part, group in groupby(parts_of_classifiers, key=itemgetter(0)):
        groups.append((first_part, tuple(_classifier_rows(group))))
    return tuple(groups)


def _classifier_rows(classifiers: Iterable[list[str]]) -> Iterator[ClassifierRow]:
    """
    Yield the rows of classifiers, each of which is given by its parts.

    Versions of one language are one row, and each other classifier is a row of its own.
    """
    shown = map(_text_and_classifier, classifiers)
    for language, group in groupby(shown, key=_language_of):
        if not language:
            for text_and_classifier in group:
                yield (text_and_classifier,)
            continue
        first, *others = group
        # the language is only in the first text of the row: Python :: 3.11, 3.12
        versions = [(text.removeprefix(language), classifier) for text, classifier in others]
        yield (first, *versions)


def _text_and_classifier(parts: list[str]) -> tuple[str, str]:
    """
    Return the text that a page shows of a classifier, and the whole classifier.

    The whole classifier is empty if lists cannot be filtered by it.
    """
    text = " :: ".join(parts[1:])
    classifier = " :: ".join(parts)
    if not is_classifier(classifier):
        # a stranger may write any text: a link with this text would lead to an error
        classifier = ""
    return text, classifier


def _language_of(classifier: tuple[str, str]) -> str:
    """Return the text before the version in `Python :: 3.12`, or an empty text without one."""
    text, _ = classifier
    match = _LANGUAGE_VERSION.fullmatch(text)
    if match is None:
        return ""
    return match[1]


def _natural_order(parts: list[str]) -> list[str]:
    """Return a sort key for the parts of a classifier that has 3.9 before 3.10."""
    return [_NUMBER.sub(_pad_number, part) for part in parts]


def _pad_number(number: re.Match[str]) -> str:
    """Return a number with zeros before it, so that numbers sort by their value."""
    return number[0].zfill(4)


def _arrivals(files: Iterable[ShownFile], hidden_indexes: Container[str]) -> list[Arrival]:
    """Return each promotion by which files came from an index that is not hidden, oldest first."""
    arrivals: set[Arrival] = set()
    for file in files:
        if not isinstance(file, File) or file.promoted_at is None:
            continue
        # a viewer must not learn that a hidden index exists
        if file.source_index in hidden_indexes:
            continue
        who = describe_principal(file.promoted_by, file.promoted_by_name)
        # files of one promotion have one time, and so give equal arrivals
        arrivals.add(Arrival(file.source_index, who, timestamp(file.promoted_at)))
    return sorted(arrivals, key=attrgetter("at", "source", "who"))


def _departures(files: Iterable[ShownFile], viewer: Viewer) -> list[str]:
    """Return the indexes to which one of these files was promoted, if no place names them."""
    targets: set[str] = set()
    for file in files:
        if isinstance(file, File):
            targets.update(file.targets)
    # a place says what the index has now, and a target only what was promoted once
    indexes_in_places = {place.index.name for place in viewer.places}
    return sorted(targets - indexes_in_places - viewer.hidden_indexes)


def _has_lost_attestations(file: ShownFile) -> bool:
    """Return whether a private file came with attestations that were not kept."""
    return isinstance(file, File) and file.lost_attestations


def pin_of(files: Iterable[object]) -> str | None:
    """Return the reason, perhaps empty, of the first pinned file, or None if no file is pinned."""
    for file in files:
        if isinstance(file, File) and file.pinned is not None:
            return file.pinned
    return None
