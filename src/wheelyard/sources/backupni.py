"""
Import source `backupni`: a bucket of packages (`FILE`), and a bucket of metadata (`FILE.meta`).

`FILE.meta` is JSON: `filename`, `hash` (`sha256=HEX`), `uploaded_by`, and `upload_timestamp` in
seconds, the file's date in the build that uploaded it. A file without .meta is imported with the
bucket's date. A file with a damaged .meta is, too, and the report lists the damage.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import msgspec
from msgspec import Struct

from wheelyard.concurrency.prefetch import prefetch_map
from wheelyard.sources.candidate import Candidate, Skipped, SourceItem
from wheelyard.sources.distribution_files import distribution_entries
from wheelyard.sources.field_parsing import clean_uploader, parse_epoch_seconds, parse_hash
from wheelyard.sources.file_tree import FileTree, TreeEntry, read_bounded, to_candidate

META_SUFFIX: Final = ".meta"


class _Metadata(msgspec.Struct):
    filename: str
    hash: str | None = None
    uploaded_by: str | None = None
    upload_timestamp: float | str | None = None


class BackupniSource(Struct, frozen=True):
    """Source of a bucket of packages and a bucket of their .meta files."""

    packages: FileTree
    meta: FileTree

    def candidates(self) -> Iterator[SourceItem]:
        """Yield each distribution with the data of its .meta file; `Skipped` for a damaged one."""
        for found in prefetch_map(self._candidates_of, distribution_entries(self.packages)):
            yield from found

    def _candidates_of(self, entry: TreeEntry | Skipped) -> list[SourceItem]:
        if isinstance(entry, Skipped):
            return [entry]
        candidate = to_candidate(self.packages, entry)
        path = entry.path + META_SUFFIX
        try:
            meta_entry = self.meta.find(path)
            if meta_entry is None:
                return [candidate]
            return [_with_metadata(candidate, read_bounded(self.meta, meta_entry))]
        except (OSError, ValueError, RecursionError) as error:
            why = f"it cannot be used, so the file is taken without it: {_why(error)}"
            return [candidate, Skipped(f"{self.meta}/{path}", why, is_error=True)]


def _with_metadata(candidate: Candidate, text: bytearray) -> Candidate:
    found = msgspec.json.decode(text, type=_Metadata)
    if found.filename != candidate.filename:
        raise ValueError("it describes another file")
    return replace(
        candidate,
        hashes={**candidate.hashes, **parse_hash(found.hash or "")},
        uploaded_at=parse_epoch_seconds(found.upload_timestamp) or candidate.uploaded_at,
        uploaded_by=clean_uploader(found.uploaded_by),
    )


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    if isinstance(error, msgspec.MsgspecError | UnicodeDecodeError | RecursionError):
        return "it is not the JSON that it should be"
    return str(error)
