"""The pages of a static site: which pages a site has, and how they are compared and written."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.errors import NotFound, WheelyardError
from wheelyard.exporting.site_folder import SiteLease, SiteStore
from wheelyard.rendering.listing import Listing, ShownFile
from wheelyard.rendering.project_facts import releases_of
from wheelyard.rendering.web.file_list import has_requirements_file
from wheelyard.rendering.web.home_page import PROJECTS_ON_A_PAGE
from wheelyard.rendering.web.page_numbers import page_count
from wheelyard.rendering.web.project_frame import DEPENDENCIES, FILES, HISTORY, RELEASES
from wheelyard.storage.base import Key, Store, Stored, WebType
from wheelyard.storage.filesystem import require_no_links, storage_faults, write_all
from wheelyard.storage.location import GOOGLE, BucketLocation
from wheelyard.storage.spool import Spool

if TYPE_CHECKING:
    from wheelyard.storage.gcs.store import GcsStore


INDEX: Final = "index.html"
HTML: Final = b"text/html"
SIMPLE_JSON: Final = b"application/vnd.pypi.simple.v1+json"
ANY: Final = b"*/*"
LISTS: Final = "-/projects/"
PAGE_CACHE_CONTROL: Final = "no-cache"
"""Clients revalidate each page. A bucket would otherwise cache it for an hour."""
FILE_CACHE_CONTROL: Final = "public, max-age=31536000, immutable"
FILE_TYPE: Final = WebType("application/octet-stream", FILE_CACHE_CONTROL)
METADATA_TYPE: Final = WebType("text/plain; charset=utf-8", FILE_CACHE_CONTROL)

_GZIP: Final = WebType("application/gzip", PAGE_CACHE_CONTROL)

Sizes = Mapping[Key, int]
"""The bytes of existing objects of a site."""


class Question(Struct, frozen=True):
    """A page to ask for, and where it is in a site."""

    path: str
    """The path of the request, without the slash at its beginning."""
    accept: bytes
    leaf: str = ""
    """The name of the page's file in the site, if the path is that of a folder."""

    @property
    def target(self) -> str:
        """The path of the page in the site."""
        return f"{self.path}{self.leaf}"


def project_questions(project: Listing, history: Iterable[int]) -> Iterator[Question]:
    """
    Yield the questions for the pages of a project.

    `history` has the numbers of the older pages of its history. The page of the project itself is
    the last one, as lists link to it, and it links to all others.
    """
    name = project.name
    releases = releases_of(project)
    yield Question(f"simple/{name}/", HTML, INDEX)
    yield Question(f"simple/{name}/", SIMPLE_JSON, "index.json")
    if releases:
        yield Question(f"pypi/{name}/json", ANY)
    for file in project.files:
        if file.has_provenance:
            yield Question(f"integrity/{name}/{file.version}/{file.filename}/provenance", ANY)
    for release in releases:
        folder = f"project/{name}/{release.version}/"
        if has_requirements_file(release):
            yield Question(f"{folder}requirements.txt", ANY)
        for tab in (FILES, DEPENDENCIES):
            yield Question(f"{folder}{tab}/", HTML, INDEX)
        yield Question(folder, HTML, INDEX)
    for number in history:
        yield Question(f"project/{name}/history/{number}/", HTML, INDEX)
    for tab in (HISTORY, FILES, RELEASES, DEPENDENCIES):
        yield Question(f"project/{name}/{tab}/", HTML, INDEX)
    if not project.origin.is_upstream:
        yield Question(f"project/{name}/feed.xml", ANY)
    yield Question(f"project/{name}/", HTML, INDEX)


def history_path(name: str, number: int) -> str:
    """Return the path of an older page of the history of a project in a site."""
    return f"project/{name}/history/{number}/{INDEX}"


def list_questions(projects: int) -> Iterator[Question]:
    """
    Yield the questions for the pages that any change of a project may change.

    `projects` is the number of projects in the site.
    """
    yield Question("search.json", ANY)
    yield Question("feed.xml", ANY)
    # the last page first, as each page links to the next one
    for number in range(page_count(projects, PROJECTS_ON_A_PAGE), 0, -1):
        yield Question(f"{LISTS}{number}/", HTML, INDEX)
    yield Question("simple/", HTML, INDEX)
    yield Question("simple/", SIMPLE_JSON, "index.json")
    yield Question("", HTML, INDEX)


FIXED_PAGES: Final = (Question("setup/", HTML, INDEX),)
"""The pages that depend on the options alone."""
HOST_PAGES: Final = (
    Question("favicon.ico", ANY),
    Question("robots.txt", ANY),
    Question("health", ANY),
)
"""The pages that depend on the options alone, and are at the root of the host."""


class Page(Struct, frozen=True):
    """A page to write."""

    path: str
    """
    The path of the page in the site, such as `project/demo/index.html`. `SitePlace.is_in_google`
    says when a site has the page at another path, too.
    """
    kind: WebType
    body: bytes
    is_final: bool = True
    """Whether the page is complete. It is not if a description could not be rendered."""


class SitePlace(Struct, frozen=True):
    """The destination of an export: a folder or a bucket."""

    store: SiteStore
    spool: Spool
    """The folder for scratch files."""
    dest: str
    """The folder or the bucket, as the caller names it."""
    bucket: BucketLocation | None = None
    """The bucket, or None for a folder."""

    @property
    def is_in_google(self) -> bool:
        """
        Whether the site is in a bucket of Google.

        There each `simple/index.html` is also at `simple/`. Google answers a request for `simple/`
        only with an object of that name. S3 and Azure can be configured to answer with index.html,
        and obstore cannot write a name that ends with a slash.
        """
        return self.bucket is not None and self.bucket.scheme == GOOGLE


class SiteWriter:
    """
    Writes a site while its lease is held.

    Threads may share it. A page whose bytes are the same is not written. Every method may raise
    Unavailable if the site does not answer. A method that writes raises Conflict if the lease is
    lost.
    """

    def __init__(self, place: SitePlace, lease: SiteLease, *, is_gzipped: bool) -> None:
        self.place = place
        self._lease = lease
        self._is_gzipped = is_gzipped
        self._lock = Lock()
        self.written = 0
        """The number of pages that were written, each in one or more forms."""

    def sizes(self, prefixes: Iterable[str]) -> dict[Key, int]:
        """Return the sizes of all objects below these prefixes, by their keys."""
        sizes = dict[Key, int]()
        for prefix in prefixes:
            for entry in self.place.store.list(prefix):
                sizes[entry.key] = entry.size
        return sizes

    def paths_of(self, path: str) -> Iterator[Key]:
        """Yield the key of a page, and the keys of its other forms if the site has such forms."""
        yield Key(path)
        if self._is_gzipped:
            yield Key(f"{path}.gz")
        if self.place.is_in_google and path.endswith(f"/{INDEX}"):
            yield Key(path.removesuffix(INDEX))

    def write(self, page: Page, existing: Sizes | None) -> None:
        """
        Write the forms of a page that the site lacks, or has with other bytes.

        Counts the page in `written` if a form is written. `existing` has the sizes of the objects
        in the site. Without it, each form is read from the site and compared.
        """
        is_written = False
        for key in self.paths_of(page.path):
            body = page.body
            kind = page.kind
            if key.endswith(".gz"):
                # without mtime=0, equal pages would get different bytes
                body = gzip.compress(body, mtime=0)
                kind = _GZIP
            # an object of another size differs, and need not be read
            if existing is None or existing.get(key) == len(body):
                stored = self.place.store.get(key)
                if isinstance(stored, Stored) and stored.body == body:
                    continue
            # this also renews the lease, so that it lasts longer than any one write
            self._lease.require()
            self.place.store.put(key, body, None, kind)
            is_written = True
        with self._lock:
            self.written += is_written

    def delete(self, objects: Iterable[Key]) -> None:
        """Delete objects of the site."""
        for key in objects:
            self._lease.require()
            self.place.store.delete(key)

    def copy_missing(
        self,
        listing: Listing,
        store_of: Callable[[str], Store],
        documents: Sequence[ShownFile] = (),
    ) -> list[Key]:
        """
        Copy the files and the core metadata of a project that the site lacks or has incomplete.

        `store_of` returns the store that has a file, by its filename. `documents` are further files
        to which the page of the Simple API links. Some of these are stored nowhere, and are written
        from memory.

        Returns the keys of the project's files in the site that the project does not serve. Raises
        NotFound if the store has lost a file that the project serves.
        """
        required = required_objects(listing, documents)
        existing = self.sizes([keys.files_of(listing.name)])
        for key, required_object in required.items():
            # the digest is in the key, so an object of another size is incomplete
            if key not in existing or required_object.size not in (None, existing[key]):
                self._lease.require()
                if required_object.body:
                    self.place.store.put_file(key, required_object.body, FILE_TYPE)
                else:
                    self._copy(key, store_of(required_object.filename))
        return [key for key in existing if key not in required and keys.parse_file_key(key)]

    def _copy(self, key: Key, source: Store) -> None:
        """
        Copy an object of a store into the site.

        Google copies from bucket to bucket, without this machine. obstore can only do so within one
        bucket, and the bucket of a site is another one. Raises NotFound if the store has lost the
        object.
        """
        kind = METADATA_TYPE if key.endswith(".metadata") else FILE_TYPE
        site = self.place.store
        local_path = source.path_of(key)
        source_object = source.bucket_object(key)

        # a link in the store could lead to any file of this machine, which the site would publish
        if local_path is not None:
            require_no_links(local_path)
        try:
            if self.place.is_in_google and source_object and source_object[0].scheme == GOOGLE:
                cast("GcsStore", site).copy(*source_object, key, kind)
            elif local_path is not None:
                site.put_file(key, local_path, kind)
            else:
                with self.place.spool.scratch_file() as (scratch_path, scratch_file):
                    for chunk in source.read(key):
                        with storage_faults(str(key)):
                            write_all(scratch_file.fileno(), chunk)
                    site.put_file(key, scratch_path, kind)
        except WheelyardError as fault:
            if local_path is None or local_path.exists():
                raise
            # the error of the disk would not say that the store has lost the file
            raise NotFound(f"The store holds nothing at {key}.") from fault


class RequiredObject(NamedTuple):
    """A file that pages link to, or its core metadata."""

    filename: str
    """The name of the file, also of the file to which core metadata belongs."""
    size: int | None
    """The number of bytes, or None if it is not known."""
    body: bytes = b""
    """The bytes, if no store has them, or else an empty text."""


def required_objects(
    listing: Listing, documents: Sequence[ShownFile] = ()
) -> dict[Key, RequiredObject]:
    """Return the files, core metadata and documents that pages link to, by their keys."""
    required = dict[Key, RequiredObject]()
    files = list(listing.files)
    files += documents
    for file in files:
        # only documents that are stored nowhere have a body
        body: bytes = getattr(file, "body", b"")
        key = keys.distribution(listing.name, file.sha256, file.filename)
        required[key] = RequiredObject(file.filename, file.size, body)
        if file.serves_metadata:
            metadata_key = keys.core_metadata(listing.name, file.sha256, file.filename)
            required[metadata_key] = RequiredObject(file.filename, None)
    return required
