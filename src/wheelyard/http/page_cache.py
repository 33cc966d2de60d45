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

LOCKS: Final = 4096
"""Pages share so many locks, of which each is made when it is first needed."""

Render = Callable[[], bytes]
PageKey = tuple[Hashable, bool]
"""What a page shows, and whether in gzip: each of both is made when it is first asked for."""

Key = tuple[str, str]
SEARCH: Final[Key] = ("search", "")
SERIALS: Final[Key] = ("serials", "")
"""The newest serials of all projects, in a list of them."""
CHANGES: Final[Key] = ("changes", "")
"""The feed, with the serials on the page of a project."""
GRANTS: Final[Key] = ("grants", "")
PUBLISHERS: Final[Key] = ("publishers", "")
POLICY: Final[Key] = ("policy", "")
"""The rules and decisions about public packages."""


class CachedPage(Struct, frozen=True):
    """A page rendered from one document version, as it is or in gzip."""

    version: str
    digest: str
    """The hash of the body before compression, for the ETag."""
    is_gzip: bool
    body: bytes
    headers: HeaderList
    responses: dict[tuple[MediaType, bool], Response] = {}
    """The responses that were asked for, by media type and whether they are 304."""

    def response(self, media_type: MediaType, *, is_known: bool) -> Response:
        """Return the page (200), or 304 if the client `is_known` to have it."""
        response = self.responses.get((media_type, is_known))
        # two threads may both make one: they are equal, and the last one stays
        if response is None:
            response = self._response(media_type, is_known=is_known)
            self.responses[media_type, is_known] = response
        return response

    def is_known(self, media_type: MediaType, if_none_match: bytes | None) -> bool:
        """Return whether If-None-Match has the ETag of the page in any encoding."""
        # an ETag of any encoding matches: media type and body are equal
        return is_not_modified(if_none_match, self._etag_prefix(media_type).encode())

    def _etag_prefix(self, media_type: MediaType) -> str:
        return f'"{self.digest}-{media_type.value.etag_letter}'

    def _response(self, media_type: MediaType, *, is_known: bool) -> Response:
        """Return a new response with the page, or a 304."""
        # RFC 9110, 8.8.3: bytes in another encoding are another representation, with its own ETag
        encoding_letter = "g" if self.is_gzip else "i"
        etag = f'{self._etag_prefix(media_type)}{encoding_letter}"'.encode()
        common = ((b"etag", etag), NOSNIFF, *self.headers)
        if is_known:
            return Response(304, common)
        headers = [
            (b"content-type", media_type.value.content_type),
            (b"content-length", b"%d" % len(self.body)),
        ]
        if self.is_gzip:
            headers.append(GZIP)
        return Response(200, tuple(headers) + common, self.body)


class PageCache:
    """Rendered pages by key, in a cache that limits the memory they may take."""

    def __init__(self, cache: LruCache[PageKey, CachedPage]) -> None:
        self._pages = cache
        self._locks = dict[int, Lock]()
        """Held while a page is rendered, so that each is rendered once, and shared by pages."""

    def get(self, key: PageKey, version: str, headers: HeaderList) -> CachedPage | None:
        """
        Return the page cached under `key`, or None if there is none of this document version.

        Its headers have to be these as well: which caches may keep it can change without it.
        """
        page = self._pages.get(key)
        if page is None or page.version != version or page.headers != headers:
            return None
        return page

    def get_or_render(
        self, key: PageKey, version: str, render: Render, headers: HeaderList
    ) -> CachedPage:
        """
        Return the page of `key` and `version`, which is rendered unless it is cached so.

        Raises what `render` raises. A thread waits here while another one renders the same page.
        """
        page = self.get(key, version, headers)
        if page is not None:
            return page
        # `render` must not take another of these locks: two pages may share one
        with self._locks.setdefault(hash(key) % LOCKS, Lock()):
            page = self.get(key, version, headers)  # another thread may have rendered it meanwhile
            if page is None:
                page = _render_page(version, render, headers, takes_gzip=key[1])
                self._pages.put(key, page, PAGE_BYTES + len(page.body))
            return page


def _render_page(
    version: str, render: Render, headers: HeaderList, *, takes_gzip: bool
) -> CachedPage:
    """Return a page as it is rendered now, in gzip if that is taken, and worth it."""
    body = render()
    digest = urlsafe_b64encode(blake2b(body, digest_size=15).digest()).decode()
    packed = compressed(body) if takes_gzip else None
    if packed is not None:
        return CachedPage(version, digest, is_gzip=True, body=packed, headers=headers)
    # msgspec's bytes keep more memory than others
    copied = bytes(memoryview(body))
    return CachedPage(version, digest, is_gzip=False, body=copied, headers=headers)


def project_key(name: NormalizedName, index: str = MAIN) -> Key:
    """Return the key of a project's document, which may be that of another index."""
    if index == MAIN:
        return ("project", name)
    return ("project", f"{index}/{name}")


def names_key(index: str) -> Key:
    """Return the key of the list of the projects of an index."""
    return ("names", index)


def cache_keys(documents: Iterable[DocumentVersion], name: str = "") -> MadeFrom:
    """Return the keys of documents with their versions. Those of projects are of this name."""
    return tuple((_key_of(document, name), document.version) for document in documents)


def _key_of(document: DocumentVersion, name: str) -> Key:
    """Return the key of a document. That of a project is of this name."""
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

    `upstream` is the id of its index if others have pages of the project as well.
    """
    return ("upstream page", f"{name} {upstream}".rstrip())


class CurrentVersions:
    """
    Returns versions by a few system calls on a local store, from memory on a remote one.

    A system call lets the other threads run, which costs far more than the call itself. So all
    requests that the event loop begins to answer in one turn share it: they came before it.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._name = index.name
        self._own = index.projects
        self._of_this_turn = dict[Key, str | None]()

    def __call__(self, key: Key) -> str | None:
        """
        Return the version of a key now, or None if it is not known.

        Raises Unavailable if the store does not answer.
        """
        # only the event loop calls this, so it needs no lock
        versions = self._of_this_turn
        if not versions:
            get_running_loop().call_soon(versions.clear)
        if key not in versions:
            (kind, text) = key
            # most are those of projects: they take no further call
            if kind == "project":
                versions[key] = self._project_version(text)
            else:
                versions[key] = self._version(key)
        return versions[key]

    def _version(self, key: Key) -> str | None:
        """Return the version of a key that is of no project, or None if it is not known."""
        index = self._index
        (kind, text) = key
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
        """Return the version of a project's document, or None if it is not known."""
        index_name, _, project = text.rpartition("/")
        if not index_name:
            index_name = MAIN
        # most projects are own ones, and each remembered page comes here
        projects: Projects | None = self._own
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
        Return the packages of an index that pages tell of, or None if that is not known.

        That is one which this index shows, or whose own pages they lead to.
        """
        if name == self._name:
            return self._own
        repository = self._index.peek_repository()
        if repository is not None:
            own = repository.own_by_name.get(name)
            if own is not None:
                return own.projects
        built = self._index.server.indexes.built_as(name)
        if built is None:
            return None
        return built.projects

    def _upstream_version(self, key: Key) -> str | None:
        """Return the version of the policy, or of the page of a public project in memory."""
        upstream = self._index.upstream
        if upstream is None:
            return None
        if key == POLICY:
            return upstream.policy.generation
        name, _, upstream_id = key[1].partition(" ")
        if upstream_id:
            return upstream.pages.version_in_memory_of(upstream_id, NormalizedName(name))
        return upstream.pages.version_in_memory(NormalizedName(name))
