"""
Buckets as file trees, read at the versions that were listed, and what other indexes keep in them.

Separate from `file_tree.py`, because `operations` may not import Google's storage.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from hashlib import md5
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import is_url, redact_url
from wheelyard.remedies import Advice, Remedy
from wheelyard.sources.candidate import (
    EMPTY_MAPPING,
    BadDigest,
    Candidate,
    FileRecord,
    Skipped,
    SourceItem,
    bad_source,
    clean_uploader,
    parse_digests,
    parse_hash,
    unreadable,
)
from wheelyard.sources.file_tree import FileTree, FolderTree, distribution_files, read_bounded
from wheelyard.sources.simple_page import Link, read_links
from wheelyard.storage.bucket_reader import BucketObject, BucketReader
from wheelyard.storage.buckets import open_bucket_reader
from wheelyard.storage.location import BUCKET_FORMS, is_bucket, parse_location

PAGES: Final = ("", "index.html")
"""The names that s3pypi gives a project's page, below the folder of the project."""
PAGE_LIMIT_BYTES: Final = 16 * 1024**2
MAX_LINKS: Final = 100_000
TITLE: Final = b"<title>Package Index</title>"
"""The title of every page that s3pypi has made."""
META_SUFFIX: Final = ".meta"
METADATA_SAMPLE: Final = 8
"""Distributions whose metadata is looked at to detect the kind: a request each on S3 and Azure."""
BACKUPNI_META_SUFFIX: Final = ".meta"


class BucketTree(Struct, frozen=True):
    """
    A bucket, or a prefix in it.

    Objects are read at the versions that were listed. Every method may raise Unavailable.
    """

    bucket: BucketReader

    def __str__(self) -> str:
        return str(self.bucket)

    def close(self) -> None:
        """Close every connection to the bucket."""
        self.bucket.close()

    def entries(self) -> Iterator[Candidate]:
        """Yield every object whose name does not end with a slash (a folder)."""
        for bucket_object in self.bucket.objects():
            if bucket_object.name and not bucket_object.name.endswith("/"):
                yield self._candidate_of(bucket_object)

    def find(self, path: str) -> Candidate | None:
        """Return the object at a path below the prefix, or None if it is missing."""
        bucket_object = self.bucket.find(path)
        if bucket_object is None:
            return None
        return self._candidate_of(bucket_object)

    def _candidate_of(self, bucket_object: BucketObject) -> Candidate:
        """Return an object as a candidate, whose bytes are those of the listed version."""
        _, _, filename = bucket_object.name.rpartition("/")
        size: int | None = None
        hashes: Mapping[str, str] = EMPTY_MAPPING
        # the size and the digest of a compressed object are those of the compressed bytes
        if not bucket_object.is_compressed:
            size = bucket_object.size
            if bucket_object.md5:
                hashes = {"md5": bucket_object.md5}
        attributes: Mapping[str, str] | None = None
        if bucket_object.metadata is not None:
            attributes = _attributes(bucket_object.metadata)
        return Candidate(
            filename=filename,
            location=f"{self.bucket}/{bucket_object.name}",
            path=bucket_object.name,
            read=partial(self._read, bucket_object),
            size=size,
            uploaded_at=bucket_object.created,
            changed_at=bucket_object.created.timestamp(),
            attributes=attributes,
            hashes=hashes,
            version=bucket_object.version,
        )

    @contextmanager
    def _read(self, bucket_object: BucketObject) -> Iterator[Iterator[bytes]]:
        """
        Yield, for a `with` block, the chunks of an object.

        Raises OSError if the object is compressed, or was replaced since the listing.
        """
        if bucket_object.is_compressed:
            raise unreadable(
                "it is kept packed (Content-Encoding: gzip), so its bytes are not those that were "
                "uploaded; store it again without that"
            )
        try:
            chunks = self.bucket.read(bucket_object.name, bucket_object.version)
        except NotFound as fault:
            raise unreadable(fault.message.rstrip(".").lower()) from fault
        with closing(chunks):  # type: ignore[type-var]
            yield chunks


def open_tree(text: str, runtime: Runtime, excluded: Iterable[Path] = ()) -> FileTree:
    """
    Return the file tree of a folder, without `excluded` folders, or of a place in a bucket.

    No request is sent. Raises Invalid (code `bad_source`) if `text` is neither a folder nor a
    bucket, or the folder cannot be read. Raises Invalid (code `bad_setting`) if the library of a
    bucket is missing. Raises Unavailable without credentials for the bucket.
    """
    if is_bucket(text):
        return _open_bucket(text, runtime)
    name = quoted(redact_url(text))
    if is_url(text):
        raise bad_source(f"{name} is a URL, and this needs a folder, {BUCKET_FORMS}.")
    path = Path(text)
    try:
        next(path.iterdir(), None)  # a misspelled folder must not look empty
    except NotADirectoryError as error:
        raise bad_source(
            f"{name} is a file. Name the folder that it is in.",
            Advice(Remedy.UPLOAD_FILE, text),
        ) from error
    except OSError as error:
        raise bad_source(
            f"The folder {name} cannot be read: {error.strerror}. Name one that is there, with "
            "packages in it or without."
        ) from error
    return FolderTree(path, tuple(excluded))


def open_watched_tree(
    text: str, stores: Iterable[str], files_prefix: str, runtime: Runtime
) -> FileTree:
    """
    Return the file tree of a folder or a bucket to watch, without a store below the folder.

    `stores` has the locations of the parts of the store, and `files_prefix` begins the keys of
    distributions. A `~` in `text` is the home folder. Raises Invalid (code `bad_source`) if `text`
    is neither a folder nor a bucket, or the folder cannot be read. Raises Invalid (code
    `bad_setting`) if the store's distributions would be seen, or the library of a bucket is
    missing. Raises Unavailable without credentials for a bucket.
    """
    text = os.path.expanduser(text)  # noqa: PTH111 - Path's raises for unknown users
    # its own files would be imported again and again
    for store in stores:
        if _overlaps_store(text, store, files_prefix):
            raise Invalid(
                f"{quoted(text)} cannot be watched: the store {quoted(store)} is there. Watch a "
                "place beside it.",
                code="bad_setting",
            )
    store_folders = [Path(store) for store in stores if not is_bucket(store)]
    return open_tree(text, runtime, store_folders)


def _open_bucket(text: str, runtime: Runtime) -> BucketTree:
    """Return the tree of a place in a bucket, or raise Invalid (code `bad_source`)."""
    try:
        location = parse_location(text)
    except Invalid as fault:
        raise bad_source(fault.message) from fault
    return BucketTree(open_bucket_reader(location, runtime))


def _overlaps_store(text: str, store: str, files_prefix: str) -> bool:
    """Return whether a place to watch has the distributions of a store in it."""
    if is_bucket(text) != is_bucket(store):
        return False
    if is_bucket(text):
        return _overlaps_in_bucket(text, store, files_prefix)
    # a store below the folder is no overlap: its folder is left out of the listing
    watched_folder = Path(text).resolve()
    store_folder = Path(store).resolve()
    if watched_folder == store_folder:
        return True
    return watched_folder.is_relative_to(store_folder / files_prefix)


def _overlaps_in_bucket(text: str, store: str, files_prefix: str) -> bool:
    """Return whether a place in a bucket has the distributions of a store in a bucket in it."""
    store_location = parse_location(store)
    watched_location = parse_location(text)
    if store_location.root != watched_location.root:
        return False
    if store_location.prefix.startswith(watched_location.prefix):
        return True
    # the place may be below the store, and then among its distributions
    if not watched_location.prefix.startswith(store_location.prefix):
        return False
    prefix_in_store = watched_location.prefix.removeprefix(store_location.prefix)
    return prefix_in_store.startswith(files_prefix)


def _attributes(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """Return custom metadata by the names that its writer has given the values."""
    # some libraries change the case and the dashes of custom metadata's names
    renamed = {name.lower().replace("-", "_"): value for name, value in metadata.items()}
    return MappingProxyType(renamed)


class GaepypiFiles(Struct, frozen=True):
    """The files of GAEPyPI's bucket."""

    def describe(self, file: Candidate) -> Iterator[SourceItem]:
        """Yield a file if its path is GAEPyPI's, else a `Skipped`."""
        if is_gaepypi_path(file.path, is_bare=True):
            yield file
        else:
            yield Skipped(file.location, "it is not at packages/NAME/VERSION/FILE")


def is_gaepypi_path(path: str, *, is_bare: bool = False) -> bool:
    """
    Return whether a path is `packages/NAME/VERSION/FILE`.

    With `is_bare`, `packages/` may be missing.
    """
    parts = path.split("/")
    if parts[0] == "packages":
        parts = parts[1:]
    elif not is_bare:
        return False
    return len(parts) == 3 and all(parts)  # noqa: PLR2004 - NAME, VERSION, FILE


class S3pypiSource:
    """Source of the distributions that the pages of an s3pypi bucket list."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield each distribution with the digest in its page, and `Skipped` for what no page lists.

        If a page cannot be used, its files have a warning instead. Raises Invalid (code
        `bad_source`) if the tree does not exist, or a folder cannot be read. Raises Unavailable if
        the tree does not answer.
        """
        folder_of_page: str | None = None
        links = dict[str, Link]()
        warning = ""
        for file in distribution_files(self._tree):
            if isinstance(file, Skipped):
                yield file
                continue
            folder = _folder_of(file)
            # files come folder by folder, so each page is read once
            if folder != folder_of_page:
                folder_of_page = folder
                warning = ""
                try:
                    page = _read_page(self._tree, folder)
                    links = _read_links(page)
                except (OSError, FetchError) as error:
                    warning = f"the page of its project cannot be used: {error}"
            if warning:
                yield replace(file, warning=warning)
            else:
                yield _with_link(file, links)


def _with_link(file: Candidate, links: Mapping[str, Link]) -> SourceItem:
    """Return a file with what the page of its project says of it, or why the file is left out."""
    link = links.get(file.filename)
    if link is None:
        why = "the page of its project does not list it (--from files imports it all the same)"
        return Skipped(file.location, why)
    listed_file = replace(file, yanked=link.yanked)
    try:
        _, _, fragment = link.href.partition("#")
        hashes = parse_hash(fragment)
    except BadDigest as error:
        return replace(listed_file, warning=f"its page is wrong: {error}")
    return replace(listed_file, hashes={**file.hashes, **hashes})


def looks_like_s3pypi(tree: FileTree, distribution: Candidate) -> bool:
    """
    Return whether there is a page of s3pypi beside a distribution, which lists the distribution.

    A page that cannot be used does not count. Raises Unavailable if the tree does not answer.
    """
    try:
        page = _read_page(tree, _folder_of(distribution))
        return TITLE in page and distribution.filename in _read_links(page)
    except (OSError, FetchError):
        return False


def _folder_of(file: Candidate) -> str:
    """Return the folder of a distribution, with a slash at the end, or empty at the root."""
    folder, slash, _ = file.path.rpartition("/")
    return folder + slash


def _read_page(tree: FileTree, folder: str) -> bytes:
    """
    Return the page of the project in a folder, or no bytes if the folder has no page.

    Raises OSError if the page cannot be read. Raises Unavailable if the tree does not answer.
    """
    if not folder:  # the page at the root is the list of projects
        return b""
    for name in PAGES:
        page = tree.find(f"{folder}{name}")
        if page is not None and page.size:  # consoles make a folder by an empty object
            return bytes(read_bounded(page, PAGE_LIMIT_BYTES))
    return b""


def _read_links(page: bytes) -> dict[str, Link]:
    """Return the links of a project's page, by filename."""
    _, links = read_links(page, "text/html", MAX_LINKS)
    by_filename = dict[str, Link]()
    for link in links:
        path, _, _ = link.href.partition("#")
        _, _, filename = unquote(path).rpartition("/")
        by_filename[filename] = link
    return by_filename


class _Metadata(msgspec.Struct):
    """What pypicloud has in a `.meta` file."""

    hash_sha256: str | None = None
    hash_md5: str | None = None
    uploader: str | None = None


class PypicloudFiles(Struct, frozen=True):
    """The files of pypicloud."""

    tree: FileTree

    def describe(self, file: Candidate) -> Iterator[SourceItem]:
        """
        Yield a file with its custom metadata, or with the data of its .meta file.

        If the metadata is damaged, the file has a warning instead. If there is none, the file is
        yielded as it is. Raises Unavailable if the tree does not answer.
        """
        file = _with_attributes(self.tree, file)
        declared_digests = dict[str, str]()
        try:
            # a file in a folder has no custom metadata, so that is in a `.meta` file there
            metadata = file.attributes or _read_meta_file(self.tree, file)
            for algorithm in ("sha256", "md5"):
                digest = metadata.get(f"hash_{algorithm}")
                if digest:
                    declared_digests[algorithm] = digest
            hashes = parse_digests(declared_digests)
        except (OSError, ValueError, RecursionError) as error:
            warning = "its .meta cannot be used"
            if isinstance(error, BadDigest):
                warning += f": {error}"
            yield replace(file, warning=warning)
        else:
            uploader = clean_uploader(metadata.get("uploader"))
            yield replace(file, hashes={**file.hashes, **hashes}, uploaded_by=uploader)


def looks_like_pypicloud(tree: FileTree, paths: set[str], distributions: list[Candidate]) -> bool:
    """
    Return whether the distributions at the beginning of a listing look like pypicloud's.

    The paths or the metadata decide. `paths` has all files of that beginning, also `.meta` files.
    There has to be one distribution at least. Raises Unavailable if the tree does not answer.
    """
    if all(map(_is_in_hash_folder, distributions)):
        return True
    if all(_has_metadata(tree, file) for file in distributions[:METADATA_SAMPLE]):
        return True
    # the .meta files of the second half may be beyond the limit of the listing
    first_half = distributions[: len(distributions) // 2 + 1]
    return all(_has_meta_file(file, paths) for file in first_half)


def _is_in_hash_folder(file: Candidate) -> bool:
    """Return whether the path is `HASH/.../FILE` with two folders, as pypicloud spreads files."""
    digest = md5(file.filename.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
    folder_above = file.path.split("/")[-3:-2]  # empty for a path with fewer segments
    return folder_above == [digest[:4]]


def _has_meta_file(file: Candidate, paths: set[str]) -> bool:
    """Return whether a path is `NAME/VERSION/FILE`, and a `.meta` file is beside it."""
    folder_count = file.path.count("/")
    return folder_count == 2 and file.path + META_SUFFIX in paths  # noqa: PLR2004 - NAME, VERSION


def _has_metadata(tree: FileTree, file: Candidate) -> bool:
    """Return whether a file has the custom metadata that pypicloud gives each file."""
    attributes = _with_attributes(tree, file).attributes or {}
    return bool(attributes.get("name") and attributes.get("version"))


def _with_attributes(tree: FileTree, file: Candidate) -> Candidate:
    """Return a file with its attributes, read from the tree now if the listing lacks them."""
    if file.attributes is not None:
        return file
    return tree.find(file.path) or file


def _read_meta_file(tree: FileTree, file: Candidate) -> Mapping[str, str | None]:
    """Return what the `.meta` file beside a distribution says, or no values without such a file."""
    meta = tree.find(file.path + META_SUFFIX)
    if meta is None:
        return {}
    return asdict(msgspec.json.decode(read_bounded(meta), type=_Metadata))


class BackupniFiles(Struct, frozen=True):
    """The files of backupni."""

    meta_tree: FileTree
    """The bucket with a .meta file for each file."""

    def describe(self, file: Candidate) -> Iterator[SourceItem]:
        """
        Yield a file with the data of its .meta file, or with a warning if that is damaged.

        Without a .meta file, the file is yielded as it is. Raises Unavailable if a bucket does not
        answer.
        """
        meta_path = file.path + BACKUPNI_META_SUFFIX
        try:
            meta_file = self.meta_tree.find(meta_path)
            if meta_file is not None:
                record = msgspec.json.decode(read_bounded(meta_file), type=FileRecord)
                file = record.described(file)
        except (OSError, ValueError, RecursionError) as error:
            file = replace(file, warning=f"its .meta cannot be used: {_reason_in(error)}")
        yield file


def _reason_in(error: Exception) -> str:
    """Return what an error says, in words for the report."""
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError | RecursionError):
        return "it is not the JSON that it should be"
    return str(error)
