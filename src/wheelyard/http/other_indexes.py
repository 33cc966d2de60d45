"""
What pages tell of the other indexes of the store: those that the caller may read, and no other one.

Nothing of it runs where there is one index.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.authentication.confirmation import ConfirmationNeeded
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
from wheelyard.model.promotion import NO_RULES
from wheelyard.rendering.project_facts import latest_release, release_of, releases_of
from wheelyard.rendering.simple_pages import timestamp
from wheelyard.rendering.web.index_marks import IndexMark, index_marks
from wheelyard.rendering.web.project_frame import version_path
from wheelyard.rendering.web.viewer import ProjectPlace, ReleasesElsewhere, Viewer
from wheelyard.wiring.index import Index

PARALLEL_READS: Final = 8
"""How many indexes of a remote store are asked for a project at once."""
FEW: Final = 2
"""With so many indexes, one document is read besides that of the page."""


class ReadableIndex(Struct, frozen=True):
    """An index that the caller of a request may read something of."""

    index: Index
    caller: Caller
    """With the rights in this index."""


class _Found(Struct, frozen=True):
    """What an index shows of a project."""

    project: Project | None
    """None if there is none, or the caller may not read it."""
    made_from: MadeFrom | None


def with_indexes(request: IndexRequest, viewer: Viewer) -> Viewer:
    """Return the viewer of a page, with the indexes that it tells of, and those that it hides."""
    context = request.context
    site = context.process.site
    if site is not None:  # who can load a page can load those of all indexes of the site
        own = context.index.name
        # the folder of another index may be published alone
        names = {own, *site.indexes} if site.indexes or own != MAIN else frozenset[str]()
        return replace(viewer, indexes=index_marks(names))
    every = frozenset({MAIN, *context.in_force.names})
    if not request.is_authenticated:
        return replace(viewer, hidden_indexes=every)
    if request.readable_indexes is None:
        request.readable_indexes = tuple(_readable(request))
    readable = {right.index.name for right in request.readable_indexes}
    marks = index_marks(readable) if len(readable) > 1 else ()
    return replace(viewer, indexes=marks, hidden_indexes=every - readable)


def _readable(request: IndexRequest) -> Iterator[ReadableIndex]:
    """
    Yield the indexes that the caller of an authenticated request may read, main first.

    One that does not work now, or of which nobody can say who the caller is there, is left out.
    """
    context = request.context
    in_force = context.in_force
    here = context.index
    in_index = CallerElsewhere(request, here)
    for name in (MAIN, *sorted(in_force.definitions)):
        if name == here.name:
            if request.caller.may_anywhere(Action.READ):
                yield ReadableIndex(here, request.caller)
            continue
        with suppress(Unauthenticated, Unavailable, ConfirmationNeeded):
            other = here.server.indexes.by(in_force, name)
            caller = in_index(other)
            if caller.may_anywhere(Action.READ):
                yield ReadableIndex(other, caller)


def places_of(
    request: IndexRequest,
    marks: Sequence[IndexMark],
    name: NormalizedName,
    version: str,
    *,
    is_release: bool,
) -> tuple[tuple[ProjectPlace, ...], MadeFrom | None]:
    """
    Return what each index that the caller may read has of a project, and the versions of that.

    A project that the caller may not read there is as one that is not there. `marks` are those of
    the indexes. `version` is that of the release on the page, and `is_release` whether the page is
    that of the release. The versions are None if they are not known. An index whose store does not
    answer is left out.
    """
    here = request.context.index.name
    answers = _answers(request, name)
    places = list[ProjectPlace]()
    made_from = MadeFrom()
    is_whole = True
    for mark, answer in zip(marks, answers, strict=True):
        if answer is None:
            is_whole = False
            continue
        place = ProjectPlace(index=mark, is_here=mark.name == here)
        if not place.is_here:  # what the page is made from is known already
            is_whole = is_whole and answer.made_from is not None
            made_from += answer.made_from or ()
        places.append(_with_project(place, answer.project, version, is_release=is_release))
    return tuple(places), made_from if is_whole else None


def releases_elsewhere(
    request: IndexRequest, name: NormalizedName
) -> tuple[ReleasesElsewhere, ...]:
    """
    Return which releases of a private project the other indexes have that the caller may read.

    One whose store does not answer is left out.
    """
    elsewhere = list[ReleasesElsewhere]()
    answers = _answers(request, name)
    for readable, answer in zip(request.readable_indexes or (), answers, strict=True):
        definition = readable.index.definition
        is_here = definition.name == request.context.index.name
        if not is_here and answer is not None and answer.project is not None:
            versions = {release.version for release in releases_of(answer.project)}
            elsewhere.append(
                ReleasesElsewhere(
                    index=definition.name,
                    versions=frozenset(map(strip_trailing_zeros, versions)),
                    takes_promotions=definition.promotion != NO_RULES,
                )
            )
    return tuple(elsewhere)


def public_places_of(
    request: IndexRequest, marks: Sequence[IndexMark], name: NormalizedName, version: str
) -> tuple[ProjectPlace, ...]:
    """
    Return which indexes have a page of a public project for the caller, if there are several.

    `version` is that of the release on the page. What rules show in another index, and whether the
    name is private there, is for the page there to say.
    """
    here = request.context.index.name
    places = list[ProjectPlace]()
    for mark, right in zip(marks, request.readable_indexes or (), strict=True):
        if right.index.upstream is None:
            continue
        path = f"{index_path(mark.name)}project/{name}/"
        is_here = mark.name == here
        with suppress(Unauthenticated, Forbidden, NotFound):
            right.index.read_policy.require_lookup(right.caller, name)
            has_release = is_here and version != ""
            places.append(
                ProjectPlace(index=mark, is_here=is_here, path=path, has_release=has_release)
            )
    return tuple(places) if len(places) > 1 else ()


def _answers(request: IndexRequest, name: NormalizedName) -> list[_Found | None]:
    """Return what each index that the caller may read has of a project, looked up once."""
    return request.once(("elsewhere", name), _look_up_all, request, name)


def _look_up_all(request: IndexRequest, name: NormalizedName) -> list[_Found | None]:
    readable = request.readable_indexes or ()
    # handing work to threads takes longer than reading a file, or one document
    is_quick = request.context.index.server.is_local or len(readable) <= FEW
    threads = 1 if is_quick else PARALLEL_READS
    return list(prefetch_map(partial(_look_up, request.context, name), readable, threads))


def _look_up(context: IndexContext, name: NormalizedName, readable: ReadableIndex) -> _Found | None:
    """Return what an index shows of a project to its caller, or None if its store fails."""
    if not readable.caller.may(Action.READ, name):
        return _Found(None, ())
    repositories = context.index.server.indexes.repositories
    index = readable.index
    if index.definition.is_main:
        repository = repositories.of_main(index)
    else:
        repository = repositories.get(index.name, context.in_force.definitions)
    try:
        sources = repository.find(name)
    except Unavailable:
        return None
    made_from = None
    if sources.made_from is not None:
        made_from = cache_keys(sources.made_from, name)
    return _Found(sources.merged if sources.projects else None, made_from)


def _with_project(
    place: ProjectPlace, project: Project | None, version: str, *, is_release: bool
) -> ProjectPlace:
    """Return a place with what its index has of a project, and of a release of it."""
    if project is None or not project.status.served(project.files):
        return place
    path = f"{index_path(place.index.name)}project/{project.name}/"
    release = release_of(project, listed_version(version)) if version else None
    if release is None:
        newest = latest_release(releases_of(project))
        return replace(place, path=path, newest=newest.version if newest else "")
    return replace(
        place,
        path=f"{path}{version_path(release.version)}/" if is_release else path,
        has_release=True,
        is_yanked=release.is_yanked,
        since=timestamp(min(file.came_at for file in release.files)),
    )
