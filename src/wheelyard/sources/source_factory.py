"""
Kinds of import sources, detection of the kind, and opening of a source.

A new kind is a module that implements `Source`, an entry in `KIND_TITLES`, and a case in
`_SourceFactory.source`. Options that only it has go to `SourceRequest` and `KIND_OPTIONS`.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import quoted
from wheelyard.http_client.credential_stores import read_netrc
from wheelyard.http_client.hosts import AddressPolicy, every_address
from wheelyard.http_client.urls import BadUrl, Url, UserPassword, is_url, parse_url, redact_url
from wheelyard.sources import bucket_tree, devpi, dumb_pypi
from wheelyard.sources.candidate import (
    Candidate,
    Skipped,
    Source,
    SourceItem,
    bad_source,
    is_distribution_name,
    matches,
    possible_projects,
)
from wheelyard.sources.file_tree import FileDescriber, FileTree, FileTreeSource
from wheelyard.sources.index_client import IndexClient, ResumableDownload, SourceCredentials
from wheelyard.sources.simple_index_pages import require_files_of_pages
from wheelyard.sources.web_index import IndexSource
from wheelyard.storage.location import BUCKET_FORMS, is_bucket

AUTO: Final = "auto"
KIND_TITLES: Final = MappingProxyType(
    {
        "files": "packages in a folder or a bucket",
        "gaepypi": "GAEPyPI's bucket",
        "backupni": "backupni's buckets",
        "dumb-pypi": "a package list of dumb-pypi",
        "pypicloud": "pypicloud's files",
        "s3pypi": "s3pypi's bucket",
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
"""Fields of `SourceRequest` for one kind of source only: the option of each, and the kind."""
DETECT_LIMIT: Final = 500
"""Files that are listed to detect the kind of a source."""


class SourceRequest(Struct, frozen=True, kw_only=True):
    """The source of an import, as given on the command line."""

    text: str  # a folder, a place in a bucket, a package list, or a URL
    kind: str = AUTO
    meta: str = ""  # backupni: location of the .meta files; default: from the bucket's name
    packages_url: str = ""  # dumb-pypi: location of the files of a list
    indexes: tuple[str, ...] = ()  # devpi: USER/INDEX, any number
    mirrors: bool = False  # devpi: whether mirrored files are imported
    projects: tuple[str, ...] = ()  # patterns of project names; empty: all
    allow_private: bool = False  # whether links may lead to private addresses
    excluded: tuple[Path, ...] = ()  # folders that are not listed
    login: UserPassword | None = None  # credentials for the URL, besides its own
    netrc: Path | None = None  # netrc file; default `~/.netrc`


class OpenedSource(Struct, frozen=True):
    """An open source and its connections. Close it after the last read."""

    kind: str
    """The kind, given or detected."""
    source: Source
    projects: tuple[str, ...]
    """Patterns of project names. Without any, all projects are taken."""
    connections: ExitStack

    def total(self) -> int | None:
        """
        Return the number of candidates after a scan of a folder, or None if it is unknown.

        It is known of a whole folder alone. Raises Invalid (code `bad_source`) if the folder, or
        one in it, cannot be read.
        """
        if self.projects or not isinstance(self.source, FileTreeSource):
            return None
        return self.source.total()

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield the candidates of the requested projects, and every `Skipped` of the source.

        Where a source tells the filename alone, and that may be of several projects, a candidate
        may be of another project than those that were requested. Raises Invalid if the source is
        unusable, and Unavailable if it does not answer.
        """
        for file in self.source.candidates():
            if isinstance(file, Skipped) or self._may_want(file):
                yield file

    def _may_want(self, file: Candidate) -> bool:
        """Return whether a file may be of a requested project, by its name and its source."""
        if file.project:
            return matches(file.project, self.projects)
        return any(matches(name, self.projects) for name in possible_projects(file.filename))

    def close(self) -> None:
        """Close every connection of the source."""
        self.connections.close()


def open_source(request: SourceRequest, runtime: Runtime) -> OpenedSource:
    """
    Open the source of a request, and return it.

    It may list the source, and reads the netrc file. Raises Invalid (code `bad_source`) if the
    request cannot be used, if the folder cannot be read, or if it has pages of an index alone.
    Raises Invalid (code `bad_setting`) if the library of a bucket is missing. Raises Unavailable if
    the source does not answer, or there are no credentials for its bucket.
    """
    with ExitStack() as connections:
        factory = _SourceFactory(request, runtime, connections)
        kind = factory.kind()
        _check_options(request, kind)
        source = factory.source(kind)
        if isinstance(source, FileTreeSource):
            require_files_of_pages(source.tree)
        # without an error, the connections stay open until the source is closed
        return OpenedSource(kind, source, request.projects, connections.pop_all())


def detect_kind(tree: FileTree) -> str:
    """
    Return the kind of a tree, as its first files suggest: `files` if they suggest no other.

    Only the beginning of the tree is listed. Raises Invalid (code `bad_source`) if the tree does
    not exist, or one of its folders cannot be read. Raises Unavailable if the tree does not answer.
    """
    if tree.find(devpi.INDEX_FILE) is not None:
        return "devpi"
    paths = set[str]()
    distributions = list[Candidate]()
    # only the beginning: a bucket may have a million objects
    for entry in islice(tree.entries(), DETECT_LIMIT):
        if isinstance(entry, Candidate):
            paths.add(entry.path)
            if is_distribution_name(entry.filename):
                distributions.append(entry)
    if not distributions:
        return "files"
    if all(bucket_tree.is_gaepypi_path(file.path) for file in distributions):
        return "gaepypi"
    if bucket_tree.looks_like_pypicloud(tree, paths, distributions):
        return "pypicloud"
    if bucket_tree.looks_like_s3pypi(tree, distributions[0]):
        return "s3pypi"
    return "files"


class _FilesOfServer(Struct, frozen=True):
    """Files of a server below one URL, whose names a package list has."""

    client: IndexClient
    root: Url

    def find(self, name: str) -> Candidate:
        """Return the file with a name. Only its download shows whether it is there."""
        url = self.root.resolved(quote(name))
        return ResumableDownload(self.client, url).candidate(name)


class _SourceFactory(Struct, frozen=True):
    """Builds the source of one request, and registers its connections to be closed."""

    request: SourceRequest
    runtime: Runtime
    connections: ExitStack

    def kind(self) -> str:
        """
        Return the requested kind of source, or for `auto` the detected one.

        It may list the source. Raises Invalid if the request cannot be used, or the folder cannot
        be read. Raises Unavailable if the source does not answer, or there are no credentials for
        its bucket.
        """
        request = self.request
        for text in (request.text, request.meta, request.packages_url):
            name = redact_url(text)
            if name != text and not is_url(text):
                raise bad_source(f"{quoted(name)} cannot be used: it is no URL of http or https.")
        if request.kind not in KINDS:
            raise bad_source(f"{quoted(request.kind)} is no kind of source: {', '.join(KINDS)}.")
        if request.kind != AUTO:
            return request.kind
        if request.meta:
            return "backupni"
        if request.packages_url or dumb_pypi.is_package_list(request.text):
            return "dumb-pypi"
        if is_url(request.text):
            return "index"
        return detect_kind(self._tree(request.text))

    def source(self, kind: str) -> Source:
        """
        Return the requested source, read as one of a kind. This is where a new kind is added.

        Raises Invalid if the request cannot be used, or the folder cannot be read. Raises
        Unavailable if the source does not answer, or there are no credentials for its bucket.
        """
        request = self.request
        if kind == "index":
            url = _url(request.text)
            return IndexSource(self._client(url), url, request.projects)
        if kind == "dumb-pypi":
            return self._package_list_source()
        tree = self._tree(request.text)
        if kind == "backupni":
            meta_bucket = request.meta or _default_meta_bucket(request.text)
            meta_tree = self._tree(meta_bucket)
            return FileTreeSource(tree, bucket_tree.BackupniFiles(meta_tree))
        if kind == "devpi":
            return devpi.DevpiSource(tree, request.indexes, mirrors=request.mirrors)
        if kind == "s3pypi":
            return bucket_tree.S3pypiSource(tree)
        describers: dict[str, FileDescriber] = {
            "gaepypi": bucket_tree.GaepypiFiles(),
            "pypicloud": bucket_tree.PypicloudFiles(tree),
        }
        return FileTreeSource(tree, describers.get(kind))

    def _tree(self, text: str) -> FileTree:
        """Return the tree of a folder or a bucket, whose connections are closed in the end."""
        tree = bucket_tree.open_tree(text, self.runtime, self.request.excluded)
        if isinstance(tree, bucket_tree.BucketTree):
            self.connections.callback(tree.close)
        return tree

    def _package_list_source(self) -> Source:
        """
        Return the source of the requested package list.

        Raises Invalid without --packages-url, or if the list is not there.
        """
        text = self.request.text
        reference = self.request.packages_url
        if not reference:
            raise bad_source(
                "A package list does not say where its files are. Give what dumb-pypi was given as "
                f"--packages-url: a URL, a folder, {BUCKET_FORMS}."
            )
        if is_url(text):
            url = _url(text)
            text = url.without_userinfo
            packages = ResumableDownload(self._client(url), url).candidate(url.filename)
        else:
            packages = self._find_package_list(text)
        location = dumb_pypi.resolve_packages_url(text, reference)
        if not is_url(location):
            files_tree = self._tree(location)
            return dumb_pypi.DumbPypiSource(packages, str(files_tree), files_tree)
        root = _url(location).as_folder()
        files = _FilesOfServer(self._client(root), root)
        return dumb_pypi.DumbPypiSource(packages, root.redacted, files)

    def _find_package_list(self, text: str) -> Candidate:
        """Return the package list in a folder or a bucket, or raise Invalid if it is not there."""
        if is_bucket(text):
            folder, _, name = text.rpartition("/")
        else:
            folder = str(Path(text).parent)
            name = Path(text).name
        tree = self._tree(folder)
        packages = tree.find(name)
        if packages is None:
            raise bad_source(f"There is no package list {quoted(name)} in {tree}. Check the name.")
        return packages

    def _client(self, url: Url) -> IndexClient:
        """Return the client for a server, with the credentials that it may receive."""
        request = self.request
        netrc = read_netrc(request.netrc or Path.home() / ".netrc")
        # for a list in a file or a bucket, the operator has named the server of its files alone
        requested_url = _url(request.text) if is_url(request.text) else url
        if url.origin == requested_url.origin:
            url_with_login = replace(url, login=url.login or requested_url.login)
            credentials = SourceCredentials(url_with_login, request.login, netrc)
        else:
            # another server than the requested one gets what netrc has for it, by https
            credentials = SourceCredentials(url, None, netrc if url.is_secure else {})
        # a page must not lead an import to what only this machine can reach
        refusal = "its host {host} has a private address; give --allow-private if it may be reached"
        policy = AddressPolicy((url.host, requested_url.host), refusal=refusal)
        if request.allow_private:
            policy = AddressPolicy(is_allowed=every_address)
        client = IndexClient(credentials, self.runtime, policy)
        self.connections.callback(client.close)
        return client


def _url(text: str) -> Url:
    """Return the URL in a text of the request, or raise Invalid (code `bad_source`)."""
    try:
        return parse_url(text)
    except BadUrl as error:
        raise bad_source(f"{quoted(redact_url(text))} cannot be used: {error}.") from error


def _check_options(request: SourceRequest, kind: str) -> None:
    """
    Check that each option of the request has an effect on a kind of source.

    Raises Invalid if an option has none.
    """
    for field_name, (option, kind_of_option) in KIND_OPTIONS.items():
        if getattr(request, field_name) and kind != kind_of_option:
            raise bad_source(
                f"{option} is for {KIND_TITLES[kind_of_option]}, and SOURCE is "
                f"{KIND_TITLES[kind]}. Leave it out, or say --from {kind_of_option}."
            )
    names_url = is_url(request.text) or is_url(request.packages_url)
    if request.allow_private and not names_url:
        raise bad_source("--allow-private is for a URL, which leads to others. Leave it out.")


def _default_meta_bucket(text: str) -> str:
    """
    Return the bucket `NAME-meta` for the packages in the bucket `NAME-packages`.

    Raises Invalid if the bucket has another name.
    """
    bucket = text.rstrip("/")
    if is_bucket(bucket) and bucket.endswith("-packages"):
        return bucket.removesuffix("-packages") + "-meta"
    raise bad_source("Say with --meta which bucket has the .meta files.")
