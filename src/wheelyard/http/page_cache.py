"""Cache of rendered pages, and the current versions of the documents that they are made from."""

from asyncio import get_running_loop
from base64 import urlsafe_b64encode
from collections.abc import Callable, Hashable, Iterable
from hashlib import blake2b
from threading import Lock
from typing import Any, Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Snapshot
from wheelyard.catalog.projects import Projects
from wheelyard.concurrency.caches import LruCache
from wheelyard.http.messages import NOSNIFF, HeaderList, MadeFrom, Response
from wheelyard.http.representation import GZIP, MediaType, compressed, is_not_modified
from wheelyard.model.index_name import MAIN
from wheelyard.repository.found_project import DocumentVersion
from wheelyard.wiring.index import Index

PAGE_BYTES: Final = 1280
"""The estimated memory of a cached page, besides the bytes of its body."""

LOCK_COUNT: Final = 4096
"""All pages share so many locks. Each lock is made when a page first needs it."""

Render = Callable[[], bytes]
PageKey = tuple[Hashable, bool]
"""What a page shows, and whether its client takes gzip: both are rendered when first needed."""

Key = tuple[str, str]
"""The kind of a document that answers are made from, and which one of its kind."""
SEARCH: Final[Key] = ("search", "")
SERIALS: Final[Key] = ("serials", "")
"""The newest serials of all projects, which a list of projects shows."""
CHANGES: Final[Key] = ("changes", "")
"""The feed, with the serials on the page of a project."""
GRANTS: Final[Key] = ("grants", "")
PUBLISHERS: Final[Key] = ("publishers", "")
POLICY: Final[Key] = ("policy", "")
"""The rules and decisions about public packages."""


class CachedPage(Struct, frozen=True):
    """A page rendered from one document version, compressed or not."""

    version: str
    digest: str
    """The hash of the body before compression, for the ETag."""
    is_gzip: bool
    body: bytes
    headers: HeaderList
    responses: dict[tuple[MediaType, bool], Response] = {}
    """The responses that were made so far, by media type and whether they are 304."""

    def response(self, media_type: MediaType, *, is_known: bool) -> Response:
        """Return the response with the page (200), or 304 if `is_known` to the client."""
        response = self.responses.get((media_type, is_known))
        # two threads may both make a response: both are equal, and the last one stays
        if response is None:
            response = self._new_response(media_type, is_known=is_known)
            self.responses[media_type, is_known] = response
        return response

    def is_known(self, media_type: MediaType, if_none_match: bytes | None) -> bool:
        """Return whether If-None-Match has the ETag of the page in any encoding."""
        etag_beginning = self._etag_beginning(media_type).encode()
        return is_not_modified(if_none_match, etag_beginning)

    def _etag_beginning(self, media_type: MediaType) -> str:
        """Return what the ETags of the page in all encodings begin with."""
        return f'"{self.digest}-{media_type.value.etag_letter}'

    def _new_response(self, media_type: MediaType, *, is_known: bool) -> Response:
        """Return a new response with the page, or the response 304 if `is_known`."""
        # RFC 9110, 8.8.3: bytes in another encoding are another representation, with its own ETag
        encoding_letter = "g" if self.is_gzip else "i"
        etag = f'{self._etag_beginning(media_type)}{encoding_letter}"'.encode()
        common_headers = ((b"etag", etag), NOSNIFF, *self.headers)
        if is_known:
            return Response(304, common_headers)
        body_headers = [
            (b"content-type", media_type.value.content_type),
            (b"content-length", b"%d" % len(self.body)),
        ]
        if self.is_gzip:
            body_headers.append(GZIP)
        return Response(200, tuple(body_headers) + common_headers, self.body)


class PageCache:
    """Rendered pages by key, in a cache that limits the memory they may take."""

    def __init__(self, cache: LruCache[PageKey, CachedPage]) -> None:
        self._pages = cache
        self._locks = dict[int, Lock]()
        """Locks by number. One is held while a page is rendered, so that it is rendered once."""

    def get(self, key: PageKey, version: str, headers: HeaderList) -> CachedPage | None:
        """
        Return the page cached under `key`, or None unless it has this document version.

        The page must have the same headers, too: which caches may keep it can change without a
        change of the document.
        """
        page = self._pages.get(key)
        if page is None or page.version != version or page.headers != headers:
            return None
        return page

    def get_or_render(
        self, key: PageKey, version: str, render: Render, headers: HeaderList
    ) -> CachedPage:
        """
        Return the page of `key` and `version`, from the cache or else rendered.

        A thread waits here while another one renders the same page. Raises what `render` raises.
        """
        page = self.get(key, version, headers)
        if page is not None:
            return page
        # `render` must not need another page of this cache: two pages may share one lock
        lock = self._locks.setdefault(hash(key) % LOCK_COUNT, Lock())
        with lock:
            page = self.get(key, version, headers)  # another thread may have rendered it meanwhile
            if page is None:
                _, takes_gzip = key
                page = _render_page(version, render, headers, takes_gzip=takes_gzip)
                self._pages.put(key, page, PAGE_BYTES + len(page.body))
            return page


def _render_page(
    version: str, render: Render, headers: HeaderList, *, takes_gzip: bool
) -> CachedPage:
    """Return a page that is rendered now, in gzip if that is taken, and the page is not small."""
    body = render()
    body_hash = blake2b(body, digest_size=15).digest()
    digest = urlsafe_b64encode(body_hash).decode()
    compressed_body = compressed(body) if takes_gzip else None
    if compressed_body is not None:
        return CachedPage(version, digest, is_gzip=True, body=compressed_body, headers=headers)
    # a copy, as the bytes that msgspec returns keep more memory than they need
    body_copy = bytes(memoryview(body))
    return CachedPage(version, digest, is_gzip=False, body=body_copy, headers=headers)


def project_key(name: NormalizedName, index: str = MAIN) -> Key:
    """Return the key of the document of a project of an index."""
    if index == MAIN:
        return ("project", name)
    return ("project", f"{index}/{name}")


def names_key(index: str) -> Key:
    """Return the key of the list of the projects of an index."""
    return ("names", index)


def cache_keys(documents: Iterable[DocumentVersion], name: str = "") -> MadeFrom:
    """Return the keys of documents with their versions. `name` is the project of all of them."""
    return tuple((_document_key(document, name), document.version) for document in documents)


def _document_key(document: DocumentVersion, name: str) -> Key:
    """Return the key of a document. `name` is the project that a project's document is of."""
    match document.kind:
        case "project":
            return project_key(NormalizedName(name), document.index)
        case "names":
            return names_key(document.index)
        case "table":
            return SEARCH


def upstream_page_key(name: NormalizedName, upstream: str = "") -> Key:
    """
    Return the key of the page of a public project.

    `upstream` is the id of the upstream index that has the page, if several have the project.
    """
    return ("upstream page", f"{name} {upstream}".rstrip())


class CurrentVersions:
    """
    Returns the current versions of documents: of a local store by system calls, else from memory.

    A system call lets the other threads run, which costs far more than the call itself. So all
    requests that the event loop begins to answer in one turn share the call: they came before it.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._name = index.name
        self._own_projects = index.projects
        self._versions_of_turn = dict[Key, str | None]()
        """The versions that were looked up in this turn of the event loop."""

    def __call__(self, key: Key) -> str | None:
        """
        Return the version that a key has now, or None if it is not known.

        Raises Unavailable if the store does not answer.
        """
        # only the event loop calls this, so it needs no lock
        versions = self._versions_of_turn
        if not versions:
            get_running_loop().call_soon(versions.clear)
        if key not in versions:
            kind, text = key
            # most keys are of projects: no further call for these
            if kind == "project":
                versions[key] = self._project_version(text)
            else:
                versions[key] = self._other_version(key)
        return versions[key]

    def _other_version(self, key: Key) -> str | None:
        """Return the version of a key of no project's document, or None if it is not known."""
        index = self._index
        kind, text = key
        snapshot: Snapshot[Any] | None = None
        if kind == "names":
            projects = self._projects_of(text)
            if projects is not None:
                snapshot = projects.names.peek()
        elif key == SERIALS:
            serials = index.serials.peek()
            return None if serials is None else str(serials.generation)
        elif key == CHANGES:
            # on a bucket, another server may have listed a newer serial
            snapshot = index.changes.documents.peek(keys.CHANGES, "current")
        elif key == GRANTS:
            snapshot = index.server.access.records.peek()
        elif key == PUBLISHERS:
            snapshot = index.catalog.publisher_records.peek()
        elif key == SEARCH:
            return self._table_version()
        else:
            return self._upstream_version(key)
        return None if snapshot is None else snapshot.version

    def _project_version(self, text: str) -> str | None:
        """Return the version of a project's document, or None. `text` is as in `project_key`."""
        index_name, _, project = text.rpartition("/")
        if not index_name:
            index_name = MAIN
        # no call for this index, which most pages are about: each remembered page comes here
        projects: Projects | None = self._own_projects
        if index_name != self._name:
            projects = self._projects_of(index_name)
        if projects is None:
            return None
        snapshot = projects.documents.peek(keys.project(NormalizedName(project)))
        return None if snapshot is None else snapshot.version

    def _table_version(self) -> str | None:
        """Return the version of the search table, or None if it is not in memory."""
        repository = self._index.peek_repository()
        if repository is None:
            return None
        table = repository.shown_projects.peek()
        if table is None:
            return None
        return str(table.generation)

    def _projects_of(self, name: str) -> Projects | None:
        """
        Return the packages of an index that pages tell of, or None if they are not in memory.

        The index is a layer that this index shows, or one that pages lead to.
        """
        if name == self._name:
            return self._own_projects
        repository = self._index.peek_repository()
        if repository is not None:
            layer = repository.own_by_name.get(name)
            if layer is not None:
                return layer.projects
        built_index = self._index.server.indexes.built_as(name)
        if built_index is None:
            return None
        return built_index.projects

    def _upstream_version(self, key: Key) -> str | None:
        """
        Return the version of the policy, or of the page of a public project.

        None if there is no upstream index, or the page is not in memory.
        """
        upstream = self._index.upstream
        if upstream is None:
            return None
        if key == POLICY:
            return upstream.policy.generation
        _, text = key
        name, _, upstream_id = text.partition(" ")
        if upstream_id:
            return upstream.pages.version_in_memory_of(upstream_id, NormalizedName(name))
        return upstream.pages.version_in_memory(NormalizedName(name))
