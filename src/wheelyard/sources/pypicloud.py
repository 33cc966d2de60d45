"""
pypicloud's files, in an object store or on disk.

In an object store: `NAME/FILE`, with the first four digits of the filename's MD5 before it unless
`storage.prepend_hash` was off. What it knows is the object's own metadata: `hash_sha256`,
`hash_md5`, `uploader`, which some libraries have written with `-` for `_`. The date that pypicloud
showed was when the object was last touched, its metadata included; taken here is when it was made.

On disk: `NAME/VERSION/FILE`, and the same keys as JSON in `FILE.meta`. The date is the file's.
Summary and requires_python are kept there as well, damaged and cut; the file itself says them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import md5

import msgspec
from msgspec.structs import asdict

from wheelyard.sources.candidate import Skipped, SourceItem
from wheelyard.sources.field_parsing import InvalidDigest, clean_uploader, parse_digests
from wheelyard.sources.file_tree import FileTree, TreeEntry, read_bounded, to_candidate

META_SUFFIX = ".meta"


class _Facts(msgspec.Struct):
    hash_sha256: str | None = None
    hash_md5: str | None = None
    uploader: str | None = None


def pypicloud_candidates(tree: FileTree, item: TreeEntry) -> Iterator[SourceItem]:
    """Yield a file with what its metadata, or the .meta beside it, says."""
    candidate = to_candidate(tree, item)
    try:
        said = item.attributes or _beside(tree, item)
        claimed = {"sha256": said.get("hash_sha256"), "md5": said.get("hash_md5")}
        hashes = parse_digests({name: value for name, value in claimed.items() if value})
    except (OSError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, InvalidDigest) else "its .meta cannot be used"
        why = f"{why}; the file is taken without it"
        yield Skipped(candidate.location, why, is_error=True)
        yield candidate
    else:
        hashes = {**candidate.hashes, **hashes}
        yield replace(candidate, hashes=hashes, uploaded_by=clean_uploader(said.get("uploader")))


def looks_like_pypicloud(items: list[TreeEntry], offered: list[TreeEntry]) -> bool:
    """Return whether the distributions among the first items of a place lie as pypicloud's do."""
    if all(_has_hash(item) or _has_facts(item) for item in offered):
        return True
    paths = {item.path for item in items}
    return all(
        len(item.parts) == 3 and item.path + META_SUFFIX in paths  # noqa: PLR2004 - NAME/VERSION/FILE
        for item in offered[: len(offered) // 2 + 1]  # the rest may lie beyond what was looked at
    )


def _has_hash(item: TreeEntry) -> bool:
    digest = md5(item.filename.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
    return item.parts[-3:-2] == [digest[:4]]


def _has_facts(item: TreeEntry) -> bool:
    return bool(item.attributes.get("name") and item.attributes.get("version"))


def _beside(tree: FileTree, item: TreeEntry) -> Mapping[str, str | None]:
    beside = tree.find(item.path + META_SUFFIX)
    if beside is None:
        return {}
    return asdict(msgspec.json.decode(read_bounded(tree, beside), type=_Facts))
