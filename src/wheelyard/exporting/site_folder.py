"""
A static site in a folder, and the manifest of what it has.

An export writes a site only while it holds the lease, a field of the manifest that is taken,
renewed and given back by compare-and-swap. Whoever finds a lease that has ended, or that was left
by an interrupted export, makes every page again.
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
"""Of another format the options count, and which pages are not ours."""
LEASE_SECONDS: Final = 30.0
"""How long another export waits for one that was killed."""
RENEWAL_SECONDS: Final = 10.0
"""The age from which a lease is renewed before the next write."""
POLL_SECONDS: Final = 0.5
"""The pause between two looks at a lease that another export holds."""
PAGE_SOURCES: Final = ("exporting", "http/handlers", "operations/descriptions", "rendering")
"""The folders of wheelyard whose files decide what pages look like."""

COMMON_PATHS: Final = ("404.html", "favicon.ico", "robots.txt", "health")
"""Pages that the owner of a web server may have, too. Theirs are left as they are."""

_JSON: Final = WebType("application/json", "no-cache")

PARTS: Final = "wheelyard-export"
"""The folder of incomplete files, and of the manifest."""
PART_PREFIX: Final = ".part-"
_OF_EARLIER_VERSIONS: Final = (".spool", ".locks")
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SiteFolder:
    """
    The objects of a site in a folder, which is made.

    It follows no links, and syncs nothing to the disk: an export that was cut off is made again.
    The version of an object is a digest of its bytes. Raises Unavailable if nothing can be written
    to the folder. Every method may raise Unavailable.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._parts = self._root / PARTS
        self._folders = set[Path]()
        """Folders that are there, without a link on the way to them."""
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
        Remove incomplete files of killed exports, and what earlier versions needed.

        Below `prefixes`, empty folders are removed, too.
        """
        with suppress(OSError):
            for path in self._parts.glob(f"{PART_PREFIX}*"):
                path.unlink(missing_ok=True)
        for prefix in prefixes:
            top = self._root / prefix
            # a link leads out of the site
            if top.is_symlink():
                continue
            for folder, _, _ in os.walk(top, topdown=False):
                # a folder that is not empty cannot be removed
                with suppress(OSError):
                    os.rmdir(folder)  # noqa: PTH106 - hot
        for name in _OF_EARLIER_VERSIONS:
            rmtree(self._root / name, ignore_errors=True)

    def get(self, key: Key) -> Found:
        """Return a file of the site, or None if there is none."""
        missing = suppress(FileNotFoundError, NotADirectoryError)
        with storage_faults(f"{key} of the site"), missing:
            with open(self._path(key), "rb", buffering=0, opener=open_no_follow) as file:
                body = file.read()
            return Stored(body, _version(body))
        return None

    def put(
        self, key: Key, body: bytes, expect: ObjectVersion | None, kind: WebType | None = None
    ) -> ObjectVersion:
        """
        Write a file of the site, and return its version if one was expected, else ABSENT.

        `expect` is ABSENT if there must be no file, and None if its version does not matter. `kind`
        has no effect. Raises Conflict if the file has another version than `expect`.
        """
        del kind
        self._write(key, body, expect)
        # who expects no version needs none, and a digest of each page takes time
        if expect is None:
            return ABSENT
        return _version(body)

    def put_file(self, key: Key, body: FileBody, kind: WebType | None = None) -> None:
        """Write a file of the site, whatever it was before."""
        del kind
        self._write(key, body, None)

    def _write(self, key: Key, body: FileBody, expect: ObjectVersion | None) -> None:
        target = self._path(key)
        with storage_faults(f"{key} of the site"):
            self._make_folder(self._parts)
            self._make_folder(target.parent)
            if os.path.islink(target):  # noqa: PTH114 - hot
                raise link_error(str(target))
            part = f"{self._parts}/{PART_PREFIX}{os.getpid()}-{token_hex(8)}"
            try:
                with FileIO(os.open(part, _NEW, 0o666), "w") as file:
                    write_all(file.fileno(), body)
                # a web server reads the old file or the new one, and never a part
                with self._locked(key, expect):
                    os.replace(part, target)  # noqa: PTH105 - hot
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise

    def delete(self, key: Key) -> None:
        """Delete an object, if it is there, and the empty folders above it."""
        folder = self._path(key)
        with storage_faults(f"{key} of the site"):
            require_no_links(folder.parent)
            folder.unlink(missing_ok=True)
        # OSError: the first that is not empty
        with suppress(OSError):
            folder = folder.parent
            while folder != self._root:
                folder.rmdir()
                self._folders.discard(folder)
                folder = folder.parent

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield the files of the site below a prefix. The entries have no version."""
        with storage_faults("a folder of the site"):
            for path, status in walk_no_follow(str(self._root), prefix):
                yield Entry(Key(path), status.st_size, status.st_mtime)

    def inner_sites(self) -> Iterator[str]:
        """Yield the names of the folders that have a manifest, without a link on the way to it."""
        with storage_faults("a folder of the site"):
            for path in self._root.glob(f"*/{MANIFEST_PATH}"):
                if path.resolve() == path:
                    yield path.parents[1].name

    def _path(self, key: Key) -> Path:
        return self._root / key

    def _make_folder(self, folder: Path) -> None:
        if folder in self._folders:
            return
        if folder != self._root:
            self._make_folder(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir()
            # looked at after it was made: somebody may have put a link there just before
            if folder.is_symlink():
                raise link_error(str(folder))
        self._folders.add(folder)

    @contextmanager
    def _locked(self, key: Key, expect: ObjectVersion | None) -> Iterator[None]:
        """
        Keep other exports from replacing an object.

        Raises Conflict if its version is not the expected one.
        """
        if expect is None:
            yield
            return
        # a lock on the folder, which stays, and not on the file, which is replaced
        descriptor = os.open(self._parts, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flock(descriptor, LOCK_EX)
            stored = self.get(key)
            version_now = stored.version if isinstance(stored, Stored) else ABSENT
            if version_now != expect:
                raise Conflict(conflict_message(key))
            yield
        finally:
            os.close(descriptor)


def _version(body: bytes) -> ObjectVersion:
    return ObjectVersion(blake2b(body, digest_size=16).hexdigest())


SiteStore = Store | SiteFolder
"""Where a site is. A folder has what an export needs of a store."""


class Options(Struct, frozen=True, kw_only=True):
    """How a site is made: its URL, where its files are, compression, and the store."""

    base_url: str = ""
    """The public URL of the site, without a slash at the end, or empty if unknown."""
    files_url: str = ""
    """Files are at `<files_url>/<project>/<sha256>/<filename>`. Empty if the site has copies."""
    is_gzipped: bool = False
    """Whether each page is also written compressed, as `.gz`."""
    store: str = ""
    """32 hexadecimal digits that identify the store without showing its location, or empty."""
    brand: str = ""
    """The fingerprint of the brand on all pages."""
    has_public: bool = False
    """Whether the site has packages of upstream indexes."""


class RequestedOptions(Struct, frozen=True, kw_only=True):
    """The options that the operator gave, None for those of the last export."""

    base_url: str | None = None
    files_url: str | None = None
    """Empty for copies."""
    is_gzipped: bool | None = None

    def merged_with(self, previous: Options | None, new: Options, site: str) -> Options:
        """
        Return the options after `previous` ones, which are None for a new site.

        `new` are those of a new site of the index, and `site` is its location. Raises Invalid (code
        `bad_destination`) if the previous ones are of another store or index.
        """
        before = previous or new
        if new.store and before.store and new.store != before.store:
            raise Invalid(
                f"The site {escaped(site)} was made from another store or index. Choose another "
                "place; or, if it is the same and has moved, remove "
                f"{escaped(site.rstrip('/'))}/{MANIFEST_PATH}, and export with --all.",
                code=BAD_DESTINATION,
            )
        base_url = self.base_url if self.base_url is not None else before.base_url
        files_url = self.files_url if self.files_url is not None else before.files_url
        is_gzipped = self.is_gzipped if self.is_gzipped is not None else before.is_gzipped
        return replace(
            new,
            base_url=base_url,
            files_url=files_url,
            is_gzipped=is_gzipped,
            store=new.store or before.store,
            # another server has the files of private projects alone
            has_public=new.has_public and not files_url,
        )


class ManifestEntry(Struct, frozen=True, array_like=True, gc=False):
    """An exported project."""

    facts: ProjectFacts
    """Without `text`, which only a search needs. Without `document` if it has to be read again."""
    mentioned: str = ""
    """Names that older releases require, and the latest one does not, with a blank between two."""

    @property
    def linked_names(self) -> frozenset[NormalizedName]:
        """The names of all projects to which its pages link if the site has them."""
        mentioned = map(NormalizedName, self.mentioned.split())
        return frozenset(self.facts.required_names).union(mentioned)


class Lease(Struct, frozen=True):
    """The right of one export to write the site."""

    holder: str
    ends: float
    """Seconds since the epoch, or 0 if its export was interrupted."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What an export knows of a site, stored as JSON in the site."""

    options: Options = Options()
    format: int = 0
    """`FORMAT`. 1 if it was of another one or damaged, 0 if there was no manifest."""
    generator: str = ""
    """As `page_generator` returned it for the export that made the pages."""
    lease: Lease | None = None
    """None if the last export has ended, and every page is what the rest of the manifest says."""
    foreign: tuple[str, ...] | None = None
    """Pages that a web server's owner may have, too, and had. None if that is not known."""
    serial: int = 0
    """The serial up to which the site has all changes, except of facts without `document`."""
    has_copies: bool = True
    """Whether the site may have files that an export has copied, perhaps an interrupted one."""
    indexes: tuple[str, ...] = ()
    """The names of the indexes that have a folder in the site, sorted."""
    projects: tuple[ManifestEntry, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the pages of the site are those of this manifest and of this version."""
        is_current = (self.format, self.generator) == (FORMAT, page_generator())
        return is_current and self.lease is None


class _OtherManifest(Struct, frozen=True):
    """What can be read of the manifest of another version."""

    options: Options
    foreign: tuple[str, ...] | None = None
    has_copies: bool | None = None
    """None if it does not say so: then what is in `files/` of a site with a URL is its owner's."""
    lists: dict[str, str] | None = None
    """Of one without leases: the pages of no project, but for those that were left to others."""


def _decode(body: bytes) -> Manifest:
    """Return a stored manifest, or what can be read of a damaged one, or of another version."""
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
    Return the manifest of a site, or of the one in a folder of it, and its version.

    `folder` ends with a slash. If there is no manifest, the result is an empty one, whose `format`
    is 0 and whose version is ABSENT. Of a damaged one, or one of another format, it has what can be
    read. Raises Unavailable if the site does not answer.
    """
    stored = site.get(Key(folder + MANIFEST_PATH))
    if not isinstance(stored, Stored):
        return Manifest(has_copies=False), ABSENT
    return _decode(stored.body), stored.version


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
        The options of the site's last export, or None if it has no manifest.

        Those of a damaged manifest are the defaults.
        """
        if not self._manifest.format:
            return None
        return self._manifest.options

    def wait(self, *, replaces_others: bool) -> Manifest:
        """
        Wait until no other export writes the site, and return the manifest, for `take`.

        It also says which pages are left to the site's owner: none if the export `replaces_others`.
        A lease ends at the time in it, or if it has not been renewed for `LEASE_SECONDS` by the
        clock of this machine.
        """
        # by this machine's own clock, as that of the other export may be wrong
        changed_at = self._runtime.monotonic()
        was_called = False
        while self._is_held(changed_at):
            if not was_called:
                self._on_wait()
            was_called = True
            self._runtime.pause(POLL_SECONDS)
            if self.reload():
                changed_at = self._runtime.monotonic()
        foreign = self._manifest.foreign
        if replaces_others:
            foreign = ()
        elif foreign is None:
            foreign = self._foreign()
        return replace(self._manifest, foreign=foreign)

    def take(self, before: Manifest, options: Options) -> None:
        """
        Take the lease, if the manifest is what `wait` has returned.

        With it, the manifest gets the options, which stay if the export is interrupted. Raises
        Conflict if the manifest is another one, after which `reload` has to be called.
        """
        has_copies = before.has_copies or not options.files_url
        self._manifest = replace(before, format=FORMAT, options=options, has_copies=has_copies)
        self._put(LEASE_SECONDS)

    def require(self) -> None:
        """
        Renew the lease if that is due.

        Raises Conflict if another export has taken it.
        """
        if self._runtime.monotonic() >= self._renew_at:
            # one thread renews it: a second compare-and-swap would conflict with the first
            with self._lock:
                if self._runtime.monotonic() >= self._renew_at:
                    self._put(LEASE_SECONDS)

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
            self._put(0.0)

    def _is_held(self, changed_at: float) -> bool:
        lease = self._manifest.lease
        is_running = lease is not None and lease.ends > self._runtime.seconds()
        return is_running and self._runtime.monotonic() - changed_at < LEASE_SECONDS

    def reload(self) -> bool:
        """Read the manifest again, and return whether it has changed."""
        before = self._version
        self._manifest, self._version = read_manifest(self._site)
        return self._version != before

    def _foreign(self) -> tuple[str, ...]:
        """Return the pages of the site's owner that are where an export would write its own."""
        foreign = list[str]()
        for path in COMMON_PATHS:
            # a list has all that begins so, such as health-report.html
            foreign += [entry.key for entry in self._site.list(path) if entry.key in COMMON_PATHS]
        return tuple(foreign)

    def _put(self, seconds: float) -> None:
        """Write the manifest with a lease of so many seconds, or for 0 with an interrupted one."""
        ends = self._runtime.seconds() + seconds if seconds else 0.0
        held = replace(self._manifest, lease=Lease(self._holder, ends))
        self._version = self._site.put(MANIFEST_PATH, encode(held), self._version, _JSON)
        self._renew_at = self._runtime.monotonic() + RENEWAL_SECONDS


@cache
def page_generator() -> str:
    """Return wheelyard's version, and a digest of the code and the templates that make pages."""
    package = Path(__file__).parents[1]
    digest = blake2b(digest_size=12)
    paths = list[Path]()
    for folder in PAGE_SOURCES:
        paths += (package / folder).rglob("*")
    # Python writes .pyc files when it likes
    for path in sorted(path for path in paths if path.is_file() and path.suffix != ".pyc"):
        digest.update(f"{path.relative_to(package)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return f"wheelyard {version('wheelyard')}, {digest.hexdigest()}"
