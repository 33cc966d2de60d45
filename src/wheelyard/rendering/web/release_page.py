"""
The pages of a release: its description with all facts, its files, and its dependencies.

They depend on nothing of the project's other releases but on which is the latest, and those of a
static site only on whether it is this one. So a new release changes few pages of a static site.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
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
"""How many projects that use this one are named."""
_LICENSE: Final = "License :: "
_LICENSE_FAMILIES: Final = ("License :: OSI Approved", "License :: DFSG approved")
"""Classifiers that name no licence when they stand alone."""
_NUMBER: Final = re.compile("[0-9]+")
_VERSION_OF_LANGUAGE: Final = re.compile(r"(.* :: )[0-9]+(?:\.[0-9]+)*")

ClassifierRow = tuple[tuple[str, str], ...]
"""What is shown of classifiers in one row, each with all of it if lists can be filtered by it."""


class Arrival(Struct, frozen=True):
    """How files of a release came from another index."""

    source: str
    """The other index."""
    who: str
    """Who has promoted them, in words."""
    at: str
    """When, in UTC, as `upload-time`."""


class ReleaseHead(Struct, frozen=True, kw_only=True):
    """What all pages about a release have in common, whoever looks at them."""

    project: ShownProject[ShownFile]
    """Of which only name, status and reason are shown."""
    release: ReleaseOf[ShownFile]
    latest: ReleaseOf[ShownFile]
    """The release that describes the project."""
    is_release: bool
    """Whether they are the pages of the release, and not those of the project."""
    public: OriginNotes | None = None
    """What else is shown of a package of an upstream index, or None for a private project."""
    not_shown: OriginNotes | None = None
    """What a view hides of a private project, if so."""
    lacks_core: bool = False
    """Whether the upstream index has not sent the core metadata."""
    other_index: str | None = None
    """The name of the index that the project is from, if that is another one."""

    def render(
        self,
        environment: PageEnvironment,
        viewer: Viewer,
        tab: str,
        template: str,
        **values: object,
    ) -> bytes:
        """Return the bytes of the page of a tab, with the values that its template needs, too."""
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
            # a pre-release or a yanked one describes a project only if it has nothing better
            has_stable=is_latest_stable and not latest.is_yanked,
            is_prerelease=is_prerelease,
            lacks_core=self.lacks_core,
            public=self.public,
            not_shown=self.not_shown or self.public,
            **values,
        )


class ReleaseContent(Struct, frozen=True, kw_only=True):
    """What the pages of a release show that say what is in it."""

    head: ReleaseHead
    core: CoreMetadata
    description: Markup = Markup()
    linked_names: Mapping[NormalizedName, bool] = {}
    """
    The names that dependencies are linked to: projects of this index that may be shown.

    With whether each is public.
    """
    is_final: bool = True
    """Whether a later page of the same release would show the same."""
    provenance: ShownProvenance | None = None
    """That of one of its files, or None if none has one."""
    namespaces: tuple[NormalizedName, ...] = ()
    """Those of the project whose owners have begun it, the widest first."""
    choice: core_metadata.InstallChoice = core_metadata.NO_CHOICE
    """What the viewer has chosen for the install lines."""

    @property
    def needs(self) -> dict[str, object]:
        """What templates show of what the release needs."""
        core = self.core
        return {
            "core": core,
            "dependencies": core_metadata.dependency_groups(
                core.requires_dist, core.provides_extra
            ),
            "known": self.linked_names,
        }

    def facts(
        self, environment: PageEnvironment, viewer: Viewer, usual_pin: str
    ) -> dict[str, object]:
        """
        Return what templates show of the release on its page, or on that of its project.

        `usual_pin` is what install lines ask for where nobody has chosen, one of `PINS`.
        """
        release = self.head.release
        core = self.core
        name = self.head.project.name
        install = core_metadata.install_line(
            name, release.version, core.provides_extra, self.choice, usual=usual_pin
        )
        pinned = ""
        if not file_list.has_requirements_file(release):
            # without the name, which the page writes before it with the chosen extras
            pinned = file_list.pinned_requirement("", release)
        to_project = "../" if self.head.is_release else ""
        return self.needs | {
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
            "keywords": _keywords(core.keywords or ""),
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
    """Return the bytes of the page with what a release needs, and who uses the project."""
    return content.head.render(
        environment,
        viewer,
        project_frame.DEPENDENCIES,
        "dependencies.html",
        used_by=used_by[:USERS_SHOWN],
        users=len(used_by),
        **content.needs,
    )


def dependency_names(core: CoreMetadata) -> frozenset[NormalizedName]:
    """Return the names of all projects that a release may need."""
    dependencies = map(core_metadata.parse_dependency, core.requires_dist)
    names = frozenset(dependency.name for dependency in dependencies)
    return names - {""}  # the name of malformed ones


def release_date(release: ReleaseOf[ShownFile]) -> str:
    """Return the time of the first upload to a release as `upload-time` is, or an empty text."""
    times = [file.uploaded_at for file in release.files if file.uploaded_at is not None]
    if not times:  # an upstream index need not say them
        return ""
    return timestamp(min(times))


def license_of(core: CoreMetadata) -> str:
    """
    Return the licence by the first field that names one: expression, classifiers, text.

    It is empty if none does. All but an expression is cut at `TEXT_LIMIT` characters.
    """
    if core.license_expression:
        # PEP 639: it takes the place of the classifiers and of the text
        return core.license_expression
    names: dict[str, None] = {}
    for classifier in core.classifiers:
        if classifier.startswith(_LICENSE) and classifier not in _LICENSE_FAMILIES:
            names[classifier.rpartition(" :: ")[2]] = None
    if names:
        return ", ".join(names)[:TEXT_LIMIT]
    # many projects have a whole licence in the field, of which the first line is the title
    title = (core.license or "").partition("\n")[0]
    return title[:TEXT_LIMIT]


def _keywords(text: str) -> tuple[str, ...]:
    """Return keywords, which commas separate, or spaces in those of old tools."""
    # without a separator, `split` takes any row of blanks for one
    separator = "," if "," in text else None
    words = [word.strip()[:TEXT_LIMIT] for word in text.split(separator)]
    return tuple(dict.fromkeys(filter(None, words)))


def _classifier_groups(
    classifiers: tuple[str, ...],
) -> tuple[tuple[str, tuple[ClassifierRow, ...]], ...]:
    """Return classifiers, besides those of licenses, in rows by their first part."""
    # the page has the licence above, as a fact of its own
    split = [text.split(" :: ") for text in classifiers if not text.startswith(_LICENSE)]
    split.sort(key=_natural_order)
    groups: list[tuple[str, tuple[ClassifierRow, ...]]] = []
    for first, group in groupby(split, key=itemgetter(0)):
        groups.append((first, tuple(_classifier_rows(group))))
    return tuple(groups)


def _classifier_rows(classifiers: Iterable[list[str]]) -> Iterator[ClassifierRow]:
    """Yield rows of texts with their classifiers. Versions of one language are one row."""
    for language, group in groupby(map(_classifier, classifiers), key=_language_of):
        if not language:
            for classifier in group:
                yield (classifier,)
            continue
        first, *later = group
        # the first one as it is, and of the later ones the version alone: Python :: 3.11, 3.12
        versions = [(text.removeprefix(language), full_text) for text, full_text in later]
        yield (first, *versions)


def _classifier(parts: list[str]) -> tuple[str, str]:
    """Return what is shown of a classifier, and all of it, which is empty if it is not known."""
    text = " :: ".join(parts[1:])
    classifier = " :: ".join(parts)
    if not is_classifier(classifier):
        # a stranger may write anything: a link with it would lead to an error
        classifier = ""
    return text, classifier


def _language_of(classifier: tuple[str, str]) -> str:
    """Return what comes before the version in `Python :: 3.12`, or an empty text."""
    language = _VERSION_OF_LANGUAGE.fullmatch(classifier[0])
    if language is None:
        return ""
    return language[1]


def _natural_order(texts: list[str]) -> list[str]:
    """Return a sort key that has 3.9 before 3.10."""
    return [_NUMBER.sub(lambda number: number[0].zfill(4), text) for text in texts]


def _arrivals(files: Iterable[ShownFile], hidden_indexes: Container[str]) -> list[Arrival]:
    """Return how files came from indexes but hidden ones, the oldest first, each promotion once."""
    arrivals: set[Arrival] = set()
    for file in files:
        if not isinstance(file, File) or file.promoted_at is None:
            continue
        if file.source_index in hidden_indexes:  # a viewer must not learn that it exists
            continue
        who = describe_principal(file.promoted_by, file.promoted_by_name)
        # files of one promotion have one time, and so are equal here
        arrivals.add(Arrival(file.source_index, who, timestamp(file.promoted_at)))
    return sorted(arrivals, key=lambda arrival: (arrival.at, arrival.source, arrival.who))


def _departures(files: Iterable[ShownFile], viewer: Viewer) -> list[str]:
    """Return where any of these files is noted as promoted to, unless the page says it better."""
    names: set[str] = set()
    for file in files:
        if isinstance(file, File):
            names.update(file.targets)
    # the places say what is there now, and a note only what was promoted once
    places = {place.index.name for place in viewer.places}
    return sorted(names - places - viewer.hidden_indexes)


def _has_lost_attestations(file: ShownFile) -> bool:
    return isinstance(file, File) and file.lost_attestations


def pin_of(files: Iterable[object]) -> str | None:
    """Return the reason, perhaps empty, why any of these files is pinned, or None."""
    for file in files:
        if isinstance(file, File) and file.pinned is not None:
            return file.pinned
    return None
