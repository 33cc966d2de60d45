"""What request handlers get: the parts of a process, and the parts of the index of a request."""

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.authentication.authorization import ReadPolicy, project_not_found
from wheelyard.catalog.files import CoreMetadataCache
from wheelyard.catalog.projects import ProjectNames
from wheelyard.concurrency.caches import LruCache
from wheelyard.errors import Forbidden
from wheelyard.http.file_delivery import FileDelivery
from wheelyard.http.logs import StoreErrorLog
from wheelyard.http.messages import MadeFrom, Request
from wheelyard.http.page_cache import PageCache
from wheelyard.http.work_limits import ConcurrencyLimit, ThreadPools
from wheelyard.model.access import Caller
from wheelyard.model.project import Project
from wheelyard.operations.check_store import Reason
from wheelyard.operations.descriptions.descriptions import Descriptions
from wheelyard.operations.documentation import Documentation
from wheelyard.operations.index_definitions import KnownIndexes
from wheelyard.storage.base import ObjectVersion
from wheelyard.wiring.index import Index
from wheelyard.wiring.server import Server

if TYPE_CHECKING:
    from wheelyard.downloads.reading import Downloads
    from wheelyard.http.other_indexes import ReadableIndex
    from wheelyard.http.request_authentication import RequestAuthenticator
    from wheelyard.http.upstream_reader import UpstreamReader
    from wheelyard.http.web_pages import WebPages

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StaticSite(Struct, frozen=True, kw_only=True):
    """How pages for a static site differ from those of a server."""

    caller: Caller
    """The caller of every request: nobody who is signed in, with the right to read everything."""
    names: ProjectNames
    """The names of the projects that the site has."""
    indexes: tuple[str, ...]
    """The names of the indexes that have a folder in the site, also if they are not served now."""
    files_url: str
    """The absolute URL of a folder with the files, or an empty text if the site has them."""


class ProcessContext(Struct, frozen=True, kw_only=True):
    """The parts of a running process that request handlers share for all indexes."""

    server: Server[Index]
    """The store with all of its indexes."""
    pools: ThreadPools
    descriptions: Descriptions
    documentation: Documentation
    file_delivery: FileDelivery
    core_metadata: CoreMetadataCache
    password_limit: ConcurrencyLimit
    """Limits the hashing of unknown passwords to one less than there are threads."""
    known_password_limit: ConcurrencyLimit
    """Limits the hashing of passwords that were correct lately, which may use every thread."""
    long_read_limit: ConcurrencyLimit
    store_errors: StoreErrorLog
    site: StaticSite | None
    """The static site that pages are made for, or None for a server."""
    write_failure: Reason
    """Returns why no write to the store has succeeded since the start, or an empty text."""

    @property
    def counts_downloads(self) -> bool:
        """Whether downloads are counted. No static site counts them."""
        return self.site is None and self.server.settings.downloads.count

    def close(self) -> None:
        """Stop all threads and processes that make answers."""
        self.pools.close()
        self.descriptions.close()
        self.documentation.close()


class IndexContext(Struct, frozen=True, kw_only=True):
    """What request handlers need of one index, or of an index at the end of a day."""

    process: ProcessContext
    """What all indexes of the process share."""
    index: Index
    known_indexes: KnownIndexes
    """All indexes of the store when this context was made. Each change of them needs a new one."""
    upstream: "UpstreamReader | None"
    """Reads pages of upstream indexes, or None without an upstream index."""
    read_policy: ReadPolicy
    pages: PageCache
    page_memory: LruCache[Any, Any]
    """The memory that pages share with the requests that the fast path remembers."""
    downloads: "Downloads | None"
    """The counts of downloads, or None if they are not counted, as for a static site."""
    files_from_page: str
    """The URL of the folder of files, relative to a project's page or absolute."""
    provenance_root: str
    """
    The URL below which the provenance of files is, or an empty text if pages name no provenance.

    PEP 740 asks for an absolute URL, which is https here.
    """

    @property
    def files_from_root(self) -> str:
        """The URL of the folder of files, absolute or from the root of the host."""
        site = self.process.site
        if site is not None and site.files_url:
            return site.files_url
        return f"{self._root}/files"

    @property
    def packages_from_root(self) -> str:
        """The URL of the folder of files under the name it has at PyPI, as bandersnatch wants."""
        return f"{self._root}/packages"

    @property
    def _root(self) -> str:
        """The URL of the index, absolute or from the root of the host, without its last slash."""
        server = self.index.settings.server
        return server.public_url.rstrip("/") or server.public_path

    def read_only_error(self) -> Forbidden:
        """Return the error of a change, on a read-only server or in the view of a day."""
        if self.index.definition.day is not None:
            # uv prints the first sentence alone
            path = self.index.settings.server.public_path.rpartition("/")[0]
            message = (
                "This is the view of a day, which takes no uploads and no changes: upload to "
                f"{path}/legacy/, and change things below {path}/."
            )
        else:
            message = (
                "This server takes no uploads and no changes. Use another server of the same index."
            )
        return Forbidden(message, code="read_only")

    def require_project(self, name: NormalizedName) -> tuple[Project, ObjectVersion]:
        """
        Return a project among the index's own packages, and the version of its document.

        The document may be read from the store. Raises NotFound if there is no such project. Raises
        Unavailable if the store does not answer, or the document is damaged.
        """
        snapshot = self.index.projects.load(name)
        if snapshot.value is None:
            raise project_not_found(name)
        return snapshot.value, snapshot.version


class IndexRequest(Request):
    """
    A request for an index. Handlers are made once for all indexes, and know the index by it.

    `IndexApp` makes the requests, and sets all attributes that have no value here.
    """

    context: IndexContext
    """The parts of the index."""
    web: "WebPages"
    """The pages of the index for people."""
    authenticator: "RequestAuthenticator"
    """Says who has sent a form or a cookie, as it does for the headers of all requests."""
    readable_indexes: "tuple[ReadableIndex, ...] | None" = None
    """The indexes that the caller may read, or None before these were looked up."""
    made_from_elsewhere: MadeFrom | None = ()
    """What the page was made from in other indexes, or None if that is not known."""

    def ask_upstream(self, key: Hashable, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """
        Return the result of `work(*args)`, which may ask an upstream index for any name.

        With an upstream index, no thread of the handlers waits for the work: raises Waiting, with
        `key`, until it is done. Raises Unavailable if the client has asked for too many unknown
        names (code `rate_limited`), or too many requests wait (code `overloaded`). Raises what the
        work raises.
        """
        upstream = self.context.upstream
        if upstream is None:
            return work(*args)
        return self.wait(key, upstream.answer, self.client_key, work, *args)
