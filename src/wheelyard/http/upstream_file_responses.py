"""
Responses with files of upstream indexes, and with their core metadata.

A file is served if its name is not private, if its page lists it with the digest of the URL, and if
the policy allows it. These are checked for each request, also if the store has the file. A file of
the store is sent as a private file is. Any other file is sent while it is fetched.
"""

from asyncio import get_running_loop, wrap_future
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from math import inf
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import canonicalize_name
from packaging.version import Version

from wheelyard.errors import Forbidden, Invalid, NotFound
from wheelyard.http import page_cache, responses
from wheelyard.http.context import IndexContext
from wheelyard.http.error_responses import file_not_found
from wheelyard.http.file_delivery import StoredBody
from wheelyard.http.messages import BegunBody, MadeFrom, Request, Response, until_readable
from wheelyard.http.upstream_reader import UpstreamReader
from wheelyard.model.distribution_filename import (
    VARIANTS_SUFFIX,
    label_of,
    parse_known_filename,
    release_of_variants,
    strip_trailing_zeros,
)
from wheelyard.model.metadata import CoreMetadata, parse_any
from wheelyard.model.public_packages import HIDDEN_BY_VIEW, FileReason
from wheelyard.rendering.listing import ShownFile
from wheelyard.storage.base import ObjectVersion, Store
from wheelyard.upstream.file_cache import StoredFile
from wheelyard.upstream.file_fetch import PassedOnFile
from wheelyard.upstream.growing_file import RANGES_LIMIT_BYTES
from wheelyard.upstream.indexes import UpstreamListing
from wheelyard.upstream.merged_listing import MergedListing, merged_listing
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.pages import LOOK_SECONDS
from wheelyard.upstream.sidecars import Sidecar, core_metadata_of, provenance_of

HEADERS: Final = (*responses.file_cache_headers("private"), responses.FROM_UPSTREAM)
"""No shared cache may keep a file, which may be blocked any time, or its name become private."""


class PublicFiles(Struct, frozen=True):
    """
    The files of a project of one upstream index, as one page of that index lists them.

    A fetched file is kept in the store if the settings say so. If the policy refuses a file that
    somebody wants, that is noted and counted.
    """

    context: IndexContext
    reader: UpstreamReader
    listing: UpstreamListing
    is_merged: bool = False
    """Whether the page of the project has files of other upstream indexes as well."""

    def store_of(self, filename: str) -> Store:
        """Return the store that has a listed file if it was fetched."""
        del filename
        return self.reader.upstream.files.cache(self._page.upstream).store

    @property
    def _page(self) -> UpstreamPage:
        """The page that lists the files."""
        return self.listing.origin.page

    def page_documents(self) -> Sequence[ShownFile]:
        """Return the documents about wheels with a label on the page of the Simple API."""
        return tuple(self.page_variants.values())

    def page_files(self) -> Sequence[ShownFile]:
        """Return the files on the page of the Simple API, and the documents about some of them."""
        return _on_page(self.listing.files, self.page_variants)

    @property
    def page_variants(self) -> dict[str, UpstreamFile]:
        """
        The documents about the shown wheels with a label, by version without trailing zeros.

        No document changes if a rule hides some of its wheels: a label without wheels does no harm.
        """
        if not self.listing.variants:
            return {}
        # by release, as an index may spell the version of a document and of its wheels differently
        releases = set[str]()
        for file in self.listing.files:
            if label_of(file.filename):
                releases.add(strip_trailing_zeros(file.version))
        documents = dict[str, UpstreamFile]()
        for document in self.listing.variants:
            release = strip_trailing_zeros(document.version)
            if release in releases:
                documents[release] = document
        return documents

    def repeats(self) -> responses.Repeats:
        """
        Return what an answer by this listing is made from, and until when it may be repeated.

        It is made from the page, the policy, and the documents that say that the name is not
        private. The first is None if the answer may change without a change of any of these.
        """
        upstream = self.reader.upstream
        origin = self.listing.origin
        page = origin.page

        # a stale page is shown only until its index answers, which it may do any time
        if origin.is_stale:
            return None, inf

        # a digest that a page lacks becomes known as soon as the file is fetched
        if not page.has_all_digests:
            return None, inf

        # offline, a page changes with the files that somebody brings into the store
        if upstream.config.offline:
            return None, inf
        absences = upstream.names.absence(page.name)
        if absences is None:
            return None, inf
        upstream_id = page.upstream if self.is_merged else ""
        made_from: MadeFrom = (
            (page_cache.upstream_page_key(page.name, upstream_id), page.version),
            (page_cache.POLICY, origin.view.generation),
        )

        # a name becomes private as soon as any index of this store lists or has it
        for absence in absences:
            made_from += (
                (page_cache.names_key(absence.index), absence.names),
                (page_cache.project_key(page.name, absence.index), absence.document),
            )
        return made_from, upstream.runtime.monotonic() + self._seconds_to_repeat()

    def _seconds_to_repeat(self) -> float:
        """Return for how many seconds an answer by this listing may be repeated."""
        upstream = self.reader.upstream
        origin = self.listing.origin
        # then the store has to be read again: another process may have fetched or decided something
        seconds = LOOK_SECONDS
        # without a page that may become too old, a refusal ends with the decision alone
        if not origin.refused_for:
            seconds = min(seconds, upstream.pages.ttl(origin.page) - origin.age)
        changes_at = origin.view.changes_at
        if changes_at is not None:
            seconds = min(seconds, (changes_at - upstream.runtime.now()).total_seconds())
        return seconds

    def core_metadata(self, request: Request, filename: str) -> CoreMetadata | None:
        """
        Return the core metadata of a file that is shown, or a minimum if the file has none.

        Return None if the upstream index lists core metadata, and answers 404. Raises Forbidden if
        the policy refuses the file, as for a blocked licence. Raises Unavailable if neither store
        nor upstream index answers. Raises Waiting if the core metadata has to be fetched.
        """
        page = self._page
        content = None
        file = next(file for file in self.listing.files if file.filename == filename)
        if file.serves_metadata:
            file_on_page = page.by_filename[filename]
            try:
                self._require_allowed(request, file_on_page)
                content = self._core_metadata_bytes(request, file_on_page)
            except NotFound:
                return None
        # bytes of strangers: fields that cannot be read are left out
        core = parse_any(content, page.name, file.version)
        if canonicalize_name(core.name) == page.name:
            return core
        # the file has the metadata of another project
        return parse_any(None, page.name, file.version)

    def require_version(self, request: Request, version: Version) -> None:
        """
        Raise NotFound, with the reason, if the policy hides each file of a version.

        Then it is noted that a program wants this version, unless rules of the index hide it. A
        version without a file is no error. Raises Unavailable if the store does not say why the
        project is refused.
        """
        page = self._page
        name_refusal = self.listing.origin.refused_for
        if name_refusal is not None:
            refusal = self._refusal_of(str(version), name_refusal)
            self.reader.upstream.requests.note(page.name, str(version), refusal, request.caller)
            raise NotFound(refusal.text, code=refusal.code, advice=refusal.advice)
        release = strip_trailing_zeros(str(version))
        hidden_files = self.listing.origin.view.hidden
        files = [file for file in page.files if strip_trailing_zeros(file.version) == release]
        is_shown = any(file.filename not in hidden_files for file in files)
        if not files or is_shown:
            return
        reason = hidden_files[files[0].filename]
        # nobody can approve a file that the rules of a view hide: such a wish is not noted
        if reason.code != HIDDEN_BY_VIEW:
            self.reader.upstream.note_file(page, files[0], reason, request.caller)
        raise NotFound(reason.text, code=reason.code)

    def response(self, request: Request, file_request: responses.FileRequest) -> Response:
        """
        Return the response with a file or its core metadata, or 404 if the page lacks it.

        Raises Forbidden if the policy refuses the file, and NotFound if rules of the index hide it,
        or its upstream index answers 404. Raises Invalid (412) if If-Match has another ETag. Raises
        Unavailable if neither store nor upstream index answers. Raises OSError if this process can
        open no more files. Raises Waiting if something has to be fetched.
        """
        filename = file_request.filename
        name_refusal = self.listing.origin.refused_for
        if name_refusal is not None:
            raise self._refused_file(request, filename, name_refusal)
        if filename.endswith(VARIANTS_SUFFIX):
            return self._variants_response(request, file_request)
        file = self._page.by_filename.get(filename)
        if file is None and file_request.sha256 and not file_request.is_metadata:
            return self._removed_file_response(request, file_request)
        if file is None or not file_request.is_for(file):
            return file_not_found()
        # for each request, also if the store has the file: it may have been blocked meanwhile
        self._require_allowed(request, file)
        if file_request.is_metadata:
            return self._core_metadata_response(request, file)
        return self._distribution_response(request, file)

    def _variants_response(self, request: Request, file_request: responses.FileRequest) -> Response:
        """Return the response with the document about the wheels with a label of a release."""
        document = self.page_variants.get(release_of_variants(file_request.filename))
        if document is None or file_request.filename != document.filename:
            return file_not_found()
        if file_request.is_metadata:
            return file_not_found()
        if file_request.sha256 in (None, document.sha256):
            return self._distribution_response(request, document)
        # a client may have an older page, and the store the document that was there then
        earlier_document = replace(document, sha256=file_request.sha256, size=None)
        stored_file = self.reader.upstream.files.find(self._page, earlier_document)
        if stored_file is None:
            return file_not_found()
        return self._stored_response(request, stored_file)

    def provenance(
        self, request: Request, filename: str, release: str
    ) -> responses.FileProvenance | None:
        """
        Return the provenance of a file of a release, or None if its page lists no provenance.

        `release` is the version without trailing zeros. The result is None, too, if the policy
        refuses the project. Raises Forbidden if the policy refuses the file, and NotFound if rules
        of the index hide it, or its upstream index answers 404. Raises Unavailable if neither store
        nor upstream index answers. Raises Waiting if the provenance has to be fetched.
        """
        file = self._page.by_filename.get(filename)
        if self.listing.origin.refused_for is not None or file is None:
            return None
        if not file.has_provenance or strip_trailing_zeros(file.version) != release:
            return None
        self._require_allowed(request, file)
        body = self._sidecar_bytes(request, provenance_of(self._page, file))
        return responses.FileProvenance(sha256(body).hexdigest(), lambda: body)

    def _refusal_of(self, version: str, name_refusal: FileReason) -> FileReason:
        """
        Return why no upstream index may be asked for a version of a name that is refused.

        `name_refusal` is the reason of all versions. Raises Unavailable if the store does not
        answer.
        """
        # the block of one version says more than the reason of all versions
        policy = self.reader.upstream.policy
        return policy.refusal_of_name(self._page.name, version=version) or name_refusal

    def _refused_file(self, request: Request, filename: str, name_refusal: FileReason) -> Forbidden:
        """
        Return the error for a file of a project that no upstream index may be asked for.

        It is noted that a program wants the version of the file. Raises Unavailable if the store
        does not answer.
        """
        version = ""
        # no page was read, so the filename in the URL may be any text
        with suppress(Invalid):
            version = str(parse_known_filename(filename, self._page.name).version)
        refusal = self._refusal_of(version, name_refusal)
        self.reader.upstream.requests.note(self._page.name, version, refusal, request.caller)
        return Forbidden(refusal.text, code=refusal.code, advice=refusal.advice)

    def _require_allowed(self, request: Request, file: UpstreamFile) -> None:
        """
        Raise Forbidden if the policy refuses a file, and NotFound if rules of the index hide it.

        Raises Waiting if something about the file has to be fetched to say so.
        """
        upstream = self.reader.upstream
        page = self._page
        view = self.listing.origin.view
        hidden_reason = view.hidden.get(file.filename)

        # nobody learns of a file that a view hides whether the policy refuses it
        if hidden_reason is not None and hidden_reason.code == HIDDEN_BY_VIEW:
            raise NotFound(hidden_reason.text, code=hidden_reason.code)

        # a licence or an attestation may have to be fetched, for which no thread waits
        if upstream.policy.asks_sidecars:
            refusal = request.wait(
                ("allowed", file.filename), self._refusal_by_sidecars, file, request.client_key
            )
        else:
            refusal = upstream.policy.refusal_of_file(page, file, view)
        if refusal is not None:
            upstream.observation.blocked(refusal.code)
            upstream.note_file(page, file, refusal, request.caller)
            raise Forbidden(refusal.text, code=refusal.code, advice=refusal.advice)
        repository = self.context.index.repository

        # most rules are applied already when the listing is made
        if not repository.judges_before_sending(self.listing, file):
            return
        reason = request.wait(
            ("refused", file.filename),
            self.reader.run_for_metadata,
            page.upstream,
            request.client_key,
            repository.refusal_of_file,
            self.listing,
            file,
        )
        if reason is not None:
            raise NotFound(reason.text, code=reason.code)

    async def _refusal_by_sidecars(self, file: UpstreamFile, client: str) -> FileReason | None:
        """
        Return why the policy refuses a file, or None if it allows the file.

        A licence or an attestation may have to be fetched for that.
        """
        policy = self.reader.upstream.policy
        page = self._page
        run = self.reader.run_for_metadata
        return await run(page.upstream, client, policy.refusal_of_file, page, file)

    def _removed_file_response(
        self, request: Request, file_request: responses.FileRequest
    ) -> Response:
        """Return the response with a stored file that its page does not list any more, or 404."""
        upstream = self.reader.upstream
        page = self._page
        if not upstream.config.keep_removed:
            return file_not_found()
        file = _removed_file(page, file_request)
        if file is None:
            return file_not_found()
        self._require_allowed(request, file)
        stored_file = upstream.files.find(page, file)
        if stored_file is None:
            return file_not_found()
        return self._stored_response(request, stored_file)

    def _distribution_response(self, request: Request, file: UpstreamFile) -> Response:
        """Return the response with a file, from the store or while it is fetched."""
        find = self.reader.upstream.files.find
        # `once`, as the handler is called again after a wait, and each look is counted
        stored_file = request.once(("stored", file.filename), find, self._page, file)
        if stored_file is not None:
            # another process may have removed the file a moment ago: then it is fetched
            with suppress(NotFound):
                return self._stored_response(request, stored_file)
        # HEAD and 304 are answered by the page alone, without a request to the upstream index
        takes_ranges = file.size is not None and file.size <= RANGES_LIMIT_BYTES
        file_to_send = _without_body(file, file.size, takes_ranges=takes_ranges)
        response = responses.response_without_bytes(request, file_to_send)
        if response is not None:
            return response
        fetched_file = request.wait("file", self._fetch, request, file)
        return responses.file_response(request, self.context, fetched_file)

    async def _fetch(self, request: Request, file: UpstreamFile) -> responses.FileToSend:
        """
        Return a file once its first bytes have come.

        It runs in the event loop, which must not read from a network or a disk.
        """
        files = self.reader.upstream.files
        fetched = await wrap_future(files.fetch(self._page, file, request.client_key))
        # another request or another process may have fetched the whole file meanwhile
        if isinstance(fetched, StoredFile):
            return self._file_in_store(fetched)
        file_to_send = _without_body(file, fetched.size, takes_ranges=fetched.takes_ranges)
        byte_range = responses.requested_part(request, file_to_send)
        if isinstance(fetched, PassedOnFile) or byte_range is None:
            body: bytes | Iterator[bytes] = fetched.body()
        else:
            body = fetched.body(byte_range.start, byte_range.stop)
        if isinstance(body, bytes):
            return replace(file_to_send, body=body)
        # after the status was sent, an error can only break the response off: so this waits for the
        # first chunk, with which most errors of an upstream index show
        await until_readable(body)
        streams = self.context.process.pools.streams
        first_chunk = await get_running_loop().run_in_executor(streams, next, body, b"")
        return replace(file_to_send, body=BegunBody(first_chunk, body))

    def _core_metadata_response(self, request: Request, file: UpstreamFile) -> Response:
        """Return the response with the core metadata of a file."""
        load: page_cache.Render = partial(self._core_metadata_bytes, request, file)
        version = ObjectVersion(file.core_metadata)
        repeats = self.repeats()
        # without a digest on the page, only the bytes themselves show whether they have changed
        if not version:
            content = load()
            version = ObjectVersion(sha256(content).hexdigest())
            repeats = (None, inf)
        return responses.core_metadata_response(
            request, self.context, version, load, repeats, scope="private"
        )

    def _core_metadata_bytes(self, request: Request, file: UpstreamFile) -> bytes:
        """Return the core metadata of a file, from the store or the upstream index."""
        return self._sidecar_bytes(request, core_metadata_of(self._page, file))

    def _sidecar_bytes(self, request: Request, sidecar: Sidecar) -> bytes:
        """
        Return the bytes of a document about a file, from the store or the upstream index.

        Raises Waiting if they have to be fetched.
        """
        find = self.reader.upstream.files.find_sidecar
        # `once`, as the handler is called again after a wait, and each look is counted
        body = request.once(("stored", *sidecar.identity), find, sidecar)
        if body is None:
            key = ("sidecar", *sidecar.identity)
            body = request.wait(key, self._fetch_sidecar, sidecar, request.client_key)
        return body

    async def _fetch_sidecar(self, sidecar: Sidecar, client: str) -> bytes:
        """Return the bytes of a document about a file, once they have come."""
        return await wrap_future(self.reader.upstream.files.fetch_sidecar(sidecar, client))

    def _stored_response(self, request: Request, stored_file: StoredFile) -> Response:
        """Return the response with a file of the store. Raises what `file_response` raises."""
        file_to_send = self._file_in_store(stored_file)
        return responses.file_response(request, self.context, file_to_send)

    def _file_in_store(self, stored_file: StoredFile) -> responses.FileToSend:
        """Return a file that is sent from the store."""
        delivery = self.context.process.file_delivery
        file = stored_file.file
        return responses.FileToSend(
            sha256=file.sha256,
            size=file.size,
            headers=HEADERS,
            body=StoredBody(delivery, stored_file.name, file, stored_file.files),
        )


class MergedFiles(Struct, frozen=True):
    """
    The files of a project of several upstream indexes.

    A fetched file is kept in the store if the settings say so. If the policy refuses a file that
    somebody wants, that is noted and counted.
    """

    chain: tuple[PublicFiles, ...]
    """The files of each upstream index, in the order of the layers."""
    listing: MergedListing

    def store_of(self, filename: str) -> Store:
        """Return the store that has a listed file if it was fetched."""
        return self._files_with(filename).store_of(filename)

    def page_documents(self) -> Sequence[ShownFile]:
        """Return the documents about wheels with a label on the page of the Simple API."""
        return tuple(_documents_of(self._variant_owners).values())

    def page_files(self) -> Sequence[ShownFile]:
        """
        Return the files on the page of the Simple API, and the documents about wheels with a label.

        Of the wheels with a label of a release, only those of the first index that has a document
        about them are shown, and none if no index has one. All other files are shown.
        """
        owners = self._variant_owners
        files = list[UpstreamFile]()
        for file in self.listing.files:
            owner = owners.get(strip_trailing_zeros(file.version))
            # no document of one index says what the labels of another one mean
            if not label_of(file.filename) or owner is self._files_with(file.filename):
                files.append(file)
        return _on_page(files, _documents_of(owners))

    @property
    def _variant_owners(self) -> dict[str, PublicFiles]:
        """The files of the first index of the chain with a document about a release, by release."""
        owners: dict[str, PublicFiles] = {}
        for index_files in self.chain:
            for release in index_files.page_variants:
                owners.setdefault(release, index_files)
        return owners

    def repeats(self) -> responses.Repeats:
        """
        Return everything that an answer is made from, and until when it may be repeated.

        The first is None if it is not known of one of the indexes.
        """
        made_from: MadeFrom = ()
        first_deadline = inf
        for index_files in self.chain:
            made_from_index, deadline = index_files.repeats()
            if made_from_index is None:
                return None, inf
            made_from += made_from_index
            first_deadline = min(first_deadline, deadline)
        # without duplicates: the indexes have the policy and the private names in common
        return tuple(dict.fromkeys(made_from)), first_deadline

    def core_metadata(self, request: Request, filename: str) -> CoreMetadata | None:
        """
        Return the core metadata of a file that is shown, as the index of the file has it.

        Return a minimum if the file has no core metadata, and None if its upstream index lists core
        metadata, and answers 404. Raises Forbidden if the policy refuses the file, Unavailable if
        neither store nor upstream index answers, and Waiting if the core metadata has to be
        fetched.
        """
        return self._files_with(filename).core_metadata(request, filename)

    def require_version(self, request: Request, version: Version) -> None:
        """
        Raise NotFound, with the reason, if the policy hides each file of a version.

        Then it is noted that a program wants this version, unless rules of the index hide it. A
        version without a file is no error. Raises Unavailable if the store does not say why the
        project is refused.
        """
        release = strip_trailing_zeros(str(version))
        shown_releases = {strip_trailing_zeros(file.version) for file in self.listing.files}
        if release in shown_releases:
            return
        for index_files in self.chain:
            index_files.require_version(request, version)

    def response(self, request: Request, file_request: responses.FileRequest) -> Response:
        """
        Return the response with a file or its core metadata, or 404 if no page has it.

        Raises Forbidden if the policy refuses the file, and NotFound if rules of the index hide it,
        or its upstream index answers 404. Raises Invalid (412) if If-Match has another ETag. Raises
        Unavailable if neither store nor upstream index answers. Raises OSError if this process can
        open no more files. Raises Waiting if something has to be fetched.
        """
        filename = file_request.filename
        if filename in self.listing.deciding_listings:
            return self._files_with(filename).response(request, file_request)
        if filename.endswith(VARIANTS_SUFFIX):
            release = release_of_variants(filename)
            owner = self._variant_owners.get(release, self.chain[0])
            return owner.response(request, file_request)
        # an earlier page may have listed the file, and the store have kept it
        for index_files in self.chain:
            if _removed_file(index_files.listing.origin.page, file_request) is not None:
                return index_files.response(request, file_request)
        return file_not_found()

    def provenance(
        self, request: Request, filename: str, release: str
    ) -> responses.FileProvenance | None:
        """
        Return the provenance of a file of a release, or None if its page lists no provenance.

        `release` is the version without trailing zeros. The result is None, too, if the policy
        refuses the project. Raises Forbidden if the policy refuses the file, and NotFound if rules
        of the index hide it, or its upstream index answers 404. Raises Unavailable if neither store
        nor upstream index answers. Raises Waiting if the provenance has to be fetched.
        """
        if filename not in self.listing.deciding_listings:
            return None
        return self._files_with(filename).provenance(request, filename, release)

    def _files_with(self, filename: str) -> PublicFiles:
        """Return the files of the upstream index whose page decides about a file."""
        deciding_listing = self.listing.deciding_listings[filename]
        return next(files for files in self.chain if files.listing is deciding_listing)


def public_files(
    context: IndexContext, reader: UpstreamReader, listings: tuple[UpstreamListing, ...]
) -> PublicFiles | MergedFiles:
    """Return the files that the layers of an index show of a public project, by their listings."""
    listing = merged_listing(listings)
    if isinstance(listing, UpstreamListing):
        return PublicFiles(context, reader, listing)
    chain = tuple(
        PublicFiles(context, reader, index_listing, is_merged=True)
        for index_listing in listing.listings
    )
    return MergedFiles(chain, listing)


def _removed_file(page: UpstreamPage, file_request: responses.FileRequest) -> UpstreamFile | None:
    """Return the file of a request that a page does not list any more, or None if it never did."""
    # files with one name may have been removed several times, each time with other bytes
    for file in page.removed:
        if file.filename == file_request.filename and file.sha256 == file_request.sha256:
            return file
    return None


def _documents_of(owners: Mapping[str, PublicFiles]) -> dict[str, UpstreamFile]:
    """Return the document of each owner about its release, by version without trailing zeros."""
    return {release: owner.page_variants[release] for release, owner in owners.items()}


def _on_page(
    files: Sequence[UpstreamFile], variants: Mapping[str, UpstreamFile]
) -> Sequence[UpstreamFile]:
    """Return the files of a page and the documents, without wheels with a label but no document."""
    has_label = any(label_of(file.filename) for file in files)
    if not variants and not has_label:
        return files
    # PEP 825: without the document, no installer knows what a label means
    on_page = list[UpstreamFile]()
    for file in files:
        if not label_of(file.filename) or strip_trailing_zeros(file.version) in variants:
            on_page.append(file)
    on_page += variants.values()
    return sorted(on_page, key=attrgetter("filename"))


def _without_body(
    file: UpstreamFile, size: int | None, *, takes_ranges: bool
) -> responses.FileToSend:
    """Return a file without its bytes, for an answer that is given before they have come."""
    return responses.FileToSend(
        sha256=file.sha256, size=size, takes_ranges=takes_ranges, headers=HEADERS
    )
