"""
What an earlier page of a project tells of the one that has just come: a pure function.

An index never gives another file the name of one that it had. So a file whose digest has changed is
hidden until the page has the first digest again, also if it was away meanwhile.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from wheelyard.upstream.page import UpstreamFile, UpstreamPage

MAX_REMEMBERED: Final = 10_000
"""Files that are remembered although a page does not list them any more."""
NO_DIGESTS: Final = MappingProxyType[str, str]({})


def gains_digests(fresh: UpstreamPage, known: UpstreamPage) -> bool:
    """Return whether a page says the SHA-256 of a file for which the one before said none."""
    before = _remembered(known)
    earlier = (before.get(file.filename) for file in fresh.files if file.sha256)
    return any(file is not None and not file.sha256 for file in earlier)


def merge(
    fresh: UpstreamPage,
    known: UpstreamPage | None,
    now: datetime,
    first_fetched: Mapping[str, str] = NO_DIGESTS,
) -> tuple[UpstreamPage, tuple[str, ...]]:
    """
    Return the page `fresh`, which came at `now`, with what the page `known` before it tells.

    And the names of the files whose digest is another one since this page, which must not be.
    `first_fetched` has the SHA-256 of fetched files, by filename: that of a file for which `known`
    says none.
    """
    before = {} if known is None else _remembered(known)
    files, changed = list[UpstreamFile](), list[UpstreamFile]()
    for file in fresh.files:
        earlier = before.pop(file.filename, None)
        if earlier is not None and file.sha256 and not earlier.sha256:
            earlier = replace(earlier, sha256=first_fetched.get(file.filename, ""))
        if earlier is None:
            files.append(file if file.uploaded_at else replace(file, first_seen=now))
        elif _is_other(file, earlier):
            changed.append(earlier)
        else:
            files.append(_with_known(file, earlier, now))
    hidden = frozenset(file.filename for file in known.changed) if known else frozenset()
    page = replace(
        fresh,
        files=tuple(files),
        changed=tuple(changed),
        removed=tuple(before.values())[:MAX_REMEMBERED],
    )
    return page, tuple(file.filename for file in changed if file.filename not in hidden)


def _is_other(file: UpstreamFile, earlier: UpstreamFile) -> bool:
    """Return whether the digests of a file show that it has other bytes than before."""
    if earlier.sha256 and file.sha256:
        return earlier.sha256 != file.sha256
    before = dict(each.split("=", 1) for each in earlier.other_hashes)
    stated = (each.split("=", 1) for each in file.other_hashes)
    return any(before.get(algorithm, digest) != digest for algorithm, digest in stated)


def _with_known(file: UpstreamFile, earlier: UpstreamFile, now: datetime) -> UpstreamFile:
    if file.sha256 and file.sha256 == earlier.sha256 and file.uploaded_at:
        return file
    seen = None if file.uploaded_at else earlier.first_seen or now
    return replace(
        file,
        sha256=file.sha256 or earlier.sha256,
        other_hashes=file.other_hashes or earlier.other_hashes,
        first_seen=seen,
    )


def gone(
    known: UpstreamPage, now: datetime, moved_to: str, *, is_contested: bool = False
) -> UpstreamPage:
    """Return what is remembered of a page that is not shown any more; `moved_to` may be empty."""
    return UpstreamPage(
        name=known.name,
        upstream=known.upstream,
        fetched_at=now,
        removed=tuple(_remembered(known).values())[:MAX_REMEMBERED],
        is_gone=True,
        moved_to=moved_to,
        is_contested=is_contested,
    )


def _remembered(page: UpstreamPage) -> dict[str, UpstreamFile]:
    return {file.filename: file for file in (*page.removed, *page.changed, *page.files)}
