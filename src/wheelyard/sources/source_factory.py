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

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import quoted
from wheelyard.http_client.address_policy import AddressPolicy
from wheelyard.http_client.urls import (
    BadUrl,
    Url,
    UserPassword,
    is_http_url,
    parse_url,
    redact_credentials,
)
from wheelyard.sources import devpi, dumb_pypi
from wheelyard.sources.backupni import BackupniSource
from wheelyard.sources.bucket_tree import BucketTree, open_tree
from wheelyard.sources.candidate import Skipped, Source, SourceItem, bad_source
from wheelyard.sources.candidate_filter import guess_project, is_distribution_name, matches_patterns
from wheelyard.sources.distribution_files import FileTreeSource, as_listed
from wheelyard.sources.file_tree import FileTree, TreeEntry
from wheelyard.sources.gaepypi import gaepypi_candidates, is_gaepypi_path
from wheelyard.sources.pypicloud import looks_like_pypicloud, pypicloud_candidates
from wheelyard.sources.web.index_client import IndexClient, SourceCredentials, read_netrc
from wheelyard.sources.web.index_source import IndexSource
from wheelyard.storage.gcs.location import is_bucket

AUTO: Final = "auto"
KIND_TITLES: Final = MappingProxyType(
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
KINDS: Final = (AUTO, *KIND_TITLES)
KIND_OPTIONS: Final = MappingProxyType(
    {
        "meta": ("--meta", "backupni"),
        "packages_url": ("--packages-url", "dumb-pypi"),
        "indexes": ("--index", "devpi"),
        "mirrors": ("--mirrors", "devpi"),
    }
)
"""What only one kind of source has a use for, by field: its option, and that kind."""
DETECTION_LIMIT: Final = 500
"""Files that tell what kind of source a place is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRequest:
    """What somebody wants to import from."""

    text: str  # a folder, `gs://BUCKET/PREFIX`, a package list, or a URL
    kind: str = AUTO
    meta: str = ""  # backupni: where the descriptions are; else told from the bucket's name
    packages_url: str = ""  # dumb-pypi: where the files of a list are
    indexes: tuple[str, ...] = ()  # devpi: USER/INDEX, any number
    mirrors: bool = False  # devpi: whether mirrored files are taken
    projects: tuple[str, ...] = ()  # patterns of names; nothing is all
    allow_private: bool = False  # whether links may lead to private addresses of any host
    excluded: tuple[Path, ...] = ()  # folders that are passed by
    login: UserPassword | None = None  # for the URL that is named, beside what is in it
    netrc: Path | None = None  # the file of credentials by host, if it is not `~/.netrc`


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source, open; it is to be closed when nothing of it is read any more."""

    kind: str
    """What it was taken for."""
    source: Source
    projects: tuple[str, ...]
    """Patterns of project names; nothing is all."""
    connections: ExitStack

    def total(self) -> int | None:
        """Return how many files will be offered, None if that is not known."""
        if self.projects or not isinstance(self.source, FileTreeSource):
            return None
        return self.source.total()

    def candidates(self) -> Iterator[SourceItem]:
        """Yield what there is of the projects that were asked for."""
        for each in self.source.candidates():
            if isinstance(each, Skipped) or matches_patterns(
                guess_project(each.filename), self.projects
            ):
                yield each

    def close(self) -> None:
        """Close every connection."""
        self.connections.close()


def open_source(request: SourceRequest, runtime: Runtime) -> OpenedSource:
    """
    Return the source that a request names, after a look at it where its kind is not said.

    Raises:
        Invalid: There is none, or it is of no kind that is known (code `bad_source`).
        Unavailable: It does not answer, or there are no credentials.
    """
    with ExitStack() as connections:
        opener = _SourceFactory(request, runtime, connections)
        kind = opener.kind()
        _check_options(request, kind)
        source = opener.source(kind)
        return OpenedSource(kind, source, request.projects, connections.pop_all())


def detect_kind(tree: FileTree) -> str:
    """Return the kind of source that the first files of a place look like; `files` if none."""
    if tree.find(devpi.INDEX_FILE) is not None:
        return "devpi"
    items = [each for each in islice(tree.items(), DETECTION_LIMIT) if isinstance(each, TreeEntry)]
    offered = [item for item in items if is_distribution_name(item.filename)]
    if offered and all(is_gaepypi_path(item) for item in offered):
        return "gaepypi"
    if offered and looks_like_pypicloud(items, offered):
        return "pypicloud"
    return "files"


@dataclass(frozen=True, slots=True)
class _SourceFactory:
    """Opens the parts of one source."""

    request: SourceRequest
    runtime: Runtime
    connections: ExitStack

    def kind(self) -> str:
        """Return the kind that was asked for, or else what it looks like."""
        request = self.request
        for text in (request.text, request.meta, request.packages_url):
            redacted = redact_credentials(text)
            if redacted != text and not is_http_url(text):
                raise bad_source(
                    f"{quoted(redacted)} cannot be used: it is no URL of http or https."
                )
        if request.kind not in KINDS:
            raise bad_source(f"{quoted(request.kind)} is no kind of source: {', '.join(KINDS)}.")
        if request.kind != AUTO:
            return request.kind
        if request.meta:
            return "backupni"
        if request.packages_url or dumb_pypi.is_package_list(request.text):
            return "dumb-pypi"
        if is_http_url(request.text):
            return "index"
        return detect_kind(self._tree(request.text))

    def source(self, kind: str) -> Source:
        """Return the source."""
        request = self.request
        if kind == "index":
            url = _url(request.text)
            return IndexSource(self._web(url), url, request.projects)
        if kind == "dumb-pypi":
            return self._listed()
        tree = self._tree(request.text)
        if kind == "backupni":
            return BackupniSource(tree, self._tree(request.meta or _meta_of(request.text)))
        if kind == "devpi":
            return devpi.DevpiSource(tree, request.indexes, mirrors=request.mirrors)
        described = {"gaepypi": gaepypi_candidates, "pypicloud": pypicloud_candidates}
        return FileTreeSource(tree, described.get(kind, as_listed))

    def _tree(self, text: str) -> FileTree:
        tree = open_tree(text, self.runtime, self.request.excluded)
        if isinstance(tree, BucketTree):
            self.connections.callback(tree.close)
        return tree

    def _listed(self) -> Source:
        """Return a package list with its files."""
        text, reference = self.request.text, self.request.packages_url
        if not reference:
            raise bad_source(
                "A package list does not say where its files are. Give what dumb-pypi was given as "
                "--packages-url: a URL, gs://BUCKET/PREFIX or a folder."
            )
        if is_http_url(text):
            url = _url(text)
            packages = dumb_pypi.package_list_at_url(self._web(url), url)
        elif is_bucket(text):
            folder, _, name = text.rpartition("/")
            packages = dumb_pypi.package_list_in_tree(self._tree(folder), name, text)
        else:
            path = Path(text)
            packages = dumb_pypi.package_list_in_tree(self._tree(str(path.parent)), path.name, text)
        where = dumb_pypi.resolve_packages_url(packages.text, reference)
        if is_http_url(where):
            url = _url(where)
            shelf = dumb_pypi.locate_at_url(self._web(url), url.as_folder())
        else:
            shelf = dumb_pypi.locate_in_tree(self._tree(where))
        return dumb_pypi.DumbPypiSource(packages, shelf)

    def _web(self, url: Url) -> IndexClient:
        """Return what asks servers, with the credentials for this one."""
        request = self.request
        known = read_netrc(request.netrc or Path.home() / ".netrc")
        # a list in a file or a bucket has no server: that of its files is the one that is named
        named = _url(request.text) if is_http_url(request.text) else url
        if url.origin == named.origin:
            own = replace(url, login=url.login or named.login)
            credentials = SourceCredentials(own, request.login, known)
        else:
            credentials = SourceCredentials(url, None, known if url.is_secure else {})
        if request.allow_private:
            policy = AddressPolicy(is_allowed=lambda _: True)
        else:
            advice = "; give --allow-private if it may be reached"
            policy = AddressPolicy((url.host, named.host), advice=advice)
        web = IndexClient(credentials, self.runtime, policy)
        self.connections.callback(web.close)
        return web


def _url(text: str) -> Url:
    try:
        return parse_url(text)
    except BadUrl as error:
        raise bad_source(f"{quoted(redact_credentials(text))} cannot be used: {error}.") from error


def _check_options(request: SourceRequest, kind: str) -> None:
    """Refuse what would be passed over without a word."""
    for field_, (option, only) in KIND_OPTIONS.items():
        if getattr(request, field_) and kind != only:
            raise bad_source(
                f"{option} is for {KIND_TITLES[only]}, and this was taken for {KIND_TITLES[kind]}. "
                f"Leave it out, or say --from {only}."
            )
    if request.allow_private and not (
        is_http_url(request.text) or is_http_url(request.packages_url)
    ):
        raise bad_source("--allow-private is for a URL, which leads to others. Leave it out.")


def _meta_of(text: str) -> str:
    """Return where backupni keeps what it says of the packages in a bucket."""
    bucket = text.rstrip("/")
    if is_bucket(bucket) and bucket.endswith("-packages"):
        return bucket.removesuffix("-packages") + "-meta"
    raise bad_source("Say with --meta which bucket has the .meta files.")
