"""
Responses with files of upstream indexes, and with their core metadata.

A file is served if its name is not private, if its page lists it with the digest of the URL, and if
the policy allows it: each time, also if the store has it. It is then sent as a private one is; or,
if the store does not have it yet, while it is fetched.
"""

from asyncio import get_running_loop, wrap_future
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from math import inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace
from packaging.utils import canonicalize_name
from packaging.version import Version

from wheelyard.errors import Forbidden, Invalid, NotFound
from wheelyard.http.context import IndexContext
from wheelyard.http.error_responses import file_not_found
from wheelyard.http.file_delivery import StoredBody
from wheelyard.http.messages import BegunBody, MadeFrom, Request, Response, until_readable
from wheelyard.http.page_cache import POLICY, Render, names_key, project_key, upstream_page_key
from wheelyard.http.responses import (
    FROM_UPSTREAM,
    FileToSend,
    FoundProvenance,
    Repeats,
    WantedFile,
    core_metadata_response,
    file_cache_headers,
    file_response,
    requested_part,
    response_without_bytes,
)
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

HEADERS: Final = (*file_cache_headers("private"), FROM_UPSTREAM)
"""No shared cache may keep a file: it may be blocked, or its name become private, any time."""


class PublicFiles(Struct, frozen=True):
    """The files of a project of an upstream index, by one page of it."""

    context: IndexContext
    reader: UpstreamReader
    listing: UpstreamListing
    is_part: bool = False
    """Whether other upstream indexes have files of the project as well."""

    def store_of(self, filename: str) -> Store:
        """Return where a listed file is kept if it was fetched."""
        del filename
        return self.reader.upstream.files.cache(self._page.upstream).store

    @property
    def _page(self) -> UpstreamPage:
        return self.listing.origin.page

    def page_documents(self) -> Sequence[ShownFile]:
        """Return what the page of the Simple API has beside the files."""
        return tuple(self.page_variants.values())

    def page_files(self) -> Sequence[ShownFile]:
        """Return the files on the page of the Simple API, and the documents about some of them."""
        return _on_page(self.listing.files, self.page_variants)

    @property
    def page_variants(self) -> dict[str, UpstreamFile]:
        """
        The documents about wheels with a label that are shown, by version without trailing zeros.

        That a rule hides some of these wheels changes no document: other labels do no harm.
        """
        if not self.listing.variants:
            return {}
        labelled = (file for file in self.listing.files if label_of(file.filename))
        releases = {strip_trailing_zeros(file.version) for file in labelled}
        documents = {
            strip_trailing_zeros(document.version): document for document in self.listing.variants
        }
        return {release: documents[release] for release in releases & documents.keys()}

    def repeats(self) -> Repeats:
        """Return the page, the policy and what says that the name is not private, or None."""
        upstream = self.reader.upstream
        origin = self.listing.origin
        page = origin.page
        view = origin.view
        now = upstream.runtime.monotonic
        # digests that a page lacks become known as soon as the files are fetched; and while nothing
        # is fetched, a page changes with the files that are brought into the store
        is_open = not page.has_all_digests or upstream.config.offline
        unclaimed = None if origin.is_stale or is_open else upstream.names.absence(page.name)
        if unclaimed is None:
            return None, inf
        # a refusal ends with the decision alone
        left = inf if origin.refused_for else upstream.pages.ttl(page) - origin.age
        seconds = min(left, LOOK_SECONDS)
        if view.changes_at is not None:
            seconds = min(seconds, (view.changes_at - upstream.runtime.now()).total_seconds())
        key = upstream_page_key(page.name, page.upstream if self.is_part else "")
        made_from: MadeFrom = (
            (key, page.version),
            (POLICY, view.generation),
        )
        for absence in unclaimed:
            made_from += (
                (names_key(absence.index), absence.names),
                (project_key(page.name, absence.index), absence.document),
            )
        return made_from, now() + seconds

    def core_metadata(self, request: Request, filename: str) -> CoreMetadata | None:
        """
        Return the core metadata of a file that is shown, a minimum if it has none.

        It is None if its upstream index lists some, and answers 404. Raises Forbidden if the policy
        refuses the file, as for a blocked licence. Raises Unavailable if neither store nor upstream
        index answers. Raises Waiting if it has to be fetched.
        """
        page = self._page
        raw = None
        file = next(file for file in self.listing.files if file.filename == filename)
        if file.serves_metadata:
            listed = page.by_filename[filename]
            try:
                self._require_allowed(request, listed)
                raw = self._metadata(request, listed)
            except NotFound:
                return None
        core = parse_any(raw, page.name, file.version)
        if canonicalize_name(core.name) == page.name:
            return core
        return parse_any(None, page.name, file.version)  # it is that of another project

    def require_version(self, request: Request, version: Version) -> None:
        """
        Note that a program wants one version, if the policy hides each file of it.

        Raises NotFound then, with the reason.
        """
        key = strip_trailing_zeros(str(version))
        page = self._page
        refusal = self.listing.origin.refused_for
        if refusal is not None:
            refusal = self._refusal_of(str(version), refusal)
            self.reader.upstream.requests.note(page.name, str(version), refusal, request.caller)
            raise NotFound(refusal.text, code=refusal.code, advice=refusal.advice)
        files = [file for file in page.files if strip_trailing_zeros(file.version) == key]
        hidden = [self.listing.origin.view.hidden.get(file.filename) for file in files]
        if files and hidden[0] is not None and all(hidden):
            if hidden[0].code != HIDDEN_BY_VIEW:  # which nobody can lift
                self.reader.upstream.note_file(page, files[0], hidden[0], request.caller)
            raise NotFound(hidden[0].text, code=hidden[0].code)

    def response(self, request: Request, wanted: WantedFile) -> Response:
        """
        Return the response with a file or its core metadata, or 404 if the page lacks it.

        Raises Forbidden if the policy refuses it, and NotFound if a view of the index hides it, or
        its upstream index answers 404.
        Raises Invalid (412) if If-Match has another ETag. Raises Unavailable if neither store nor
        upstream index answers. Raises Waiting if it has to be fetched.
        """
        refusal = self.listing.origin.refused_for
        page = self._page
        if refusal is not None:
            raise self._refused_file(request, wanted.filename, refusal)
        if wanted.filename.endswith(VARIANTS_SUFFIX):
            return self._variants_response(request, wanted)
        file = page.by_filename.get(wanted.filename)
        if file is None and wanted.sha256 and not wanted.is_metadata:
            return self._removed_file(request, wanted)
        if file is None or not wanted.is_served(file):
            return file_not_found()
        self._require_allowed(request, file)
        send = self._core_metadata if wanted.is_metadata else self._distribution
        return send(request, file)

    def _variants_response(self, request: Request, wanted: WantedFile) -> Response:
        """Return the response with the document about the wheels with a label of a release."""
        document = self.page_variants.get(release_of_variants(wanted.filename))
        if document is None or wanted.filename != document.filename or wanted.is_metadata:
            return file_not_found()
        if wanted.sha256 in (None, document.sha256):
            return self._distribution(request, document)
        # a client may have an older page, by which the store has got what was there then
        earlier = replace(document, sha256=wanted.sha256, size=None)
        stored = self.reader.upstream.files.find(self._page, earlier)
        if stored is None:
            return file_not_found()
        return file_response(request, self.context, self._stored(stored))

    def provenance(self, request: Request, filename: str, release: str) -> FoundProvenance | None:
        """
        Return the provenance of a file of a release, or None if its page lists none.

        Raises as `response`.
        """
        file = self._page.by_filename.get(filename)
        if self.listing.origin.refused_for is not None or file is None:
            return None
        if not file.has_provenance or strip_trailing_zeros(file.version) != release:
            return None
        self._require_allowed(request, file)
        body = self._sidecar(request, provenance_of(self._page, file))
        return FoundProvenance(sha256(body).hexdigest(), lambda: body)

    def _refusal_of(self, version: str, of_name: FileReason) -> FileReason:
        """
        Return why no upstream index may be asked for a version of a name that is refused.

        It reads the store. Raises Unavailable if that does not say.
        """
        # the block of one version says more than what is said of all
        policy = self.reader.upstream.policy
        return policy.refuses_name(self._page.name, version=version) or of_name

    def _refused_file(self, request: Request, filename: str, of_name: FileReason) -> Forbidden:
        """
        Note that a file is wanted of a project that no upstream index may be asked for.

        Return the error for it.
        """
        version = ""
        with suppress(Invalid):  # any text
            version = str(parse_known_filename(filename, self._page.name).version)
        refusal = self._refusal_of(version, of_name)
        self.reader.upstream.requests.note(self._page.name, version, refusal, request.caller)
        return Forbidden(refusal.text, code=refusal.code, advice=refusal.advice)

    def _require_allowed(self, request: Request, file: UpstreamFile) -> None:
        """Raise Forbidden if the policy does not allow to download a file, NotFound if a view."""
        upstream = self.reader.upstream
        page = self._page
        listing = self.listing
        hidden = listing.origin.view.hidden.get(file.filename)
        if hidden is not None and hidden.code == HIDDEN_BY_VIEW:
            raise NotFound(hidden.text, code=hidden.code)
        if upstream.policy.asks_sidecars:
            reason = request.wait(
                ("allowed", file.filename), self._refusal_by_sidecars, file, request.client_key
            )
        else:
            reason = upstream.policy.refuses_file(page, file, self.listing.origin.view)
        if reason is not None:
            upstream.observation.blocked(reason.code)
            upstream.note_file(page, file, reason, request.caller)
            raise Forbidden(reason.text, code=reason.code, advice=reason.advice)
        repository = self.context.index.repository
        if repository.judges_before_sending(listing, file):
            against = request.wait(
                ("refused", file.filename),
                self.reader.run_for_metadata,
                page.upstream,
                request.client_key,
                repository.refuses,
                listing,
                file,
            )
            if against is not None:
                raise NotFound(against.text, code=against.code)

    async def _refusal_by_sidecars(self, file: UpstreamFile, client: str) -> FileReason | None:
        """Return why the policy refuses a file, about which something may have to be fetched."""
        policy = self.reader.upstream.policy
        page = self._page
        run = self.reader.run_for_metadata
        return await run(page.upstream, client, policy.refuses_file, page, file)

    def _removed_file(self, request: Request, wanted: WantedFile) -> Response:
        """Return the response with a stored file that its page does not list any more."""
        upstream = self.reader.upstream
        page = self._page
        removed = (file for file in page.removed if file.filename == wanted.filename)
        file = next((file for file in removed if file.sha256 == wanted.sha256), None)
        if file is None or not upstream.config.keep_removed:
            return file_not_found()
        self._require_allowed(request, file)
        stored = upstream.files.find(page, file)
        if stored is None:
            return file_not_found()
        return file_response(request, self.context, self._stored(stored))

    def _distribution(self, request: Request, file: UpstreamFile) -> Response:
        files = self.reader.upstream.files
        page = self._page
        context = self.context
        stored = request.once(("stored", file.filename), files.find, page, file)
        if stored is not None:
            with suppress(NotFound):  # removed from the store a moment ago
                return file_response(request, context, self._stored(stored))
        takes_ranges = file.size is not None and file.size <= RANGES_LIMIT_BYTES
        response = response_without_bytes(
            request, _to_send(file, file.size, takes_ranges=takes_ranges)
        )
        if response is not None:
            return response
        return file_response(request, context, request.wait("file", self._fetch, request, file))

    async def _fetch(self, request: Request, file: UpstreamFile) -> FileToSend:
        """Return a file once its first bytes have come, as an error can be sent until then."""
        files = self.reader.upstream.files
        client = request.client_key
        fetched = await wrap_future(files.fetch(self._page, file, client))
        if isinstance(fetched, StoredFile):
            return self._stored(fetched)
        described = _to_send(file, fetched.size, takes_ranges=fetched.takes_ranges)
        part = requested_part(request, described)
        if isinstance(fetched, PassedOnFile) or part is None:
            body: bytes | Iterator[bytes] = fetched.body()
        else:
            body = fetched.body(part.start, part.stop)
        if not isinstance(body, bytes):
            await until_readable(body)
            streams = self.context.process.pools.streams
            chunks = body
            first = await get_running_loop().run_in_executor(streams, next, chunks, b"")
            body = BegunBody(first, chunks)
        return replace(described, body=body)

    def _core_metadata(self, request: Request, file: UpstreamFile) -> Response:
        load: Render = partial(self._metadata, request, file)
        version = ObjectVersion(file.core_metadata)
        repeats = self.repeats()
        if not version:  # nobody can say whether it has changed
            version = ObjectVersion(sha256(load()).hexdigest())
            repeats = (None, inf)
        return core_metadata_response(
            request, self.context, version, load, repeats, scope="private"
        )

    def _metadata(self, request: Request, file: UpstreamFile) -> bytes:
        """Return the core metadata of a file, from the store or the upstream index."""
        return self._sidecar(request, core_metadata_of(self._page, file))

    def _sidecar(self, request: Request, sidecar: Sidecar) -> bytes:
        """Return a document about a file, from the store or the upstream index."""
        find = self.reader.upstream.files.find_sidecar
        body = request.once(("stored", *sidecar.identity), find, sidecar)
        if body is None:
            what = ("sidecar", *sidecar.identity)
            body = request.wait(what, self._fetch_sidecar, sidecar, request.client_key)
        return body

    async def _fetch_sidecar(self, sidecar: Sidecar, client: str) -> bytes:
        return await wrap_future(self.reader.upstream.files.fetch_sidecar(sidecar, client))

    def _stored(self, stored: StoredFile) -> FileToSend:
        return FileToSend(
            sha256=stored.file.sha256,
            size=stored.file.size,
            headers=HEADERS,
            body=StoredBody(
                self.context.process.file_delivery, stored.name, stored.file, stored.files
            ),
        )


class MergedFiles(Struct, frozen=True):
    """The files of a project of several upstream indexes."""

    parts: tuple[PublicFiles, ...]
    """What opens the files of each, in the order of the layers."""
    listing: MergedListing

    def store_of(self, filename: str) -> Store:
        """Return where a listed file is kept if it was fetched."""
        return self._part_of(filename).store_of(filename)

    def page_documents(self) -> Sequence[ShownFile]:
        """Return what the page of the Simple API has beside the files."""
        return tuple(_documents_of(self._variant_owners).values())

    def page_files(self) -> Sequence[ShownFile]:
        """
        Return the files on the page of the Simple API, and the documents about some of them.

        Of a release with wheels with a label, those are left out that are not from the first index
        with a document about some.
        """
        owners = self._variant_owners

        def is_owned(file: UpstreamFile) -> bool:
            owner = owners.get(strip_trailing_zeros(file.version))
            return not label_of(file.filename) or owner is self._part_of(file.filename)

        return _on_page(tuple(filter(is_owned, self.listing.files)), _documents_of(owners))

    @property
    def _variant_owners(self) -> dict[str, PublicFiles]:
        """The first part that has a document about a release."""
        owners = dict[str, PublicFiles]()
        for part in self.parts:
            for release in part.page_variants:
                owners.setdefault(release, part)
        return owners

    def repeats(self) -> Repeats:
        """Return all that the parts are made from, or None if that is not known of one."""
        made_from: MadeFrom = ()
        until = inf
        for part in self.parts:
            of_part, deadline = part.repeats()
            if of_part is None:
                return None, inf
            made_from += of_part
            until = min(until, deadline)
        return tuple(dict.fromkeys(made_from)), until

    def core_metadata(self, request: Request, filename: str) -> CoreMetadata | None:
        """Return the core metadata of a file that is shown, as `PublicFiles` does."""
        return self._part_of(filename).core_metadata(request, filename)

    def require_version(self, request: Request, version: Version) -> None:
        """
        Note that a program wants one version, if the policy hides each file of it.

        Raises NotFound then, with the reason.
        """
        key = strip_trailing_zeros(str(version))
        if any(strip_trailing_zeros(file.version) == key for file in self.listing.files):
            return
        for part in self.parts:
            part.require_version(request, version)

    def response(self, request: Request, wanted: WantedFile) -> Response:
        """Return the response with a file or its core metadata, as `PublicFiles` does."""
        if wanted.filename in self.listing.places:
            return self._part_of(wanted.filename).response(request, wanted)
        if wanted.filename.endswith(VARIANTS_SUFFIX):
            part = self._variant_owners.get(release_of_variants(wanted.filename), self.parts[0])
            return part.response(request, wanted)
        for part in self.parts:
            removed = {(file.filename, file.sha256) for file in part.listing.origin.page.removed}
            if (wanted.filename, wanted.sha256) in removed:
                return part.response(request, wanted)
        return file_not_found()

    def provenance(self, request: Request, filename: str, release: str) -> FoundProvenance | None:
        """Return the provenance of a file of a release, as `PublicFiles` does."""
        if filename not in self.listing.places:
            return None
        return self._part_of(filename).provenance(request, filename, release)

    def _part_of(self, filename: str) -> PublicFiles:
        place = self.listing.places[filename]
        return next(part for part in self.parts if part.listing is place)


def public_files(
    context: IndexContext, reader: UpstreamReader, shown: tuple[UpstreamListing, ...]
) -> PublicFiles | MergedFiles:
    """Return what opens the files that the layers of an index show of a public project."""
    listing = merged_listing(shown)
    if isinstance(listing, UpstreamListing):
        return PublicFiles(context, reader, listing)
    parts = tuple(PublicFiles(context, reader, part, is_part=True) for part in listing.listings)
    return MergedFiles(parts, listing)


def _documents_of(owners: Mapping[str, PublicFiles]) -> dict[str, UpstreamFile]:
    """Return the document of each owner about its release, by version without trailing zeros."""
    return {release: part.page_variants[release] for release, part in owners.items()}


def _on_page(
    files: Sequence[UpstreamFile], variants: Mapping[str, UpstreamFile]
) -> Sequence[UpstreamFile]:
    """Return the files of a page, without wheels with a label that no document is about."""
    if not variants and not any(label_of(file.filename) for file in files):
        return files

    def is_usable(file: UpstreamFile) -> bool:
        return not label_of(file.filename) or strip_trailing_zeros(file.version) in variants

    shown = (*filter(is_usable, files), *variants.values())
    return sorted(shown, key=lambda file: file.filename)


def _to_send(file: UpstreamFile, size: int | None, *, takes_ranges: bool) -> FileToSend:
    """Return a file without its bytes."""
    return FileToSend(sha256=file.sha256, size=size, takes_ranges=takes_ranges, headers=HEADERS)
