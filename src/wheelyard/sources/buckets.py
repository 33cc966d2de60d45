"""Import sources in buckets or their copies: `backupni`, `gaepypi`, `pypicloud` and `s3pypi`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import md5
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec.structs import asdict

from wheelyard.http_client.address_policy import FetchError
from wheelyard.sources.candidate import (
    BadDigest,
    Candidate,
    FileRecord,
    Skipped,
    SourceItem,
    clean_uploader,
    parse_digests,
    parse_hash,
)
from wheelyard.sources.file_tree import FileTree, distribution_files, read_bounded
from wheelyard.sources.web.html_links import Link, read_links


def gaepypi_candidates(_: FileTree, file: Candidate) -> Iterator[SourceItem]:
    """Yield a file if its path is GAEPyPI's, else a `Skipped`."""
    if is_gaepypi_path(file.path, is_bare=True):
        yield file
    else:
        yield Skipped(file.location, "it is not at packages/NAME/VERSION/FILE")


def is_gaepypi_path(path: str, *, is_bare: bool = False) -> bool:
    """Return whether a path is `packages/NAME/VERSION/FILE`; `packages/` may lack if `is_bare`."""
    parts = path.split("/")
    if parts[0] == "packages":
        parts = parts[1:]
    elif not is_bare:
        return False
    return len(parts) == 3 and all(parts)  # noqa: PLR2004 - NAME, VERSION, FILE


PAGES: Final = ("", "index.html")
"""The names of a project's page, below its folder."""
PAGE_LIMIT_BYTES: Final = 16 * 1024**2
MAX_LINKS: Final = 100_000
TITLE: Final = b"<title>Package Index</title>"

Links = Mapping[str, Link]
"""The links of a project's page, by filename."""


class S3pypiSource:
    """Source of the distributions that the pages of an s3pypi bucket list."""

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def candidates(self) -> Iterator[SourceItem]:
        """
        Yield each distribution with the digest in its page, and `Skipped` for unlisted ones.

        If a page cannot be used, yield a `Skipped` with the reason, and its files without digests.
        """
        current: str | None = None
        links: Links | None = None
        for file in distribution_files(self._tree):
            if isinstance(file, Skipped):
                yield file
                continue
            folder = _folder_of(file)
            if folder != current:
                current = folder
                try:
                    links = _read_links(_read_page(self._tree, folder))
                except (OSError, FetchError) as error:
                    why = f"its page cannot be used ({error}), so its files are taken without it"
                    yield Skipped(f"{self._tree}/{folder}", why, is_error=True)
                    links = None
            yield from _described(file, links)


def _described(file: Candidate, links: Links | None) -> Iterator[SourceItem]:
    if links is None:
        yield file
    elif file.filename not in links:
        why = "the page of its project does not list it (--from files imports it all the same)"
        yield Skipped(file.location, why)
    else:
        link, hashes = links[file.filename], file.hashes
        try:
            hashes = {**hashes, **parse_hash(link.href.partition("#")[2])}
        except BadDigest as error:
            why = f"{error}; the file is taken without it"
            yield Skipped(file.location, why, is_error=True)
        yield replace(file, hashes=hashes, yanked=link.yanked)


def looks_like_s3pypi(tree: FileTree, distribution: Candidate) -> bool:
    """Return whether there is a page of s3pypi beside a distribution, and lists it."""
    try:
        page = _read_page(tree, _folder_of(distribution))
        return TITLE in page and distribution.filename in _read_links(page)
    except (OSError, FetchError):
        return False


def _folder_of(file: Candidate) -> str:
    """Return the folder of a distribution, with a slash at the end; empty at the root."""
    folder, slash, _ = file.path.rpartition("/")
    return folder + slash


def _read_page(tree: FileTree, folder: str) -> bytes:
    """Return the page of the project in a folder, empty if there is none; raise OSError."""
    for name in PAGES if folder else ():
        page = tree.find(f"{folder}{name}")
        if page is not None and page.size:  # an empty one is how consoles make a folder
            return bytes(read_bounded(page, PAGE_LIMIT_BYTES))
    return b""


def _read_links(page: bytes) -> Links:
    _, links = read_links(page, "text/html", MAX_LINKS)
    return {unquote(link.href.partition("#")[0]).rpartition("/")[2]: link for link in links}


META_SUFFIX: Final = ".meta"
METADATA_SAMPLE: Final = 8
"""Distributions whose metadata is looked at to detect the kind: a request each on S3 and Azure."""


class _Metadata(msgspec.Struct):
    hash_sha256: str | None = None
    hash_md5: str | None = None
    uploader: str | None = None


def pypicloud_candidates(tree: FileTree, file: Candidate) -> Iterator[SourceItem]:
    """
    Yield a file with its custom metadata, or with that of its .meta file.

    If these are damaged, yield a `Skipped` with the damage, and the file without them.
    """
    file = _with_attributes(tree, file)
    try:
        metadata = file.attributes or _read_meta_file(tree, file)
        declared = {"sha256": metadata.get("hash_sha256"), "md5": metadata.get("hash_md5")}
        hashes = parse_digests({name: value for name, value in declared.items() if value})
    except (OSError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, BadDigest) else "its .meta cannot be used"
        why = f"{why}; the file is taken without it"
        yield Skipped(file.location, why, is_error=True)
        yield file
    else:
        uploader = clean_uploader(metadata.get("uploader"))
        yield replace(file, hashes={**file.hashes, **hashes}, uploaded_by=uploader)


def looks_like_pypicloud(tree: FileTree, paths: set[str], distributions: list[Candidate]) -> bool:
    """
    Return whether the distributions at the beginning of a listing look like pypicloud's.

    The paths or the metadata decide. `paths` has all files of that beginning, also `.meta` files.
    """
    if all(map(_has_hash, distributions)):
        return True
    if all(_has_metadata(tree, file) for file in distributions[:METADATA_SAMPLE]):
        return True
    # only the first half: the .meta files of the others may be beyond the limit of the listing
    return all(
        file.path.count("/") == 2 and file.path + META_SUFFIX in paths  # noqa: PLR2004 - NAME/VERSION/FILE
        for file in distributions[: len(distributions) // 2 + 1]
    )


def _has_hash(file: Candidate) -> bool:
    digest = md5(file.filename.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
    return file.path.split("/")[-3:-2] == [digest[:4]]


def _has_metadata(tree: FileTree, file: Candidate) -> bool:
    attributes = _with_attributes(tree, file).attributes or {}
    return bool(attributes.get("name") and attributes.get("version"))


def _with_attributes(tree: FileTree, file: Candidate) -> Candidate:
    """Return a file with its attributes: as it is there now if the listing lacks them."""
    return file if file.attributes is not None else tree.find(file.path) or file


def _read_meta_file(tree: FileTree, file: Candidate) -> Mapping[str, str | None]:
    meta = tree.find(file.path + META_SUFFIX)
    return {} if meta is None else asdict(msgspec.json.decode(read_bounded(meta), type=_Metadata))


BACKUPNI_META_SUFFIX: Final = ".meta"


def backupni_candidates(meta: FileTree, file: Candidate) -> Iterator[SourceItem]:
    """Yield a file with the data of its .meta file; `Skipped` for a damaged one, and the file."""
    path = file.path + BACKUPNI_META_SUFFIX
    try:
        found = meta.find(path)
        if found is not None:
            record = msgspec.json.decode(read_bounded(found), type=FileRecord)
            file = record.described(file)
    except (OSError, ValueError, RecursionError) as error:
        why = f"it cannot be used, so the file is taken without it: {_why(error)}"
        yield Skipped(f"{meta}/{path}", why, is_error=True)
    yield file


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError | RecursionError):
        return "it is not the JSON that it should be"
    return str(error)
