"""
What pages tell of the other indexes of the store: those that the caller may read, and no other one.

This module is not loaded while the store has one index.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.threads import prefetch_map
from wheelyard.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from wheelyard.http.context import IndexContext, IndexRequest
from wheelyard.http.messages import MadeFrom
from wheelyard.http.page_cache import cache_keys
from wheelyard.http.request_authentication import CallerElsewhere
from wheelyard.model.access import Action, Caller
from wheelyard.model.distribution_filename import listed_version, strip_trailing_zeros
from wheelyard.model.index_name import MAIN, index_path
from wheelyard.model.project import Project
from wheelyard.model.promotion_rules import NO_RULES
from wheelyard.rendering.project_facts import latest_release, release_of, releases_of
from wheelyard.rendering.simple_pages import timestamp
from wheelyard.rendering.web.index_marks import IndexMark, index_marks
from wheelyard.rendering.web.project_frame import version_path
from wheelyard.rendering.web.viewer import ProjectPlace, ReleasesElsewhere, Viewer
from wheelyard.wiring.index import Index

PARALLEL_READS: Final = 8
"""How many indexes of a remote store are asked for a project at once."""
FEW_INDEXES: Final = 2
"""With so many indexes, only one document is read besides the document of the page."""


class ReadableIndex(Struct, frozen=True):
    """An index that the caller of a request may read something of."""

    index: Index
    caller: Caller
    """The caller with the rights in this index."""


class _IndexAnswer(Struct, frozen=True):
    """What an index shows of a project."""

    project: Project | None
    """The project, or None if the index does not have it, or the caller may not read it."""
    made_from: MadeFrom | None
    """What the answer was made from, or None if that is not known."""


def with_indexes(request: IndexRequest, viewer: Viewer) -> Viewer:
    """
    Return the viewer of a page, with the indexes that the page tells of, and those that it hides.

    The page tells of no index if the caller may read only one. On a server, the indexes that the
    caller of an authenticated request may read are noted in the request.
    """
    context = request.context
    site = context.process.site
    if site is not None:  # whoever can load a page can load the pages of all indexes of the site
        own_name = context.index.name
        site_names = set[str]()
        # the folder of another index may be published alone
        if site.indexes or own_name != MAIN:
            site_names = {own_name, *site.indexes}
        return replace(viewer, indexes=index_marks(site_names))
    all_names = frozenset({MAIN, *context.known_indexes.names})

    # an error may come before the caller is authenticated
    if not request.is_authenticated:
        return replace(viewer, hidden_indexes=all_names)
    if request.readable_indexes is None:
        request.readable_indexes = tuple(_find_readable(request))
    readable_names = {readable.index.name for readable in request.readable_indexes}
    marks: tuple[IndexMark, ...] = ()
    if len(readable_names) > 1:
        marks = index_marks(readable_names)
    return replace(viewer, indexes=marks, hidden_indexes=all_names - readable_names)


def _find_readable(request: IndexRequest) -> Iterator[ReadableIndex]:
    """
    Yield the indexes that the caller of an authenticated request may read, main first.

    An index that does not work now is left out, and one in which nobody can say who the caller is.
    """
    context = request.context
    in_force = context.known_indexes
    own_index = context.index
    caller_in = CallerElsewhere(request, own_index)
    for name in (MAIN, *sorted(in_force.definitions)):
        if name == own_index.name:
            if request.caller.may_anywhere(Action.READ):
                yield ReadableIndex(own_index, request.caller)
            continue
        with suppress(Unauthenticated, Unavailable):
            index = own_index.server.indexes.by(in_force, name)
            caller = caller_in(index)
            if caller.may_anywhere(Action.READ):
                yield ReadableIndex(index, caller)


def places_of(
    request: IndexRequest,
    marks: Sequence[IndexMark],
    name: NormalizedName,
    version: str,
    *,
    is_release: bool,
) -> tuple[tuple[ProjectPlace, ...], MadeFrom | None]:
    """
    Return what each index that the caller may read has of a project, and what that was made from.

    An index where the caller may not read the project looks like one that lacks it. `marks` are the
    marks of the indexes. `version` is the version of the release on the page, and `is_release` says
    whether the page is about that release alone. The second is None if it is not known. An index
    whose store does not answer is left out.
    """
    own_name = request.context.index.name
    answers = _index_answers(request, name)
    places = list[ProjectPlace]()
    made_from: MadeFrom | None = ()
    for mark, answer in zip(marks, answers, strict=True):
        # a store that does not answer may do so any time, and change the page
        if answer is None:
            made_from = None
            continue
        place = ProjectPlace(index=mark, is_here=mark.name == own_name)
        if not place.is_here:  # what this page was made from is known already
            if made_from is not None and answer.made_from is not None:
                made_from += answer.made_from
            else:
                made_from = None
        places.append(_with_project(place, answer.project, version, is_release=is_release))
    return tuple(places), made_from


def releases_elsewhere(
    request: IndexRequest, name: NormalizedName
) -> tuple[ReleasesElsewhere, ...]:
    """
    Return which releases of a private project other indexes have, those that the caller may read.

    These are the indexes that `with_indexes` has noted in the request. An index whose store does
    not answer is left out.
    """
    elsewhere = list[ReleasesElsewhere]()
    answers = _index_answers(request, name)
    for readable, answer in zip(request.readable_indexes or (), answers, strict=True):
        definition = readable.index.definition
        if definition.name == request.context.index.name:
            continue
        if answer is None or answer.project is None:
            continue
        releases = releases_of(answer.project)
        versions = {strip_trailing_zeros(release.version) for release in releases}
        index_releases = ReleasesElsewhere(
            index=definition.name,
            versions=frozenset(versions),
            takes_promotions=definition.promotion != NO_RULES,
        )
        elsewhere.append(index_releases)
    return tuple(elsewhere)


def public_places_of(
    request: IndexRequest, marks: Sequence[IndexMark], name: NormalizedName, version: str
) -> tuple[ProjectPlace, ...]:
    """
    Return which indexes have a page of a public project for the caller, if there are several.

    `marks` are the marks of the indexes that `with_indexes` has noted in the request. `version` is
    the version of the release on the page, or an empty text. Nobody looks here at what the rules of
    another index show, and whether the name is private there: the page of that index says so.
    """
    own_name = request.context.index.name
    places = list[ProjectPlace]()
    for mark, readable in zip(marks, request.readable_indexes or (), strict=True):
        if readable.index.upstream is None:
            continue
        path = f"{index_path(mark.name)}project/{name}/"
        is_here = mark.name == own_name
        with suppress(Unauthenticated, Forbidden, NotFound):
            readable.index.read_policy.require_lookup(readable.caller, name)
            has_release = is_here and version != ""
            place = ProjectPlace(index=mark, is_here=is_here, path=path, has_release=has_release)
            places.append(place)
    # about one index alone, the page itself says everything
    if len(places) <= 1:
        return ()
    return tuple(places)


def _index_answers(request: IndexRequest, name: NormalizedName) -> list[_IndexAnswer | None]:
    """
    Return what each index that the caller may read shows of a project, looked up once.

    An answer is None if the store of its index does not answer.
    """
    return request.once(("elsewhere", name), _look_up_all, request, name)


def _look_up_all(request: IndexRequest, name: NormalizedName) -> list[_IndexAnswer | None]:
    """Look a project up in each index that the caller may read."""
    readable_indexes = request.readable_indexes or ()
    # handing work to threads takes longer than reading a file, or one document
    is_quick = request.context.index.server.is_local or len(readable_indexes) <= FEW_INDEXES
    threads = 1 if is_quick else PARALLEL_READS
    look_up = partial(_look_up, request.context, name)
    return list(prefetch_map(look_up, readable_indexes, threads))


def _look_up(
    context: IndexContext, name: NormalizedName, readable: ReadableIndex
) -> _IndexAnswer | None:
    """Return what an index shows its caller of a project, or None if its store does not answer."""
    if not readable.caller.may(Action.READ, name):
        return _IndexAnswer(None, ())
    repositories = context.index.server.indexes.repositories
    index = readable.index
    if index.definition.is_main:
        repository = repositories.of_main(index)
    else:
        repository = repositories.get(index.name, context.known_indexes.definitions)
    try:
        sources = repository.find(name)
    except Unavailable:
        return None
    made_from = None
    if sources.document_versions is not None:
        made_from = cache_keys(sources.document_versions, name)
    if not sources.projects:
        return _IndexAnswer(None, made_from)
    return _IndexAnswer(sources.merged, made_from)


def _with_project(
    place: ProjectPlace, project: Project | None, version: str, *, is_release: bool
) -> ProjectPlace:
    """
    Return a place with what its index has of a project, and of one release of the project.

    `version` and `is_release` are as in `places_of`. A project of None leaves the place as it is.
    """
    if project is None or not project.status.served(project.files):
        return place
    path = f"{index_path(place.index.name)}project/{project.name}/"
    release = None
    if version:
        release = release_of(project, listed_version(version))
    if release is None:
        newest = latest_release(releases_of(project))
        if newest is None:
            return replace(place, path=path, newest="")
        return replace(place, path=path, newest=newest.version)
    if is_release:
        path = f"{path}{version_path(release.version)}/"
    came_at = min(file.came_at for file in release.files)
    return replace(
        place,
        path=path,
        has_release=True,
        is_yanked=release.is_yanked,
        since=timestamp(came_at),
    )
