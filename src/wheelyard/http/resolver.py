"""
What a caller is shown of a project, wherever it is from: the one lookup of all handlers.

A private project hides a public one of the same name. A handler gets a listing, and asks nobody
where it is from; its `origin` decides about headers, and its `open` sends files. A private file is
served if the project's document lists it, and the project's status permits it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict, replace
from packaging.utils import NormalizedName

from wheelyard.authentication.authorization import project_not_found
from wheelyard.catalog import keys
from wheelyard.errors import NotFound
from wheelyard.http.context import ServerContext
from wheelyard.http.error_responses import file_not_found
from wheelyard.http.file_delivery import StoredBody, missing_file_error
from wheelyard.http.messages import MadeFrom, Request, Response
from wheelyard.http.page_cache import Key, names_key, project_key
from wheelyard.http.responses import (
    FileToSend,
    Repeats,
    WantedFile,
    core_metadata_response,
    file_cache_headers,
    file_response,
)
from wheelyard.model.index_definition import UPSTREAM_LAYER
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project
from wheelyard.rendering.listing import Listing, Origin
from wheelyard.storage.base import ABSENT, ObjectVersion, Store
from wheelyard.wiring.build import Index

if TYPE_CHECKING:
    from wheelyard.http.upstream_files import PublicFiles


class Home(Struct, frozen=True):
    """A project in the index that has it, by one version of its document."""

    index: Index
    project: Project
    version: ObjectVersion
    """ABSENT if there is no document."""


class PrivateFiles(Struct, frozen=True):
    """The files of a private project, as the layers of an index show it."""

    context: ServerContext
    project: Project
    """With the files of all layers that have the project, if the index merges them."""
    homes: tuple[Home, ...]
    """Where it is from, in the order of the layers: one, unless the index merges them."""
    made_from: MadeFrom | None
    """All that it follows from, also what upper layers lack. None if that is not known."""

    @property
    def index(self) -> Index:
        """The index that the project is from."""
        return self.homes[0].index

    @property
    def version(self) -> ObjectVersion:
        """Another one for each other content. ABSENT if there is no document."""
        first, *others = self.homes
        if not others and first.index.name == self.context.index.name:
            return first.version
        return ObjectVersion(" ".join(f"{home.index.name}:{home.version}" for home in self.homes))

    def home_of(self, file: File) -> Home:
        """Return where a listed file is from: the first that lists it."""
        return next(home for home in self.homes if file in home.project.files)

    @property
    def store(self) -> Store:
        """Where the files are kept, at the keys of `catalog.keys`."""
        return self.context.index.files.store

    def repeats(self) -> Repeats:
        """Return what it was made from, or None if that is not known."""
        return self.made_from, inf

    def core_metadata(self, _: Request, filename: str) -> CoreMetadata:
        """
        Return the core metadata of a listed file, minimal if it has none.

        Raises Unavailable if the store has lost it, or does not answer.
        """
        file = self.project.by_filename[filename]
        return self.context.core_metadata.load(self.project.name, file)

    def response(self, request: Request, wanted: WantedFile) -> Response:
        """
        Return the response with a file or its core metadata, or 404 if the project lacks it.

        Raises Unavailable if the store has lost the file, or does not answer. Raises Invalid (412)
        if If-Match has another ETag.
        """
        file, name = self.project.by_filename.get(wanted.filename), self.project.name
        if not self.project.status.serves_files or file is None or not wanted.is_served(file):
            return file_not_found()
        try:
            return self._send(request, wanted, file)
        except NotFound as error:
            # a concurrent delete first changes the document, then deletes the bytes
            documents = self.home_of(file).index.projects.documents
            document = documents.get(keys.project(name), "current").value
            if document is not None and document.by_filename.get(file.filename) == file:
                raise missing_file_error(file) from error
            return file_not_found()

    def _send(self, request: Request, wanted: WantedFile, file: File) -> Response:
        """
        Return the response with a file, or with its core metadata.

        Raises NotFound if the store lacks the bytes.
        """
        context, name = self.context, self.project.name
        is_public = context.read_policy.is_public(name)
        if wanted.is_metadata:
            load = partial(context.core_metadata.load_bytes, name, file)
            version = ObjectVersion(file.core_metadata)  # its digest
            return core_metadata_response(
                request, context, version, load, self.repeats(), is_public=is_public
            )
        sent = FileToSend(
            sha256=file.sha256,
            size=file.size,
            headers=file_cache_headers(is_public=is_public),
            body=StoredBody(context.file_delivery, name, file),
        )
        return file_response(request, context, sent)


class _LayerSearch:
    """
    Looks for a project in the layers of an index, and notes all that the answer follows from.

    The first layer that has the name hides those below, unless the index merges the name.
    """

    def __init__(self, context: ServerContext, name: NormalizedName) -> None:
        self._context = context
        self._name = name
        self._made_from = dict[Key, str]()
        self._is_certain = True
        """Whether all versions are known that the answer follows from."""

    def files(self) -> PrivateFiles | None:
        """
        Return the project as the layers show it, or None if none of them has it.

        Raises Unavailable if the store does not answer, or a document is damaged.
        """
        homes = tuple(self._homes(self._context.index))
        if not homes:
            return None
        made_from = tuple(self._made_from.items()) if self._is_certain else None
        return PrivateFiles(
            self._context, merged([home.project for home in homes]), homes, made_from
        )

    def _homes(self, index: Index) -> Iterator[Home]:
        """Yield where an index has the project from, in the order of its layers."""
        definition = index.definition
        for layer in definition.layers:
            if layer == UPSTREAM_LAYER:
                continue
            is_own = layer == definition.name
            homes = tuple(self._own(index) if is_own else self._homes(index.named(layer)))
            yield from homes
            if homes and not definition.merge.match(self._name):
                return

    def _own(self, index: Index) -> Iterator[Home]:
        """Yield the project among an index's own packages, if it is there."""
        name, place = self._name, index.name
        # noted before it is read: a name that is listed meanwhile ends the answer
        names = index.projects.names.peek("any")
        snapshot = index.projects.load(name)
        if snapshot.value is not None:
            if snapshot.version == ABSENT:  # listed, and without a document yet
                self._is_certain = False
            self._made_from[project_key(name, place)] = snapshot.version
            yield Home(index, snapshot.value, snapshot.version)
        elif names is None:
            self._is_certain = False
        else:
            self._made_from[names_key(place)] = names.version


def merged(projects: Sequence[Project]) -> Project:
    """
    Return one project with the files of several of one name, of which the first counts most.

    Its status is that of the first. Files of a quarantined one are left out.
    """
    first, *others = projects
    if not others:
        return first
    files = dict[str, File]()
    for project in projects:
        for file in project.files if project.status.serves_files else ():
            files.setdefault(file.filename, file)
    listed = tuple(files[filename] for filename in sorted(files))
    return replace(first, files=listed)


def find_private(context: ServerContext, name: NormalizedName) -> PrivateFiles:
    """
    Return a private project, as the layers of the index show it.

    Raises NotFound if there is none. Raises Unavailable if the store does not answer, or a document
    is damaged.
    """
    files = _LayerSearch(context, name).files()
    if files is None:
        raise project_not_found(name)
    return files


class OpenListing(Listing, frozen=True, kw_only=True):
    """A listing whose files can be opened."""

    open: "PrivateFiles | PublicFiles"


def find(
    context: ServerContext, name: NormalizedName, request: Request, *, may_refresh: bool = True
) -> OpenListing:
    """
    Return what the caller of a request, whom `require_lookup` allows to ask, is shown of a project.

    With `may_refresh`, one who may upload can have the upstream indexes asked now. Raises NotFound
    if nobody has the project, or the settings do not allow to ask for it. Raises Unauthenticated,
    Forbidden or NotFound if it is private, and the caller may not read it. Raises Unavailable if
    the store does not answer, or no upstream index does. Raises Waiting if one has to be asked.
    """
    public = _find_public(context, name, request, may_refresh=may_refresh)
    return public or _private_listing(find_private(context, name))


def find_for_installer(
    context: ServerContext, name: NormalizedName, request: Request, *, may_refresh: bool = True
) -> OpenListing:
    """
    Return what `find` does, but an empty listing for a private name without a project.

    After a 404, uv would go on to its next index. The settings may want a 404 all the same, and an
    index without an upstream index has no such names. Raises as `find` does.
    """
    # nobody has asked for what is exported, nor for the newer pip that each pip looks for
    is_installer = context.site is None and not (name == "pip" and _is_pip(request))
    public = _find_public(
        context, name, request, may_refresh=may_refresh, is_installer=is_installer
    )
    if public is not None:
        return public
    try:
        files = find_private(context, name)
    except NotFound:
        if context.upstream is None:
            raise
        context.upstream.upstream.observation.blocked("private")
        if context.index.settings.upstream.private_missing == "404":
            raise
        missing = Home(context.index, Project(name=name), ABSENT)
        files = PrivateFiles(context, missing.project, (missing,), None)
    return _private_listing(files)


def _is_pip(request: Request) -> bool:
    return request.joined_headers.get(b"user-agent", b"").startswith(b"pip/")


def _find_public(
    context: ServerContext,
    name: NormalizedName,
    request: Request,
    *,
    may_refresh: bool,
    is_installer: bool = False,
) -> OpenListing | None:
    """
    Return a public project, or None if the name is private, and the caller may read it.

    Raises as `find` does.
    """
    if context.upstream is None:
        return None
    listing = context.upstream.find(
        name, request, may_refresh=may_refresh, is_installer=is_installer
    )
    # only now: until here, a name that the caller may not read is treated as a public one
    if listing is None:
        context.read_policy.require_project_read(request.caller, name)
        return None
    # no server without an upstream index needs it
    from wheelyard.http.upstream_files import PublicFiles  # noqa: PLC0415

    return OpenListing(**asdict(listing), open=PublicFiles(context, context.upstream, listing))


def _private_listing(files: PrivateFiles) -> OpenListing:
    project, place = files.project, files.index.name
    return OpenListing(
        name=project.name,
        status=project.status,
        reason=project.reason,
        files=project.files if project.status.serves_files else (),
        version=files.version,
        origin=Origin(other_index=place if place != files.context.index.name else None),
        open=files,
    )
