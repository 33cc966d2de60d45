"""
A static site in a folder, and the manifest of what it has.

An export writes a site only while it holds the lease, a field of the manifest that is taken,
renewed and given back by compare-and-swap. An export that finds a lease which has ended, or which
an interrupted export has left, makes every page again.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from threading import Lock
from typing import Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder, encode
from msgspec.structs import replace
from packaging.utils import NormalizedName

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Conflict, Invalid, Unavailable
from wheelyard.model.decoding import escaped
from wheelyard.rendering.project_facts import ProjectFacts
from wheelyard.storage.base import (
    ABSENT,
    Entry,
    FileBody,
    Found,
    Key,
    ObjectVersion,
    Store,
    Stored,
    WebType,
    conflict_message,
)
from wheelyard.storage.filesystem import (
    link_error,
    open_no_follow,
    require_no_links,
    storage_faults,
    walk_no_follow,
    write_all,
)

BAD_DESTINATION: Final = "bad_destination"
"""The error code for a destination that cannot be written as it is."""
EXPORT_PREFIX: Final = "wheelyard-export/"
"""The folder of the manifest, which marks a site as one that an export has made."""
MANIFEST_PATH: Final = Key(f"{EXPORT_PREFIX}manifest.json")
FORMAT: Final = 3
"""
The format of the manifest. Of a manifest of another format, only the options and the pages of the
site's owner are read.
"""
LEASE_SECONDS: Final = 30.0
"""How long a lease is valid. So long another export waits for an export that was killed."""
RENEWAL_SECONDS: Final = 10.0
"""The age from which a lease is renewed before the next write."""
POLL_SECONDS: Final = 0.5
"""The pause between two looks at a lease that another export holds."""
PAGE_SOURCES: Final = ("exporting", "http/handlers", "operations/descriptions", "rendering")
"""The folders of wheelyard whose files decide what pages look like."""

COMMON_PATHS: Final = ("404.html", "favicon.ico", "robots.txt", "health")
"""Pages that the owner of a web server may have, too. Pages of the owner are left as they are."""

_JSON: Final = WebType("application/json", "no-cache")

PARTS: Final = "wheelyard-export"
"""The folder of incomplete files, and of the manifest."""
PART_PREFIX: Final = ".part-"
"""The beginning of the name of an incomplete file."""
_FORMER_FOLDERS: Final = (".spool", ".locks")
"""Folders of a site that earlier versions needed."""
_NEW_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SiteFolder:
    """
    The objects of a site in a folder. A missing folder is made.

    It follows no links, and syncs nothing to the disk: an export that was cut off is made again.
    The version of an object is a digest of its bytes. The constructor raises Unavailable if nothing
    can be written to the folder. Every method may raise Unavailable.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._parts_folder = self._root / PARTS
        self._made_folders = set[Path]()
        """Folders that exist, and have no link on the way to them."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            if not os.access(self._root, os.W_OK | os.X_OK):
                raise PermissionError(13, os.strerror(13))
        except OSError as error:
            raise Unavailable(
                f"No site can be written to {root}: {error.strerror}. Choose another folder, or "
                "make this one writable."
            ) from error

    def remove_leftovers(self, prefixes: Iterable[str]) -> None:
        """
        Remove incomplete files of killed exports, and folders that earlier versions needed.

        Below `prefixes`, empty folders are removed, too.
        """
        with suppress(OSError):
            for path in self._parts_folder.glob(f"{PART_PREFIX}*"):
                path.unlink(missing_ok=True)
        for prefix in prefixes:
            top = self._root / prefix
            # a link may lead out of the site
            if top.is_symlink():
                continue
            for folder, _, _ in os.walk(top, topdown=False):
                # OSError: the folder is not empty
                with suppress(OSError):
                    os.rmdir(folder)  # noqa: PTH106 - hot
        for name in _FORMER_FOLDERS:
            rmtree(self._root / name, ignore_errors=True)

    def get(self, key: Key) -> Found:
        """Return a file of the site, or None if the site has no such file."""
        missing_ignored = suppress(FileNotFoundError, NotADirectoryError)
        with storage_faults(f"{key} of the site"), missing_ignored:
            with open(self._path(key), "rb", buffering=0, opener=open_no_follow) as file:
                body = file.read()
            return Stored(body, _version_of(body))
        return None

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """
        Write a file of the site.

        `expect` is the version that the file has to have, ABSENT if there must be no file, or None
        if its version does not matter. Returns the new version, or ABSENT if `expect` is None.
        `kind` has no effect. Raises Conflict if the file has another version than `expect`.
        """
        del kind
        self._write(key, body, expect)
        # a digest takes time, and a caller that expects no version needs none
        if expect is None:
            return ABSENT
        return _version_of(body)

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """Write a file of the site, whatever was there before."""
        del kind
        self._write(key, body, None)

    def _write(self, key: Key, body: FileBody, expect: ObjectVersion | None) -> None:
        """Write a file of the site, so that nobody reads a part of it."""
        target = self._path(key)
        with storage_faults(f"{key} of the site"):
            self._make_folder(self._parts_folder)
            self._make_folder(target.parent)
            if os.path.islink(target):  # noqa: PTH114 - hot
                raise link_error(str(target))
            part = f"{self._parts_folder}/{PART_PREFIX}{os.getpid()}-{token_hex(8)}"
            try:
                with FileIO(os.open(part, _NEW_FILE_FLAGS, 0o666), "w") as file:
                    write_all(file.fileno(), body)
                # a web server reads the old file or the new file, and never a part
                with self._locked(key, expect):
                    os.replace(part, target)  # noqa: PTH105 - hot
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise

    def delete(self, key: Key) -> None:
        """Delete a file, if the site has it, and the folders above it that are empty then."""
        path = self._path(key)
        with storage_faults(f"{key} of the site"):
            require_no_links(path.parent)
            path.unlink(missing_ok=True)
        # OSError: a folder that is not empty
        with suppress(OSError):
            folder = path.parent
            while folder != self._root:
                folder.rmdir()
                self._made_folders.discard(folder)
                folder = folder.parent

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield the files of the site below a prefix. The entries have no version."""
        with storage_faults("a folder of the site"):
            for path, status in walk_no_follow(str(self._root), prefix):
                yield Entry(Key(path), status.st_size, status.st_mtime)

    def inner_sites(self) -> Iterator[str]:
        """Yield the names of the folders that have a manifest. No links are followed."""
        with storage_faults("a folder of the site"):
            for path in self._root.glob(f"*/{MANIFEST_PATH}"):
                has_no_link = path.resolve() == path
                if has_no_link:
                    folder_of_site = path.parents[1]
                    yield folder_of_site.name

    def _path(self, key: Key) -> Path:
        return self._root / key

    def _make_folder(self, folder: Path) -> None:
        """Make a folder of the site, and those above it. Raises an OSError for a link."""
        if folder in self._made_folders:
            return
        if folder != self._root:
            self._make_folder(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()
            # after the `mkdir`, as somebody may have put a link there just before
            if folder.is_symlink():
                raise link_error(str(folder))
        self._made_folders.add(folder)

    @contextmanager
    def _locked(self, key: Key, expect: ObjectVersion | None) -> Iterator[None]:
        """
        Keep other exports from replacing a file while it has the expected version.

        Does nothing if `expect` is None. Raises Conflict if the file has another version.
        """
        if expect is None:
            yield
            return
        # a lock on the folder, which stays, and not on the file, which is replaced
        descriptor = os.open(self._parts_folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flock(descriptor, LOCK_EX)
            stored = self.get(key)
            current_version = stored.version if isinstance(stored, Stored) else ABSENT
            if current_version != expect:
                raise Conflict(conflict_message(key))
            yield
        finally:
            os.close(descriptor)


def _version_of(body: bytes) -> ObjectVersion:
    return ObjectVersion(blake2b(body, digest_size=16).hexdigest())


SiteStore = Store | SiteFolder
"""The place of a site. A folder has the methods of a store that an export needs."""


class Options(Struct, frozen=True, kw_only=True):
    """How a site is made: its URL, where its files are, compression, and the store."""

    base_url: str = ""
    """The public URL of the site, without a slash at the end, or empty if unknown."""
    files_url: str = ""
    """
    The URL of files, which are at `<files_url>/<project>/<sha256>/<filename>`. Empty if the site
    has copies of them.
    """
    is_gzipped: bool = False
    """Whether each page is also written compressed, as `.gz`."""
    store: str = ""
    """32 hexadecimal digits that identify the store without showing its location, or empty."""
    brand: str = ""
    """The fingerprint of the brand on all pages."""
    has_public: bool = False
    """Whether the site has packages of upstream indexes."""


class RequestedOptions(Struct, frozen=True, kw_only=True):
    """The options that the operator gave. None is for an option as the last export had it."""

    base_url: str | None = None
    files_url: str | None = None
    """The URL of files, or empty if the site has copies of them."""
    is_gzipped: bool | None = None

    def merged_with(self, previous: Options | None, new: Options, site: str) -> Options:
        """
        Return the options of an export, with those of the last export where none is requested.

        `previous` are the options of the last export, or None for a new site. `new` are the options
        of a new site of the index, and `site` is the location of the site. Raises Invalid (code
        `bad_destination`) if the last export was of another store or index.
        """
        options_before = previous or new
        is_other_store = options_before.store != new.store
        # earlier versions did not write the store into the manifest
        if new.store and options_before.store and is_other_store:
            raise Invalid(
                f"The site {escaped(site)} was made from another store or index. Choose another "
                "place; or, if it is the same and has moved, remove "
                f"{escaped(site.rstrip('/'))}/{MANIFEST_PATH}, and export with --all.",
                code=BAD_DESTINATION,
            )
        base_url = options_before.base_url
        if self.base_url is not None:
            base_url = self.base_url
        files_url = options_before.files_url
        if self.files_url is not None:
            files_url = self.files_url
        is_gzipped = options_before.is_gzipped
        if self.is_gzipped is not None:
            is_gzipped = self.is_gzipped
        return replace(
            new,
            base_url=base_url,
            files_url=files_url,
            is_gzipped=is_gzipped,
            store=new.store or options_before.store,
            # a server at `files_url` has the files of private projects alone
            has_public=new.has_public and not files_url,
        )


class ManifestEntry(Struct, frozen=True, array_like=True, gc=False):
    """An exported project."""

    facts: ProjectFacts
    """
    The facts of the project without `text`, which only a search needs, and without `document` if
    the next export has to read the project again.
    """
    mentioned: str = ""
    """
    The names of projects that older releases require, but not the latest release, with a blank
    between two.
    """

    @property
    def linked_names(self) -> frozenset[NormalizedName]:
        """The names of all projects to which pages of this one link, if the site has them."""
        mentioned_names = map(NormalizedName, self.mentioned.split())
        return frozenset(self.facts.required_names).union(mentioned_names)


class Lease(Struct, frozen=True):
    """The right of one export to write the site."""

    holder: str
    ends: float
    """The end of the lease in seconds since the epoch, or 0 if its export was interrupted."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What an export knows of a site, stored as JSON in the site."""

    options: Options = Options()
    format: int = 0
    """
    The format of the manifest: `FORMAT`, 1 if the manifest was damaged or of another format, or 0
    if there was no manifest.
    """
    generator: str = ""
    """What `page_generator` returned for the export that made the pages."""
    lease: Lease | None = None
    """None if the last export was complete, so that all pages are as this manifest says."""
    foreign: tuple[str, ...] | None = None
    """
    The paths among `COMMON_PATHS` of which the page is the owner's, or None if that is not known.
    """
    serial: int = 0
    """The serial up to which the site has all changes, but for facts without `document`."""
    has_copies: bool = True
    """Whether the site may have copies of files, perhaps of an interrupted export."""
    indexes: tuple[str, ...] = ()
    """The names of the indexes that have a folder in the site, sorted."""
    projects: tuple[ManifestEntry, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all pages of the site are as this manifest says, and made by this version."""
        if self.format != FORMAT or self.lease is not None:
            return False
        return self.generator == page_generator()


class _OtherManifest(Struct, frozen=True):
    """The fields that are read of a manifest of another format."""

    options: Options
    foreign: tuple[str, ...] | None = None
    has_copies: bool | None = None
    """
    None if the manifest has no such field. Then files in a site with a URL for files are the
    owner's.
    """
    lists: dict[str, str] | None = None
    """
    In a format without leases, the pages that exports have made outside of projects. None in later
    formats.
    """


def _decode_manifest(body: bytes) -> Manifest:
    """Return a stored manifest. One that is damaged or of another format has few of its fields."""
    with suppress(DecodeError, ValidationError, UnicodeDecodeError):
        manifest = Decoder(Manifest).decode(body)
        if manifest.format == FORMAT:
            return manifest
    with suppress(DecodeError, ValidationError, UnicodeDecodeError):
        other = Decoder(_OtherManifest).decode(body)
        foreign = other.foreign
        has_copies = other.has_copies
        if other.lists is not None:
            foreign = tuple(path for path in COMMON_PATHS if path not in other.lists)
        if has_copies is None:
            has_copies = not other.options.files_url
        return Manifest(options=other.options, format=1, foreign=foreign, has_copies=has_copies)
    return Manifest(format=1)


def read_manifest(site: SiteStore, folder: str = "") -> tuple[Manifest, ObjectVersion]:
    """
    Return the manifest of a site, or of the site in one of its folders, and the version of it.

    `folder` is empty or ends with a slash. If there is no manifest, returns an empty manifest with
    the `format` 0, and the version ABSENT. A manifest that is damaged, or of another format, has
    few of its fields. Raises Unavailable if the site does not answer.
    """
    stored = site.get(Key(folder + MANIFEST_PATH))
    if not isinstance(stored, Stored):
        return Manifest(has_copies=False), ABSENT
    return _decode_manifest(stored.body), stored.version


class SiteLease:
    """
    The manifest of a site, and the right to write the site.

    Threads may share it. `on_wait` is called once if another export holds the lease. Every method
    may raise Unavailable if the site does not answer, and so may the constructor.
    """

    def __init__(self, site: SiteStore, runtime: Runtime, on_wait: Callable[[], None]) -> None:
        self._site = site
        self._runtime = runtime
        self._on_wait = on_wait
        self._holder = runtime.new_id()
        self._lock = Lock()
        self._manifest, self._version = read_manifest(self._site)
        self._renew_at = 0.0

    @property
    def options(self) -> Options | None:
        """
        The options of the site's last export, or None if the site has no manifest.

        If the manifest is damaged, they are the default options.
        """
        if not self._manifest.format:
            return None
        return self._manifest.options

    def wait(self, *, replaces_others: bool) -> Manifest:
        """
        Wait until no other export writes the site, and return the manifest, for `take`.

        `foreign` of the manifest has the pages of the site's owner, or no pages if this export
        `replaces_others`. A lease ends at the time that it says, or if it was not renewed for
        `LEASE_SECONDS` by the clock of this machine.
        """
        # by this machine's own clock, as the clock of the other export may be wrong
        changed_at = self._runtime.monotonic()
        was_called = False
        while self._is_held(changed_at):
            if not was_called:
                self._on_wait()
            was_called = True
            self._runtime.pause(POLL_SECONDS)
            if self.reload():
                changed_at = self._runtime.monotonic()
        foreign_paths = self._manifest.foreign
        if replaces_others:
            foreign_paths = ()
        elif foreign_paths is None:
            foreign_paths = self._find_foreign_pages()
        return replace(self._manifest, foreign=foreign_paths)

    def take(self, before: Manifest, options: Options) -> None:
        """
        Take the lease, if the site still has the manifest that `wait` has returned, `before`.

        The manifest gets the options at the same time, and keeps them if the export is interrupted.
        Raises Conflict if the site has another manifest by now. Then `reload` has to be called.
        """
        has_copies = before.has_copies or not options.files_url
        self._manifest = replace(before, format=FORMAT, options=options, has_copies=has_copies)
        self._put_lease(LEASE_SECONDS)

    def require(self) -> None:
        """
        Renew the lease if it is older than `RENEWAL_SECONDS`.

        Raises Conflict if another export has taken the lease.
        """
        if self._runtime.monotonic() >= self._renew_at:
            # one thread renews the lease: a second compare-and-swap would conflict with the first
            with self._lock:
                if self._runtime.monotonic() >= self._renew_at:
                    self._put_lease(LEASE_SECONDS)

    def finish(self, manifest: Manifest) -> None:
        """
        Write the manifest of a complete site, without a lease.

        Raises Conflict if another export has taken the lease.
        """
        with self._lock:
            self._site.put(MANIFEST_PATH, encode(manifest), self._version, _JSON)

    def interrupt(self) -> None:
        """
        Let the next export begin at once, and make every page again.

        Raises Conflict if another export has taken the lease.
        """
        with self._lock:
            self._put_lease(0.0)

    def reload(self) -> bool:
        """Read the manifest again, and return whether it has changed."""
        version_before = self._version
        self._manifest, self._version = read_manifest(self._site)
        return self._version != version_before

    def _is_held(self, changed_at: float) -> bool:
        """
        Return whether an export holds the lease.

        `changed_at` is when the manifest changed last, by the monotonic clock of this machine.
        """
        lease = self._manifest.lease
        if lease is None or lease.ends <= self._runtime.seconds():
            return False
        return self._runtime.monotonic() - changed_at < LEASE_SECONDS

    def _find_foreign_pages(self) -> tuple[str, ...]:
        """Return the pages that the site has where an export would write its own."""
        foreign_paths = list[str]()
        for path in COMMON_PATHS:
            for entry in self._site.list(path):
                # a listing also has keys that only begin so, such as health-report.html
                if entry.key in COMMON_PATHS:
                    foreign_paths.append(entry.key)
        return tuple(foreign_paths)

    def _put_lease(self, seconds: float) -> None:
        """
        Write the manifest with a lease that ends after so many seconds.

        0 seconds are for the lease of an interrupted export.
        """
        ends = self._runtime.seconds() + seconds if seconds else 0.0
        manifest = replace(self._manifest, lease=Lease(self._holder, ends))
        self._version = self._site.put(MANIFEST_PATH, encode(manifest), self._version, _JSON)
        self._renew_at = self._runtime.monotonic() + RENEWAL_SECONDS


@cache
def page_generator() -> str:
    """Return wheelyard's version, and a digest of the code and the templates that make pages."""
    package = Path(__file__).parents[1]
    digest = blake2b(digest_size=12)
    paths = list[Path]()
    for folder in PAGE_SOURCES:
        paths += (package / folder).rglob("*")
    for path in sorted(paths):
        # no .pyc file, which Python writes at any time
        if not path.is_file() or path.suffix == ".pyc":
            continue
        line = f"{path.relative_to(package)} {path.stat().st_size}\n"
        digest.update(line.encode())
        digest.update(path.read_bytes())
    return f"wheelyard {version('wheelyard')}, {digest.hexdigest()}"
