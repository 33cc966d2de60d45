"""
The contract of a static site: web objects below one root.

A site is written by many and read by a web server that knows nothing of us: readers see whole
objects only. What `tests/storage/site/conformance.py` asserts is the contract; this page is its
summary.

Every `put` gives the object a version that it never had, also where its bytes were there already.
So of two who have seen the same version only the first one's put succeeds, even if it changes no
byte: the other may know something older, and has to look again.

`put` and `delete` either happened, or raise `Conflict` (another version was there, and nothing was
changed), or raise `Unavailable` (the outcome is unknown: look, then decide). A site can be made
again, so a folder's is not synced to the disk.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from wheelyard.errors import Invalid, Unavailable, quoted
from wheelyard.storage.base import ObjectVersion, Stored, WebType

BAD_DESTINATION: Final = "bad_destination"
"""The code of an Invalid that says that a site cannot be written as it is."""

_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[^/\x00-\x1f\x7f]+"
_PATH: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*/?")


class SiteEntry(NamedTuple):
    """One line of a listing."""

    path: str
    size: int
    """Bytes."""
    version: ObjectVersion


class Site(Protocol):
    """
    A place that a static site is written to; safe to share between threads and processes.

    A path is slash-separated segments, none of them empty, `.` or `..`; what else is no path is a
    ValueError. Every verb may raise Unavailable, and Invalid (code `bad_destination`) where
    something in the way is not the site's: a link, or a folder that has the name of an object.
    """

    @property
    def serves_folders(self) -> bool:
        """
        Whether who serves it answers `simple/` with `simple/index.html`.

        Where not, a path may end in a slash, and is the object itself.
        """
        ...

    def version(self, path: str) -> ObjectVersion:
        """Return the version of an object, ABSENT if there is none."""
        ...

    def get(self, path: str) -> Stored | None:
        """Return an object as it is now, past all caches; None if there is none."""
        ...

    def put(
        self, path: str, body: bytes, kind: WebType, expect: ObjectVersion | None
    ) -> ObjectVersion:
        """
        Write an object and return its version, a new one in any case.

        Args:
            path: Where.
            body: What.
            kind: How it is to be served.
            expect: Write only over this version; ABSENT writes only a new one; None always.

        Raises:
            Conflict: There is another version than `expect`.
        """
        ...

    def put_file(self, path: str, source: Path, kind: WebType) -> bool:
        """
        Write a file that never changes, and return whether it was not there yet.

        The path has its digest in it, so an object of the same size is the same one. One of
        another size is no whole one, and is replaced.
        """
        ...

    def put_stream(self, path: str, source: Callable[[], Iterator[bytes]], kind: WebType) -> bool:
        """
        Do the same with what `source` opens; it is called once, or not at all.

        Raises:
            IndexFault: What the stream raised; nothing was written.
            Unavailable: It raised an OSError; nothing was written.
        """
        ...

    def link_file(self, path: str, source: Path) -> bool:
        """
        Do the same without a copy: the file gets a second name.

        Raises:
            Invalid: It cannot: another file system, a bucket, somebody else's file.
        """
        ...

    def delete(self, path: str, expect: ObjectVersion | None) -> None:
        """
        Remove an object; with `expect` None, one that is not there is already done.

        Raises:
            Conflict: There is another version than `expect`.
        """
        ...

    def names(self, prefix: str) -> Iterator[SiteEntry]:
        """Yield the objects whose path starts with `prefix`, in order."""
        ...

    def close(self) -> None:
        """Let go of it; whoever writes after that fails."""
        ...


def is_path(text: str) -> bool:
    """Return whether this is a path of a site; one that ends in a slash is."""
    return _PATH.fullmatch(text) is not None


def no_path(text: str) -> ValueError:
    """Return the fault for what is no path; nobody outside can bring it about."""
    return ValueError(f"no path of a site: {text!r}")


def conflict(path: str) -> str:
    """Return the message of a Conflict at `path`."""
    return f"{path} of the site was changed by someone else in the meantime. Export again."


def no_link(source: Path, why: str) -> Invalid:
    """Return the fault for a file that cannot have a second name in the site."""
    return Invalid(
        f"{quoted(source)} cannot be linked into the site: {why}. Export with --files copy.",
        code=BAD_DESTINATION,
    )


def unharmed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """
    Yield the bytes of a source; a disk that fails under it is no fault of the site.

    Raises:
        Unavailable: It cannot be read to its end.
    """
    try:
        yield from chunks
    except OSError as error:
        raise Unavailable(
            f"A file on its way to the site could not be read: {error.strerror}. Try again; if it "
            "stays, look at the store's disk.",
            short="Storage is not available.",
        ) from error
