"""
Import source `backupni`: a bucket of packages (`FILE`), and a bucket of metadata (`FILE.meta`).

`FILE.meta` is JSON: `filename`, `hash` (`sha256=HEX`), `uploaded_by`, and `upload_timestamp` in
seconds, the file's date in the build that uploaded it. A file without .meta is imported with the
bucket's date. A file with a damaged .meta is, too, and the report lists the damage.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from wheelyard.sources.candidate import Candidate, Skipped, SourceItem
from wheelyard.sources.field_parsing import FileRecord
from wheelyard.sources.file_tree import FileTree, read_bounded

META_SUFFIX: Final = ".meta"


def backupni_candidates(meta: FileTree, file: Candidate) -> Iterator[SourceItem]:
    """Yield a file with the data of its .meta file; `Skipped` for a damaged one, and the file."""
    path = file.path + META_SUFFIX
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
