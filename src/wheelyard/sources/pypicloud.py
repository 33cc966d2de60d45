"""
Import source `pypicloud`: its files in an object store or on disk.

Object store: `NAME/FILE`, after the first four digits of the filename's MD5 unless
`storage.prepend_hash` was off (on Azure there are none). Metadata is the object's custom metadata:
`hash_sha256`, `hash_md5`, `uploader`; some libraries have written `-` for `_`. Where a listing
lacks it, each object is asked for it. pypicloud shows the date of the last change of the object or
its metadata; we use the date of its creation, where the service keeps one.

Disk: `NAME/VERSION/FILE`, with the same keys as JSON in `FILE.meta`. The date is the file's.
Summary and requires_python are truncated there, so they are read from the file itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import md5
from typing import Final

import msgspec
from msgspec.structs import asdict

from wheelyard.sources.candidate import Candidate, Skipped, SourceItem
from wheelyard.sources.field_parsing import BadDigest, clean_uploader, parse_digests
from wheelyard.sources.file_tree import FileTree, read_bounded

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
