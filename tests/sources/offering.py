"""Helpers to inspect the candidates of a source."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.fake_time import Clock
from wheelyard.sources.candidate import Candidate, Skipped
from wheelyard.sources.source_factory import OpenedSource, SourceRequest, open_source

WHEEL = "a-1-py3-none-any.whl"
JUNE = datetime(2018, 6, 9, 23, 26, 45, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Offered:
    """The result of reading a source."""

    candidates: list[Candidate]
    passed_over: list[Skipped]

    @property
    def names(self) -> list[str]:
        """The filenames, sorted."""
        return sorted(each.filename for each in self.candidates)

    @property
    def faults(self) -> list[Skipped]:
        """The files that could not be offered."""
        return [each for each in self.passed_over if each.is_error]

    @property
    def warned(self) -> list[str]:
        """The names of the files with a warning."""
        return [each.filename for each in self.candidates if each.warning]

    def __getitem__(self, filename: str) -> Candidate:
        (found,) = (each for each in self.candidates if each.filename == filename)
        return found


def offered(candidates: Iterable[Candidate | Skipped]) -> Offered:
    """Return what a source has offered."""
    found = list(candidates)
    return Offered(
        [each for each in found if isinstance(each, Candidate)],
        [each for each in found if isinstance(each, Skipped)],
    )


@contextmanager
def opened(
    text: object,
    clock: Clock | None = None,
    **request: Any,  # noqa: ANN401 - of SourceRequest
) -> Iterator[OpenedSource]:
    """Open a source as the command line does, and close it in the end."""
    wanted = SourceRequest(text=str(text), **request)
    with closing(open_source(wanted, (clock or Clock()).runtime())) as source:
        yield source


def taken(text: object, **request: Any) -> tuple[str, Offered]:  # noqa: ANN401 - as above
    """Return what a source was taken for, and what it offers."""
    with opened(text, **request) as source:
        return source.kind, offered(source.candidates())


def body_of(candidate: Candidate) -> bytes:
    """Return the bytes of a candidate."""
    with candidate.read() as pieces:
        return b"".join(pieces)


def sha256(body: bytes) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(body).hexdigest()


def md5(body: bytes) -> str:
    """Return the other digest of a file."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def make_unreadable(folder: Path) -> None:
    """Make a folder that not even root can list, as its path is longer than the system takes."""
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
