"""
backupni's buckets: packages at `FILE`, and what was said of each at `FILE.meta` in another bucket.

`FILE.meta` is JSON: `filename`, `hash` (`sha256=HEX`), `uploaded_by`, `upload_timestamp`, which are
seconds, of the file's date in the build that uploaded it. A file whose .meta is missing is offered
with the bucket's own date; one whose .meta is damaged too, and the report says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.sources.candidate import Candidate, Skipped, SourceItem
from wheelyard.sources.distribution_files import distribution_entries
from wheelyard.sources.field_parsing import clean_uploader, parse_epoch_seconds, parse_hash_spec
from wheelyard.sources.file_tree import FileTree, TreeEntry, read_bounded, to_candidate

META_SUFFIX: Final = ".meta"


class _Description(msgspec.Struct):
    filename: str
    hash: str | None = None
    uploaded_by: str | None = None
    upload_timestamp: float | str | None = None


@dataclass(frozen=True, slots=True)
class BackupniSource:
    """A bucket of packages, and one of descriptions."""

    packages: FileTree
    meta: FileTree

    def candidates(self) -> Iterator[SourceItem]:
        """Yield what there is."""
        for candidates in prefetch_map(self._offers_of, distribution_entries(self.packages)):
            yield from candidates

    def _offers_of(self, item: TreeEntry | Skipped) -> list[SourceItem]:
        if isinstance(item, Skipped):
            return [item]
        candidate = to_candidate(self.packages, item)
        path = item.path + META_SUFFIX
        try:
            beside = self.meta.find(path)
            if beside is None:
                return [candidate]
            return [_described(candidate, read_bounded(self.meta, beside))]
        except (OSError, ValueError, RecursionError) as error:
            why = f"it cannot be used, so the file is taken without it: {_reason(error)}"
            return [candidate, Skipped(f"{self.meta}/{path}", why, is_error=True)]


def _described(candidate: Candidate, text: bytearray) -> Candidate:
    found = msgspec.json.decode(text, type=_Description)
    if found.filename != candidate.filename:
        raise ValueError("it describes another file")
    return replace(
        candidate,
        hashes={**candidate.hashes, **parse_hash_spec(found.hash or "")},
        uploaded_at=parse_epoch_seconds(found.upload_timestamp) or candidate.uploaded_at,
        uploaded_by=clean_uploader(found.uploaded_by),
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError | RecursionError):
        return "it is not the JSON that it should be"
    return str(error)
