"""
What a caller is shown of a project, private or public: all handlers look projects up here.

A private project hides a public one of the same name. A handler gets a listing, and need not know
where the project is from. The `origin` of the listing decides about headers, and its `open` sends
files. A private file is served if the project's document lists it, and the project's status permits
that.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.authorization import project_not_found
from wheelyard.catalog import keys
from wheelyard.catalog.files import missing_file_error
from wheelyard.errors import NotFound
from wheelyard.http import responses
from wheelyard.http.context import IndexContext
from wheelyard.http.error_responses import file_not_found
from wheelyard.http.file_delivery import StoredBody
from wheelyard.http.messages import MadeFrom, Request, Response
from wheelyard.http.page_cache import cache_keys
from wheelyard.model.distribution_filename import (
    VARIANTS_SUFFIX,
    release_of_variants,
    strip_trailing_zeros,
)
from wheelyard.model.index_name import end_of_day
from wheelyard.model.metadata import CoreMetadata
from wheelyard.model.project import File, Project
from wheelyard.rendering.listing import HiddenFiles, Listing, Origin, ShownFile, hidden_files
from wheelyard.repository.found_project import FoundProject
from wheelyard.repository.index_repository import ProjectSources
from wheelyard.storage.base import ABSENT, ObjectVersion, Store
from wheelyard.wiring.index import Index

if TYPE_CHECKING:
    from wheelyard.http.upstream_file_responses import MergedFiles, PublicFiles
    from wheelyard.http.upstream_reader import UpstreamReader
    from wheelyard.http.variants import KeptVariants, PageVariants
    from wheelyard.model.stored_namespaces import ProjectNamespace
    from wheelyard.upstream.indexes import UpstreamListing

NAMESPACES_SECONDS: Final = 15.0
"""How long a page is repeated until the namespaces are looked at again."""


class PrivateFiles(Struct, frozen=True):
    """The files of a private project, as an index shows it."""

    context: IndexContext
    sources: ProjectSources
    """The project as each layer of the index has it."""

    @property
    def project(self) -> Project:
        """The project with the files of all layers that have it, if the index merges them."""
        return self.sources.merged

    @property
    def first(self) -> FoundProject:
        """The project in the first layer that has it."""
        return self.sources.projects[0]

    @property
    def version(self) -> ObjectVersion:
        """
        The version of the listing, which differs for each other content.

        It is ABSENT if the project has no document.
        """
        projects = self.sources.projects
        version = self.first.version
        if len(projects) > 1 or self.first.index != self.context.index.name:
            # with the index, as documents of several indexes may have equal versions
            text = " ".join(f"{source.index}:{source.version}" for source in projects)
            version = ObjectVersion(text)
        if not self.project.variants:
            return version
        # a page is made anew each day, and the documents that it links to are kept then
        return ObjectVersion(f"{version} {self._now.date()}")

    @property
    def _now(self) -> datetime:
        """The time of day."""
        return self.context.index.server.runtime.now()

    @property
    def page_variants(self) -> "PageVariants | None":
        """
        The documents about wheels with a label on the page, and the wheels that are left out.

        None if no wheel with a label is served. Raises Unavailable if the store does not answer.
        """
        if not self.project.variants or not self.project.status.serves_files:
            return None
        return self._variants()

    def page_documents(self) -> Sequence[ShownFile]:
        """
        Return the documents about wheels with a label that the page of the Simple API links to.

        Raises Unavailable if the store does not answer.
        """
        variants = self.page_variants
        if variants is None:
            return ()
        return variants.documents

    def page_files(self) -> Sequence[ShownFile]:
        """
        Return the files on the page of the Simple API, and the documents about some of them.

        These documents about wheels with a label are written into the store for clients that will
        have an older page, unless the server is read-only. Raises Unavailable if the store does not
        answer.
        """
        variants = self.page_variants
        if variants is None:
            return self.project.status.served(self.project.files)
        site = self.context.process.site
        # the files of such a site are left on another server, where nobody makes the documents
        if site is not None and site.files_url:
            return [file for file in self.project.files if not file.variant]
        is_read_only = self.context.process.server.settings.server.read_only
        # a document has to be there as long as a client may have the page that links to it
        if site is None and not is_read_only:
            self._kept_variants().keep(self.project.name, variants.documents, self._now)
        return variants.on_page(self.project.files)

    def _variants(self, release: str = "") -> "PageVariants":
        """Return the documents about wheels with a label, of one release or of all releases."""
        # no server without a wheel with a label needs this module
        from wheelyard.http.variants import page_variants  # noqa: PLC0415

        return page_variants(self.sources, self.context.index.files, release)

    def _kept_variants(self) -> "KeptVariants":
        """Return what keeps documents for clients that have an older page."""
        from wheelyard.http.variants import KeptVariants  # noqa: PLC0415

        return KeptVariants(self.context.index.stores.documents, self.context.page_memory)

    def store_of(self, filename: str) -> Store:
        """Return the store that has a listed file."""
        del filename
        return self.context.index.files.store

    def repeats(self) -> responses.Repeats:
        """
        Return what an answer was made from, or None if that is not known, and its deadline.

        The deadline is the time from which on the same documents may show other files.
        """
        made_from: MadeFrom | None = None
        if self.sources.document_versions is not None:
            made_from = cache_keys(self.sources.document_versions, self.project.name)
        times = [self.sources.changes_at]
        if self.project.variants:
            times.append(end_of_day(self._now.date()))
        known_times = [time for time in times if time is not None]
        if not known_times:
            return made_from, inf
        runtime = self.context.index.server.runtime
        seconds = (min(known_times) - runtime.now()).total_seconds()
        return made_from, runtime.monotonic() + seconds

    def core_metadata(self, request: Request, filename: str) -> CoreMetadata:
        """
        Return the core metadata of a listed file, or a minimum if the file has none.

        Raises Unavailable if the store has lost the core metadata, or does not answer.
        """
        del request
        file = self.project.by_filename[filename]
        return self.context.process.core_metadata.load(self.project.name, file)

    def find_served(self, filename: str) -> File | None:
        """
        Return a file by its name, or None if it is not listed, or not served.

        Raises NotFound, with the reason, for a file that rules hide.
        """
        hidden = self.sources.hidden.get(filename)
        if hidden is not None:
            _, reason = hidden
            raise NotFound(reason.text, code=reason.code, advice=reason.advice)
        # a quarantined project keeps its files, and nobody gets them
        if not self.project.status.serves_files:
            return None
        return self.project.by_filename.get(filename)

    def provenance(
        self, request: Request, filename: str, release: str
    ) -> responses.FileProvenance | None:
        """
        Return the provenance of a file of a release, or None if it has none, or is not served.

        `release` is the version without trailing zeros. Raises NotFound, with the reason, for a
        file that rules hide.
        """
        del request
        file = self.find_served(filename)
        if file is None or not file.has_provenance:
            return None
        if strip_trailing_zeros(file.version) != release:
            return None
        load = partial(self.context.index.files.provenance, self.project.name, file)
        return responses.FileProvenance(file.provenance, load)

    def response(self, request: Request, file_request: responses.FileRequest) -> Response:
        """
        Return the response with a file or its core metadata, or 404 if the project lacks it.

        Raises NotFound, with the reason, for a file that rules hide. Raises Unavailable if the
        store has lost the file, or does not answer. Raises Invalid (412) if If-Match has another
        ETag. Raises OSError if this process can open no more files.
        """
        if file_request.filename.endswith(VARIANTS_SUFFIX):
            return self._variants_response(request, file_request)
        file = self.find_served(file_request.filename)
        if file is None or not file_request.is_for(file):
            return file_not_found()
        try:
            return self._served_response(request, file_request, file)
        except NotFound as error:
            # a concurrent delete first changes the document, then deletes the bytes: the store has
            # lost the file only if the current document still lists it
            if self._is_still_listed(file):
                raise missing_file_error(file) from error
            return file_not_found()

    def _is_still_listed(self, file: File) -> bool:
        """Return whether the store's current document of the project lists the same file."""
        key = keys.project(self.project.name)
        for source in self.sources.projects:
            if file in source.project.files:
                document = source.projects.documents.get(key, "current").value
                return document is not None and document.by_filename.get(file.filename) == file
        return False

    def _variants_response(self, request: Request, file_request: responses.FileRequest) -> Response:
        """Return the response with the document about the wheels with a label of a release."""
        digest = file_request.sha256
        release = release_of_variants(file_request.filename)
        if file_request.is_metadata or not digest or not release:
            return file_not_found()
        if not self.project.status.serves_files:
            return file_not_found()
        body = self._variants_body(release, digest)
        if body is None:
            return file_not_found()
        scope = self.context.read_policy.cache_scope(self.project.name)
        headers = responses.file_cache_headers(scope)

        # no ranges: the document is small, and its body is not cut here
        file_to_send = responses.FileToSend(
            sha256=digest, size=len(body), takes_ranges=False, headers=headers, body=body
        )
        return responses.file_response(request, self.context, file_to_send)

    def _variants_body(self, release: str, digest: str) -> bytes | None:
        """
        Return the document with a digest about the wheels with a label of a release.

        It may be on the page of now, or on an older one. None if no such page had it. Raises
        Unavailable if the store does not answer.
        """
        for document in self._variants(release).documents:
            if document.sha256 == digest:
                return document.body
        # a client may have an older page, whose documents were kept when it was shown
        return self._kept_variants().find(self.project.name, digest)

    def _served_response(
        self, request: Request, file_request: responses.FileRequest, file: File
    ) -> Response:
        """
        Return the response with a file, or with its core metadata.

        Raises NotFound if the store lacks the bytes.
        """
        context = self.context
        name = self.project.name
        scope = context.read_policy.cache_scope(name)
        if file_request.is_metadata:
            load = partial(context.process.core_metadata.load_bytes, name, file)
            version = ObjectVersion(file.core_metadata)  # its digest
            return responses.core_metadata_response(
                request, context, version, load, self.repeats(), scope=scope
            )
        file_to_send = responses.FileToSend(
            sha256=file.sha256,
            size=file.size,
            headers=responses.file_cache_headers(scope),
            body=StoredBody(context.process.file_delivery, name, file),
        )
        return responses.file_response(request, context, file_to_send)


def find_private(context: IndexContext, name: NormalizedName) -> PrivateFiles:
    """
    Return the files of a private project, as the layers of the index show it.

    Raises NotFound if there is no such project. Raises Unavailable if the store does not answer, or
    a document is damaged.
    """
    sources = context.index.repository.find(name)
    if not sources.projects:
        raise project_not_found(name)
    return PrivateFiles(context, sources)


class PrivateOrigin(Origin, frozen=True, kw_only=True):
    """The origin of a private project."""

    sources: ProjectSources

    def hidden(self) -> Sequence[HiddenFiles]:
        """Return the files that the view of the index does not show, the newest version first."""
        hidden = self.sources.hidden.values()
        return hidden_files((file.version, reason) for file, reason in hidden)


class OpenListing(responses.ListingOfFiles, frozen=True, kw_only=True):
    """A listing whose files can be opened."""

    open: "PrivateFiles | PublicFiles | MergedFiles"

    def repeats(self) -> responses.Repeats:
        """Return what a page of the listing is made from, and until when it may be repeated."""
        return self.open.repeats()


def find(
    context: IndexContext, name: NormalizedName, request: Request, *, may_refresh: bool = True
) -> OpenListing:
    """
    Return what the caller of a request is shown of a project.

    `require_lookup` has allowed the caller to ask for it. With `may_refresh`, a caller who may
    upload can have the upstream indexes asked now. A name that no upstream index has is counted for
    the client.

    Raises NotFound if no index has the project, the settings do not allow to ask for it, or it is
    private and the caller may not read it. Raises Unavailable if the store does not answer, no
    upstream index does, the client has asked for too many unknown names, or this index has sent the
    request itself. Raises Waiting if an upstream index has to be asked.
    """
    public = _find_public(context, name, request, may_refresh=may_refresh)
    if public is not None:
        return public
    return _private_listing(find_private(context, name))


def find_for_installer(
    context: IndexContext, name: NormalizedName, request: Request, *, may_refresh: bool = True
) -> OpenListing:
    """
    Return what an installer is shown of a project.

    For a private name without a project, that is an empty listing: after a 404, uv would go on to
    its next index. The settings may want a 404 all the same, and there is one if this index has no
    upstream index.

    With `may_refresh`, a caller who may upload can have the upstream indexes asked now. Licences
    that a rule needs are looked up. If the policy shows nothing of the project, it is noted that
    the caller wants it. Neither is done if pip asks for pip, nor for a static site. A name that no
    upstream index has is counted for the client.

    Raises NotFound if no index has the project, the settings do not allow to ask for it, or it is
    private and the caller may not read it. Raises Unavailable if the store does not answer, no
    upstream index does, the client has asked for too many unknown names, or this index has sent the
    request itself. Raises Waiting if an upstream index has to be asked.
    """
    # a project is noted only if somebody wants it: nobody has asked for an exported project, nor
    # for the newer pip that each pip looks for
    is_installer = context.process.site is None
    if name == "pip" and _is_pip(request):
        is_installer = False
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
        empty_project = Project(name=name)
        source = FoundProject(context.index.name, context.index.projects, empty_project, ABSENT)
        files = PrivateFiles(context, ProjectSources((source,), None))
    return _private_listing(files)


def _is_pip(request: Request) -> bool:
    """Return whether the client of a request says that it is pip."""
    return request.joined_headers.get(b"user-agent", b"").startswith(b"pip/")


def _find_public(
    context: IndexContext,
    name: NormalizedName,
    request: Request,
    *,
    may_refresh: bool,
    is_installer: bool = False,
) -> OpenListing | None:
    """
    Return the listing of a public project, or None if the name is private and may be read.

    Return None, too, without an upstream index. Raises NotFound if no upstream index has the
    project or may be asked for it, or if it is private and the caller may not read it. Raises
    Unavailable if no upstream index answers, or the store does not. Raises Waiting if an upstream
    index has to be asked.
    """
    if context.upstream is None:
        return None

    # this reads from the store, for each request, whether the name is private
    listings = context.upstream.find(
        name, request, may_refresh=may_refresh, is_installer=is_installer
    )
    if listings is None:
        return None

    # an installer takes the newest release that it is shown; nobody else waits for licences
    if is_installer:
        for listing in listings:
            _look_up_licences(context.upstream, context.index, listing, request)
    filtered = context.index.repository.filter_public(listings)
    if not filtered:
        raise project_not_found(name)

    # no server without an upstream index needs this module
    from wheelyard.http.upstream_file_responses import public_files  # noqa: PLC0415

    files = public_files(context, context.upstream, filtered)

    # the fields of `Listing`, of whatever class of `upstream/` the listing is
    fields = {field: getattr(files.listing, field) for field in Listing.__struct_fields__}
    return OpenListing(**fields, open=files)


def _look_up_licences(
    reader: "UpstreamReader", index: Index, listing: "UpstreamListing", request: Request
) -> None:
    """
    Look up the licences of the newest releases, if a rule needs them, before these are shown.

    Raises Waiting until that is done.
    """
    repository = index.repository
    if repository.lacks_licences(listing):
        request.wait(
            ("licences", listing.origin.label),
            reader.run_for_metadata,
            listing.origin.page.upstream,
            request.client_key,
            repository.look_up_licences,
            listing,
        )


def _private_listing(files: PrivateFiles) -> OpenListing:
    """Return the listing of a private project, with the files that its status permits."""
    project = files.project
    other_index = None
    if files.first.index != files.context.index.name:
        other_index = files.first.index
    return OpenListing(
        name=project.name,
        status=project.status,
        reason=project.reason,
        files=project.status.served(project.files),
        version=files.version,
        origin=PrivateOrigin(other_index=other_index, sources=files.sources),
        open=files,
    )


def has_namespaces(context: IndexContext) -> bool:
    """
    Return whether pages tell of namespaces, which no page of a static site does.

    Raises Unavailable if the namespaces cannot be read.
    """
    if context.process.site is not None:
        return False
    return bool(context.index.server.namespaces.for_pages().all)


def namespaces_of(
    context: IndexContext, listing: OpenListing
) -> "tuple[ProjectNamespace, ...] | None":
    """
    Return the namespaces of a project, or None for a static site, and for a store without any.

    A public project is in no namespace. Raises Unavailable if the namespaces cannot be read.
    """
    if not has_namespaces(context):
        return None
    if not isinstance(listing.open, PrivateFiles):
        return ()
    return context.index.server.namespaces.describe(listing.open.project)


def namespaces_deadline(context: IndexContext) -> float:
    """Return until when, on the monotonic clock, a page may be repeated that names namespaces."""
    return context.index.server.runtime.monotonic() + NAMESPACES_SECONDS
