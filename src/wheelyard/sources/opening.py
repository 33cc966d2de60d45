"""
Opens what somebody wants to import from, of whatever kind it is.

| kind | what it is |
|---|---|
| `files` | distributions in a folder or a bucket, in whatever folders |
| `gaepypi` | `packages/NAME/VERSION/FILE` |
| `backupni` | a bucket of packages, and one of `FILE.meta` |
| `dumb-pypi` | a package list, and where its files are |
| `pypicloud` | its bucket, or its folder |
| `devpi` | what `devpi-export` has written |
| `index` | the URL of another index |
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from wheelyard.errors import Invalid, quoted
from wheelyard.model.ambient import Ambient
from wheelyard.outgoing.addresses import Reach
from wheelyard.outgoing.urls import BadUrl, Login, Url, parse_url
from wheelyard.sources.backupni import BackupniSource
from wheelyard.sources.buckets import open_bucket_place
from wheelyard.sources.candidate import Candidate, PassedOver, Source
from wheelyard.sources.detection import recognised
from wheelyard.sources.devpi import DevpiSource
from wheelyard.sources.dumb_pypi import DumbPypiSource, Shelf
from wheelyard.sources.faults import bad_source
from wheelyard.sources.files import FilesSource
from wheelyard.sources.gaepypi import GaepypiSource
from wheelyard.sources.lists import (
    ListFile,
    is_list,
    list_at_path,
    list_at_url,
    list_in_place,
    shelf_of,
)
from wheelyard.sources.naming import is_wanted, project_of
from wheelyard.sources.places import FolderPlace, Place
from wheelyard.sources.pypicloud import PypicloudSource
from wheelyard.sources.shelves import PlaceShelf, WebShelf
from wheelyard.sources.web.credentials import Credentials, read_netrc
from wheelyard.sources.web.fetching import Web
from wheelyard.sources.web.index import IndexSource
from wheelyard.sources.web.urls import is_url, shown
from wheelyard.storage.cloud.location import is_bucket, parse_location

AUTO: Final = "auto"
TITLES: Final = MappingProxyType(
    {
        "files": "packages in a folder or a bucket",
        "gaepypi": "GAEPyPI's bucket",
        "backupni": "backupni's buckets",
        "dumb-pypi": "a package list of dumb-pypi",
        "pypicloud": "pypicloud's files",
        "devpi": "an export of devpi-server",
        "index": "another index",
    }
)
KINDS: Final = (AUTO, *TITLES)
OF_ONE_KIND: Final = MappingProxyType(
    {
        "meta": ("--meta", "backupni"),
        "packages_url": ("--packages-url", "dumb-pypi"),
        "indexes": ("--index", "devpi"),
        "mirrors": ("--mirrors", "devpi"),
    }
)
"""What only one kind of source has a use for, by field: its option, and that kind."""
NETRC: Final = ".netrc"
BACKUPNI: Final = ("-packages", "-meta")
"""How the names of its two buckets end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRequest:
    """
    What somebody wants to import from.

    Args:
        text: A folder, `gs://BUCKET/PREFIX`, a package list, or a URL.
        kind: One of KINDS.
        meta: For backupni: where the descriptions are; told from the bucket's name if left out.
        packages_url: For a package list: where its files are; a URL, a bucket or a folder.
        indexes: For devpi: USER/INDEX, any number.
        mirrors: For devpi: whether mirrored files are taken.
        projects: Patterns of project names; nothing is all.
        allow_private: Whether links and redirects may lead to private addresses of any host.
        leave_out: Folders that are passed by.
        login: A credential for the URL that is named, beside what is in it.
        netrc: The file of credentials by host; `~/.netrc` if it is None.
        agent: What the importer calls itself to servers.
    """

    text: str
    kind: str = AUTO
    meta: str = ""
    packages_url: str = ""
    indexes: tuple[str, ...] = ()
    mirrors: bool = False
    projects: tuple[str, ...] = ()
    allow_private: bool = False
    leave_out: tuple[Path, ...] = ()
    login: Login | None = None
    netrc: Path | None = None
    agent: str = "wheelyard"


@dataclass(frozen=True, slots=True)
class OpenSource:
    """
    A source, open; it is to be closed when nothing of it is read any more.

    Args:
        kind: What it was taken for.
        source: The source itself.
        projects: Patterns of project names; nothing is all.
        closing: What lets go of its connections.
    """

    kind: str
    source: Source
    projects: tuple[str, ...] = ()
    closing: list[Callable[[], None]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What it was taken for, in words."""
        return TITLES[self.kind]

    def total(self) -> int | None:
        """Return how many files will be offered, None if that is not known."""
        if self.projects or not isinstance(self.source, FilesSource):
            return None
        return self.source.total()

    def offers(self) -> Iterator[Candidate | PassedOver]:
        """Yield what there is of the projects that were asked for."""
        for each in self.source.offers():
            if isinstance(each, PassedOver) or is_wanted(project_of(each.filename), self.projects):
                yield each

    def close(self) -> None:
        """Close every connection."""
        for close in self.closing:
            close()


def open_source(request: SourceRequest, ambient: Ambient) -> OpenSource:
    """
    Return the source that a request names, after a look at it where its kind is not said.

    Raises:
        Invalid: There is none, or it is of no kind that is known (code `bad_source`).
        Unavailable: It does not answer, or there are no credentials.
    """
    opener = _Opener(request, ambient)
    try:
        kind = opener.kind()
        _check_options(request, kind)
        return OpenSource(kind, opener.source(kind), request.projects, opener.closing)
    except BaseException:
        for close in opener.closing:
            close()
        raise


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens the parts of one source."""

    request: SourceRequest
    ambient: Ambient
    closing: list[Callable[[], None]] = field(default_factory=list)

    def kind(self) -> str:
        """Return the kind that was asked for, or else what it looks like."""
        request = self.request
        for text in (request.text, request.meta, request.packages_url):
            if shown(text) != text and not is_url(text):
                raise bad_source(
                    f"{quoted(shown(text))} cannot be used: it is no URL of http or https."
                )
        if request.kind not in KINDS:
            raise bad_source(f"{quoted(request.kind)} is no kind of source: {', '.join(KINDS)}.")
        if request.kind != AUTO:
            return request.kind
        if request.meta:
            return "backupni"
        if request.packages_url or is_list(request.text):
            return "dumb-pypi"
        if is_url(request.text):
            return "index"
        return recognised(self.place(request.text))

    def source(self, kind: str) -> Source:
        """Return the source."""
        request = self.request
        if kind == "index":
            url = self.url(request.text)
            return IndexSource(self.web(url), url, request.projects)
        if kind == "dumb-pypi":
            return self.listed()
        place = self.place(request.text)
        if kind == "backupni":
            return BackupniSource(place, self.place(request.meta or _meta_of(request.text)))
        if kind == "devpi":
            return DevpiSource(place, request.indexes, mirrors=request.mirrors)
        kinds: dict[str, Callable[[Place], Source]] = {
            "files": FilesSource,
            "gaepypi": GaepypiSource,
            "pypicloud": PypicloudSource,
        }
        return kinds[kind](place)

    def place(self, text: str) -> Place:
        """Return a folder or a bucket."""
        if is_bucket(text):
            try:
                place = open_bucket_place(parse_location(text), self.ambient)
            except Invalid as fault:
                raise bad_source(fault.message) from fault
            self.closing.append(place.close)
            return place
        if is_url(text):
            raise bad_source(
                f"{quoted(shown(text))} is a URL, and this needs a folder or gs://BUCKET/PREFIX."
            )
        path = Path(text)
        if path.is_file():
            raise bad_source(
                f"{quoted(text)} is a file. Name the folder that it is in, or publish it with "
                "'wheelyard upload'."
            )
        if not path.is_dir():
            raise bad_source(f"There is no folder {quoted(shown(text))}. Check the name.")
        return FolderPlace(path, self.request.leave_out)

    def listed(self) -> Source:
        """Return a package list with its files."""
        found = self.list_file()
        reference = self.request.packages_url
        if not reference:
            raise bad_source(
                "A package list does not say where its files are. Give what dumb-pypi was given as "
                "--packages-url: a URL, gs://BUCKET/PREFIX or a folder."
            )
        where = shelf_of(found.text, reference)
        return DumbPypiSource(found.shown, found.pieces, self.shelf(where))

    def list_file(self) -> ListFile:
        """Return the list itself."""
        text = self.request.text
        if is_url(text):
            url = self.url(text)
            return list_at_url(self.web(url), url)
        if is_bucket(text):
            folder, _, name = text.rpartition("/")
            return list_in_place(self.place(folder), name)
        return list_at_path(Path(text))

    def shelf(self, where: str) -> Shelf:
        """Return where the files of a list are."""
        if is_url(where):
            url = self.url(where)
            return WebShelf(self.web(url), url.as_folder())
        return PlaceShelf(self.place(where))

    def url(self, text: str) -> Url:
        """Return a URL."""
        try:
            return parse_url(text)
        except BadUrl as error:
            raise bad_source(f"{quoted(shown(text))} cannot be used: {error}.") from error

    def web(self, url: Url) -> Web:
        """Return what asks servers, with the credentials for this one."""
        path = self.request.netrc or Path.home() / NETRC
        known = read_netrc(path)
        # a list in a file or a bucket has no server: that of its files is the one that is named
        named = self.url(self.request.text) if is_url(self.request.text) else url
        if url.origin == named.origin:
            own = replace(url, login=url.login or named.login)
            credentials = Credentials(own, self.request.login, known)
        else:
            credentials = Credentials(url, None, known if url.is_secure else {})
        reach = self.reach((url.host, named.host))
        web = Web(credentials, self.ambient, reach, self.request.agent)
        self.closing.append(web.close)
        return web

    def reach(self, named: tuple[str, ...]) -> Reach:
        """Return which addresses may be connected to, where these hosts are named."""
        if self.request.allow_private:
            return Reach(may_reach=lambda _: True)
        return Reach(named, advice="; give --allow-private if it may be reached")


def _check_options(request: SourceRequest, kind: str) -> None:
    """Refuse what would be passed over without a word."""
    for field_, (option, only) in OF_ONE_KIND.items():
        if getattr(request, field_) and kind != only:
            raise bad_source(
                f"{option} is for {TITLES[only]}, and this was taken for {TITLES[kind]}. Leave it "
                f"out, or say --from {only}."
            )
    if request.allow_private and not (is_url(request.text) or is_url(request.packages_url)):
        raise bad_source("--allow-private is for a URL, which leads to others. Leave it out.")


def _meta_of(text: str) -> str:
    """Return where backupni keeps what it says of the packages in a bucket."""
    bucket = text.rstrip("/")
    packages, meta = BACKUPNI
    if is_bucket(bucket) and bucket.endswith(packages):
        return bucket.removesuffix(packages) + meta
    raise bad_source("Say with --meta which bucket has the .meta files.")
